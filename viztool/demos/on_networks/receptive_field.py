"""What this network's units see: in theory, and measured by gradients."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
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
from viztool.render.charts import Table
from viztool.render.colormaps import Picture
from viztool.render.numbers import number, percent
from viztool.render.panels import Panel, Shot, Words, grey_picture
from viztool.render.scaling import scaled

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
    sizes: dict[str, tuple[int, int]] = {}
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
            sizes[name] = (int(maps.shape[2]), int(maps.shape[3]))
            energies[name] = gradient.double().pow(2).mean((0, 1)).cpu()
    if not energies:
        raise DemoError(f"{model.name} has no layer with maps: there is no field to measure")
    story = Story(notes=["Measured: the squared gradient of the middle unit by each pixel, over images of noise."])
    height, width = model.size
    view = _view(photos[0], model.size)
    rows = [["stage", "field in theory", "of it in the input", "holds 90 %", "of what there is"]]
    panels: list[Panel] = []
    found = {}
    for at, (name, energy) in enumerate(list(energies.items())[:_MOST], 1):
        field = fields.get(name)
        side = central_energy(energy, 0.9)
        theory = None if field is None or field.everything else field.size[-1]
        if field is not None and theory is not None and not field.global_context:
            inside = _outside(energy, field.size, field.stride, field.offset)
            story.below(f"share of the gradient outside the field of {name}", inside, 1e-9)
        # What lies beyond the input's border is zeros: of a field larger than the input, the input is what there is.
        seen = width if theory is None else min(theory, width)
        share = side / seen
        found[name] = {"theory": theory, "in_the_input": seen, "holds_90_percent": side, "share": share}
        told = "everything" if theory is None else number(theory)
        rows.append([f"{at}: {name}", told, number(seen), f"{side}", percent(share)])
        story.numbers.setdefault("resolutions", {})[name] = list(sizes[name])
        boxes = _boxed(view, energy, seen, side)
        lines = [f"stage {at}, {sizes[name][0]} × {sizes[name][1]}", f"theory {told}, 90 % in {side} × {side}"]
        panels.append(Shot(boxes, name, lines, 5))
    story.numbers |= {"layers": found, "images": _IMAGES, "held": 0.9, "input": [height, width]}
    story.equal("layers measured", len(found) > 0, True)
    story.band(
        "On the photo",
        [
            "What the middle unit of each stage could see, framed in grey, and where 90 % of its gradient's energy "
            "lies, in orange. Darkened: what it does not see at all.",
        ],
        *panels,
    )
    story.on_slide()
    story.band(
        "Theory and fact",
        [
            f"The side of the field by the network's arithmetic; how much of it lies in the input of {width} pixels; "
            "and the square that holds 90 % of the gradient's energy."
        ],
        Table(rows),
    )
    shown = [
        Shot(
            grey_picture(
                -energy.sqrt().numpy(), -(float(energy.sqrt().quantile(0.999)) or float(energy.sqrt().max())), 0
            ),
            name,
            ["|gradient|, black is most"],
            5,
        )
        for name, energy in list(energies.items())[:_MOST]
    ]
    story.band("Where the gradient is", ["|gradient| of the middle unit, over noise."], *shown)
    story.when_this_fails(
        [
            "The theoretical field says what a unit could see. In fact most of it comes from the middle; training "
            "and skip connections change how much. Noise measures the network, not one photo.",
        ],
        Words(["Units at the border see less than the middle one, which is measured here."]),
    )
    return story


def _darkest(values: Tensor) -> float:
    """Where black begins: one pixel in a thousand is stronger, unless nearly all of them are zero."""
    return float(values.quantile(0.999)) or float(values.max())


def _view(photo: Photo, size: tuple[int, int]) -> Picture:
    """The middle of the photo at the input's size."""
    h, w = photo.rgb.shape[:2]
    scale = max(size[0] / h, size[1] / w)
    large = scaled(photo.rgb, (max(size[0], round(h * scale)), max(size[1], round(w * scale))), smooth=True)
    top, left = (large.shape[0] - size[0]) // 2, (large.shape[1] - size[1]) // 2
    return np.ascontiguousarray(large[top : top + size[0], left : left + size[1]])


def _boxed(view: Picture, energy: Tensor, field: float, side: int) -> Picture:
    """The view, dark outside the field, with a frame round the field and one round what holds most of the energy."""
    height, width = view.shape[:2]
    rows, columns = torch.arange(energy.shape[0]), torch.arange(energy.shape[1])
    total = energy.sum().clamp_min(1e-300)
    middle = float((energy.sum(1) * rows).sum() / total), float((energy.sum(0) * columns).sum() / total)

    def corners(length: float) -> tuple[int, int, int, int]:
        top, left = (max(0, round(centre - length / 2)) for centre in middle)
        bottom, right = (round(centre + length / 2) for centre in middle)
        return top, left, min(bottom, height - 1), min(right, width - 1)

    top, left, bottom, right = corners(field)
    # The middle unit of an even map lies a little off: what reaches the border of the input is seen to the border.
    if field >= min(height, width):
        top, left, bottom, right = 0, 0, height - 1, width - 1
    boxed = (view * 0.45).astype(np.uint8)
    boxed[top : bottom + 1, left : right + 1] = view[top : bottom + 1, left : right + 1]
    cv2.rectangle(boxed, (left, top), (right, bottom), (235, 235, 235), 2)
    top, left, bottom, right = corners(side)
    cv2.rectangle(boxed, (left, top), (right, bottom), (255, 140, 20), 2)
    return boxed


def _outside(energy: Tensor, size: Sequence[int], stride: Sequence[float], offset: Sequence[float]) -> float:
    """The share of the energy outside the middle unit's field; the unit's place from the layer's own lattice."""
    total = float(energy.sum())
    if not total:
        return 0.0
    rows, columns = (torch.nonzero(energy.sum(axis)).flatten() for axis in (1, 0))
    span = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
    fits = all(found <= side for found, side in zip(span, size, strict=True))
    return 0.0 if fits else 1.0
