"""What this network's units see: in theory, and measured by gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from viztool.demos.asking import answer
from viztool.demos.errors import DemoError
from viztool.demos.photo import Photo
from viztool.demos.registry import on_network
from viztool.demos.story import Story
from viztool.heatmaps.heatmap import require_finite
from viztool.hooks import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.inspect import layer_table
from viztool.models.model import Model
from viztool.render.numbers import percent
from viztool.render.panels import Panel, Shot, Table, Words, grey_picture

_IMAGES = 6
_MOST = 7


def central_energy(energy: Tensor, share: float) -> int:
    """The side of the smallest square around the centre of mass of (H, W) that holds this share of it."""
    height, width = energy.shape
    total = energy.sum()
    if not total > 0:
        return 0
    row = round(float((energy.sum(1) * torch.arange(height)).sum() / total))
    column = round(float((energy.sum(0) * torch.arange(width)).sum() / total))
    for reach in range(max(height, width)):
        part = energy[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        if part.sum() >= share * total:
            return 2 * reach + 1
    return max(height, width)


@on_network("receptive-field", "what do its units see?")
def receptive_field(model: Model, photos: Sequence[Photo], seed: int) -> Story:
    """At the last layer of each resolution: the field of the middle unit, and its gradient over noise."""
    net = unwrap(model)
    fields = {row.name: row.receptive_field for row in layer_table(model).rows}
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(_IMAGES, 3, *model.size, generator=generator).to(model.device)
    x = model.normalize(noise).to(model.dtype).requires_grad_()
    energies: dict[str, Tensor] = {}
    with frozen(net):
        with evaluating(net), capture(net, "stages") as acts:
            answer(model, x)
        for name in acts:
            maps = acts[name]
            if not isinstance(maps, Tensor) or maps.dim() != 4:
                continue
            middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2]
            signs = (torch.randint(0, 2, middle.shape, generator=generator) * 2 - 1).to(middle)
            (gradient,) = torch.autograd.grad((middle * signs).sum(), x, retain_graph=True)
            require_finite(f"the gradient of {name}", gradient)
            energies[name] = gradient.double().pow(2).mean((0, 1)).cpu()
    if not energies:
        raise DemoError(f"{model.name} has no layer with maps: there is no field to measure")
    story = Story(notes=["Measured: the squared gradient of the middle unit by each pixel, over images of noise."])
    rows = [["layer", "field in theory", "holds 90 %", "of the side"]]
    panels: list[Panel] = []
    found = {}
    for name, energy in list(energies.items())[:_MOST]:
        field = fields.get(name)
        side = central_energy(energy, 0.9)
        theory = None if field is None or field.everything else field.size[-1]
        if field is not None and theory is not None and not field.global_context:
            inside = _outside(energy, field.size, field.stride, field.offset)
            story.below(f"share of the gradient outside the field of {name}", inside, 1e-9)
        share = None if theory is None else side / theory
        found[name] = {"theory": theory, "holds_90_percent": side, "share": share}
        rows.append(
            [
                name,
                "everything" if theory is None else f"{theory}",
                f"{side}",
                "" if share is None else percent(share),
            ]
        )
        shown = energy.sqrt()
        panels.append(Shot(grey_picture(-shown.numpy(), -float(shown.max()), 0), name, [f"90 % in {side} × {side}"], 5))
    story.numbers |= {"layers": found, "images": _IMAGES, "held": 0.9}
    story.equal("layers measured", len(found) > 0, True)
    story.band(
        "Theory and fact",
        [
            "The side of the field by the network's arithmetic, and of the square that holds "
            "90 % of the gradient's energy."
        ],
        Table(rows),
    )
    story.band("Where the gradient is", ["|gradient| of the middle unit; black is most."], *panels)
    story.when_this_fails(
        [
            "The theoretical field says what a unit could see. In fact most of it comes from the middle; training "
            "and skip connections change how much. Noise measures the network, not one photo.",
        ],
        Words(["Units at the border see less than the middle one, which is measured here."]),
    )
    return story


def _outside(energy: Tensor, size: Sequence[int], stride: Sequence[float], offset: Sequence[float]) -> float:
    """The share of the energy outside the middle unit's field; the unit's place from the layer's own lattice."""
    total = float(energy.sum())
    if not total:
        return 0.0
    rows, columns = (torch.nonzero(energy.sum(axis)).flatten() for axis in (1, 0))
    span = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    fits = all(found <= side for found, side in zip(span, size, strict=True))
    return 0.0 if fits else 1.0
