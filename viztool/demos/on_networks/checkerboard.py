"""Does this network draw grids? The phase sums of its upsampling, and the gradients of its strided layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from viztool.demos.asking import answer
from viztool.demos.concepts.checkerboard import gradient_strength, phase_sums
from viztool.demos.errors import DemoError
from viztool.demos.photo import Photo
from viztool.demos.registry import on_network
from viztool.demos.signal import grid_index, phases
from viztool.demos.story import Story
from viztool.heatmaps.heatmap import require_finite
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers, unwrap
from viztool.models.model import Model
from viztool.render.charts import Table
from viztool.render.grids import Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import BAD, GOOD, Panel, Shot, Words, grey_picture
from viztool.render.plot import BLUE, ORANGE, Curve, Plot
from viztool.render.text import Color

_MOST_ROWS = 24


def uneven(sums: Tensor) -> float:
    """How far the phase sums of a layer's kernels differ: their energy beside their mean over all of it, 0 to 1."""
    kernels = sums.double().flatten(2)
    beside = (kernels - kernels.mean(2, keepdim=True)).pow(2).sum()
    total = kernels.pow(2).sum()
    return float(beside / total) if total else 0.0


def upsampling_layers(net: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """By name: what the layer is, and the phase sums (C_in, C_out, s, s) of its kernels.

    A pixel shuffle's are of the convolution that was defined last before it with as many outputs as it takes.
    """
    found: dict[str, tuple[str, Tensor]] = {}
    last: nn.Conv2d | None = None
    for name, module in named_layers(net).items():
        if isinstance(module, nn.Conv2d):
            last = module
        if isinstance(module, nn.ConvTranspose2d) and module.stride[0] == module.stride[1] > 1:
            stride, weight = module.stride[0], module.weight.detach().float()
            kind = f"transposed k{weight.shape[-1]} s{stride}"
            found[name] = kind, phase_sums(weight, stride)
        elif isinstance(module, nn.PixelShuffle) and last is not None:
            factor = module.upscale_factor
            if last.out_channels % factor**2 == 0:
                sums = last.weight.detach().float().sum((2, 3))
                channels = last.out_channels // factor**2
                split = sums.view(channels, factor, factor, -1).permute(3, 0, 1, 2)
                found[name] = f"pixel shuffle × {factor}", split
    return found


@on_network("checkerboard", "does it draw grids?")
def checkerboard(model: Model, photos: Sequence[Photo], seed: int) -> Story:
    """Phase sums of every transposed convolution and pixel shuffle, and the grid in the input gradients."""
    net = unwrap(model)
    story = Story(notes=["Uneven: the energy of a layer's phase sums beside their mean, over all of it. 0 is no grid."])
    layers = upsampling_layers(net)
    rows = [["layer", "what it is", "uneven"]]
    colors: list[tuple[int, int, Color]] = []
    found = {}
    for name, (kind, sums) in layers.items():
        share = uneven(sums)
        found[name] = {"kind": kind, "uneven": share}
        rows.append([name, kind, f"{share:.3f}"])
        colors.append((len(rows) - 1, 2, BAD if share > 0.01 else GOOD))
    story.numbers["upsampling"] = found
    if layers:
        first = next(iter(layers))
        mean = layers[first][1].abs().mean((0, 1))
        story.numbers["first_layer_mean_phase_sum"] = mean.tolist()
        panels: list[Panel] = [
            Table(rows[: _MOST_ROWS + 1], colors=tuple(colors[:_MOST_ROWS])),
            Grid(mean.numpy(), "mean |phase sum|", [first], form=".3g", cell=52),
        ]
    else:
        panels = [
            Words(["It has no transposed convolution with a stride, and no pixel shuffle: nothing to draw a grid."])
        ]
    story.band(
        "Forward", ["The sums of each kernel in the s × s phases; unequal ones turn a constant into a grid."], *panels
    )
    _backward(story, model, net, photos)
    story.when_this_fails(
        ["Equal sums promise no grid on constants alone: a detail may still come out differently in each phase."],
        Words(["A network may also learn to hide a grid in later layers; look at what it puts out."]),
    )
    return story


def _backward(story: Story, model: Model, net: nn.Module, photos: Sequence[Photo]) -> None:
    strided = {
        name: max(module.stride)
        for name, module in named_layers(net).items()
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1
    }
    x = torch.cat([model.preprocess(photo.rgb) for photo in photos[:8]]).to(model.dtype)
    try:
        with evaluating(net), frozen(net):
            strength = gradient_strength(lambda images: answer(model, images), x).float().cpu()
    except RuntimeError as error:
        raise DemoError(f"{model.name} has no gradients at its input: {str(error).splitlines()[0]}") from error
    require_finite("the gradient", strength)
    rows = [["period", "grid", "by chance", "times chance"]]
    found: dict[str, dict[str, float]] = {}
    for period in (2, 4, 8, 16, 32):
        if min(strength.shape) < 4 * period:
            continue
        # A map without a grid spreads its variance evenly: s² − 1 of its n − 1 other frequencies are harmonics.
        chance = (period**2 - 1) / (strength.numel() - 1)
        share = float(grid_index(strength, period))
        found[str(period)] = {"grid": share, "chance": chance, "over_chance": share / chance}
        rows.append([f"{period}", percent(share, 2), percent(chance, 3), f"{share / chance:.1f}"])
    if not found:
        raise DemoError(f"the input of {model.name}, {tuple(strength.shape)}, is too small to find a grid in it")
    power = phases(strength.double() ** 2, 2).mean((-2, -1))
    relative = power / power.mean().clamp_min(1e-300)
    low, high = float(strength.quantile(0.01)), float(strength.quantile(0.99))
    side = min(48, *strength.shape)
    top, left = (strength.shape[0] - side) // 2, (strength.shape[1] - side) // 2
    crop = strength[top : top + side, left : left + side].numpy()
    story.numbers["backward"] = {
        "strided": strided,
        "periods": found,
        "power_of_phases": relative.tolist(),
        "photos": len(x),
    }
    names = ", ".join(f"{name} (s{stride})" for name, stride in list(strided.items())[:3]) or "none"
    more = f" and {len(strided) - 3} more" if len(strided) > 3 else ""
    story.numbers["strided_beyond_three"] = max(0, len(strided) - 3)
    story.band(
        "Backward",
        [
            "The mean |∂ outputs/∂ pixel| of the photo: a strided convolution is a transposed one backward, and puts a "
            "grid into every gradient picture.",
            f"Strided convolutions: {names}{more}.",
        ],
        Shot(grey_picture(crop, low, high), "|gradient|, a part", [f"{side} × {side} pixels"], 4),
        _spectrum(story, strength),
        Table(rows),
        Grid(relative.numpy(), "power in each phase of 2 × 2", ["of the mean"], form=".2f", cell=52, limit=4),
    )
    story.on_slide()
    story.above("grid of period 2 in the gradients", found["2"]["grid"], 0.0)


def _spectrum(story: Story, strength: Tensor) -> Plot:
    """Power by frequency from left to right: a grid of period p has peaks at multiples of 1/p."""
    centred = strength.double() - strength.double().mean()
    power = (torch.fft.rfft(centred, dim=1).abs() ** 2).mean(0)[1:]
    frequencies = torch.fft.rfftfreq(strength.shape[1])[1:]
    # Against the rest around it: a peak of a few times its neighbours is one, wherever it lies.
    around = torch.stack([power.roll(by) for by in (-3, -2, 2, 3)]).median(0).values.clamp_min(1e-300)
    peaks = {}
    for period in (2, 4, 8, 16, 32):
        at = int((frequencies - 1 / period).abs().argmin())
        peaks[str(period)] = float(power[at] / around[at])
    story.numbers["peaks_over_their_neighbours"] = peaks
    level = (power / power.mean()).clamp_min(1e-12).numpy()
    marked = [int((frequencies - 1 / period).abs().argmin()) for period in (2, 4, 8, 16, 32)]
    return Plot(
        [
            Curve(frequencies.numpy(), level, "power over its mean", BLUE),
            Curve(frequencies.numpy()[marked], level[marked], "periods 2 to 32", ORANGE, dots=True, line=False),
        ],
        "Spectrum, from left to right",
        "cycles a pixel",
        [f"period {period}: {number(peak, '.2g')} times its neighbours" for period, peak in peaks.items()],
        across=2,
        log=True,
        x_ticks=[0.0625, 0.125, 0.25, 0.5],
    )
