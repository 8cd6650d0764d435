"""The checkerboard: which upsampling draws a grid, and why."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models import resnet18
from torchvision.models.vgg import cfgs, make_layers

from viztool.demos.errors import DemoSettingError
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import grid_index, phases
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import BAD, GOOD, Panel, Shot, grey_picture
from viztool.render.text import Color
from viztool.tensors.tree import tensors_in

_DRAWS = 400
_TOGETHER = 40  # of them on one input, in one call
_CHANNELS = (16, 3)
_GRADIENT_SIDE = 64
_IMAGES = 8


def upsamplings(kernel: int, stride: int) -> dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]]:
    """By name: the shape of the weights, and the function from maps (N, 16, h, w) and weights to (N, 3, s·h, s·w)."""
    into, out = _CHANNELS

    def transposed(x: Tensor, w: Tensor) -> Tensor:
        side = w.shape[-1]
        whole = F.conv_transpose2d(x, w, stride=stride)
        cut = (side - 1) // 2  # to the size s·n, as padding and output padding would
        return F.pad(whole, (0, stride, 0, stride))[
            ..., cut : cut + stride * x.shape[-2], cut : cut + stride * x.shape[-1]
        ]

    def shuffle(x: Tensor, w: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(x, w, padding=1), stride)

    def resized(mode: str) -> Callable[[Tensor, Tensor], Tensor]:
        def up(x: Tensor, w: Tensor) -> Tensor:
            return F.conv2d(F.interpolate(x, scale_factor=stride, mode=mode), w, padding=1)

        return up

    def icnr(x: Tensor, w: Tensor) -> Tensor:
        # The s² channels of a pixel begin equal: Aitken et al. 2017.
        return shuffle(x, w.repeat_interleave(stride**2, 0))

    ways: dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {}
    for side in dict.fromkeys((kernel, kernel + stride - kernel % stride if kernel % stride else kernel)):
        ways[f"transposed k{side} s{stride}"] = ((into, out, side, side), transposed)
    ways["pixel shuffle"] = ((out * stride**2, into, 3, 3), shuffle)
    ways["pixel shuffle + ICNR"] = ((out, into, 3, 3), icnr)
    ways["nearest + conv"] = ((out, into, 3, 3), resized("nearest"))
    ways["bilinear + conv"] = ((out, into, 3, 3), resized("bilinear"))
    return ways


def overlap(kernel: int, stride: int) -> Tensor:
    """(s, s) long: how many input pixels reach an output pixel of each phase."""
    counts = F.conv_transpose2d(torch.ones(1, 1, 8, 8), torch.ones(1, 1, kernel, kernel), stride=stride)[0, 0]
    middle = counts[4 * stride : 5 * stride, 4 * stride : 5 * stride]
    return middle.round().long()


def phase_sums(weight: Tensor, stride: int) -> Tensor:
    """(..., k, k) to (..., s, s): the sums of a transposed convolution's kernel in each phase.

    What a constant input of 1 gives at each phase of the output.
    """
    side = ceil(weight.shape[-1] / stride) * stride
    padded = F.pad(weight, (0, side - weight.shape[-1], 0, side - weight.shape[-2]))
    return phases(padded, stride).sum((-2, -1))


@demo("checkerboard", "Where does the checkerboard come from?", claims=[11], photo="cat")
def checkerboard(photo: Photo, seed: int, *, kernel: int = 3, stride: int = 2) -> Story:
    """Random kernels of each way to enlarge, the overlap of a k × k kernel with stride s, and gradients backward."""
    if stride < 2:
        raise DemoSettingError(f"stride is {stride}; with less than 2 nothing is enlarged")
    if stride > kernel:
        raise DemoSettingError(
            f"stride {stride} is above the kernel {kernel}: pixels between would stay empty; give a kernel of at "
            f"least {stride}"
        )
    if kernel > 9:
        raise DemoSettingError(f"kernel is {kernel}; give one from {stride} to 9")
    story = Story(
        notes=["The grid of a map is the variance of the means of its s × s phases, over its whole variance."]
    )
    generator = torch.Generator().manual_seed(seed)
    _on_the_photo(story, photo, kernel, stride, generator)
    _overlap(story, kernel, stride)
    _random_kernels(story, kernel, stride, generator)
    _the_test(story, generator)
    _backward(story, seed)
    _fails(story, kernel, stride)
    return story


def _on_the_photo(story: Story, photo: Photo, kernel: int, stride: int, generator: torch.Generator) -> None:
    side = 40
    grey = photo.unit
    top, left = (grey.shape[0] - side) // 3 if grey.shape[0] > side else 0, max(0, (grey.shape[1] - side) // 2)
    crop = torch.from_numpy(grey[top : top + side, left : left + side]).float()
    maps = crop.expand(1, _CHANNELS[0], *crop.shape)
    panels: list[Panel] = [
        Shot(grey_picture(crop.numpy(), 0, 1), "a part of the photo", [f"{crop.shape[1]} × {crop.shape[0]} pixels"], 7)
    ]
    found = {}
    for name, (shape, up) in upsamplings(kernel, stride).items():
        weight = torch.randn(shape, generator=generator)
        out = up(maps, weight)[0, 0]
        # The border has neighbours missing; what is asked for is the grid inside.
        inside = out[2 * stride : -2 * stride, 2 * stride : -2 * stride]
        found[name] = float(grid_index(inside, stride))
        spread = float(inside.std())
        centre = float(inside.mean())
        bright = -1 if float((inside.flatten() - centre) @ (_under(crop, stride).flatten() - crop.mean())) < 0 else 1
        shown = bright * (inside - centre).numpy()
        panels.append(Shot(grey_picture(shown, -2 * spread, 2 * spread), name, [f"grid {percent(found[name], 1)}"], 7))
    story.numbers["photo_grid"] = found
    story.band(
        "On the photo",
        [
            f"Enlarged {stride} times by random kernels, from 16 channels, in each of the usual ways. A grid of "
            f"period {stride} is no part of the photo."
        ],
        *panels,
    )
    story.on_slide(11)


def _under(crop: Tensor, stride: int) -> Tensor:
    large = F.interpolate(crop[None, None], scale_factor=stride)[0, 0]
    return large[2 * stride : -2 * stride, 2 * stride : -2 * stride]


def _overlap(story: Story, kernel: int, stride: int) -> None:
    expected = {(3, 2): [1, 2, 4], (5, 2): [4, 6, 9], (4, 2): [4]}
    panels: list[Panel] = []
    found = {}
    for k, s in dict.fromkeys([(kernel, stride), (3, 2), (5, 2), (4, 2)]):
        counts = overlap(k, s)
        values = sorted(set(counts.flatten().tolist()))
        if (k, s) in expected:
            story.equal(f"overlap of k{k} s{s}", values, expected[k, s])
        ratio = max(values) / min(values)
        story.equal(f"overlap ratio of k{k} s{s}", ratio, (ceil(k / s) / (k // s)) ** 2)
        found[f"k{k} s{s}"] = {"counts": values, "max_over_min": ratio}
        plane = F.conv_transpose2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, k, k), stride=s)[0, 0].numpy()
        shown = plane[:10, :10]
        kinds = ", ".join(map(str, values))
        panels.append(Grid(shown, f"k{k} s{s}: {kinds} times", [f"max / min = {number(ratio)}"], cell=22, limit=12))
    story.numbers["overlap"] = found
    story.band(
        "The usual reason",
        [
            "How many input pixels reach an output pixel: (⌈k/s⌉ / ⌊k/s⌋)² between the most and the least. If s "
            "divides k it is the same everywhere (but for the border).",
            "So far the claim. But what is summed are weights, not ones.",
        ],
        *panels,
    )


def _random_kernels(story: Story, kernel: int, stride: int, generator: torch.Generator) -> None:
    """400 random N(0,1) kernels of each way, on a constant input and on white noise."""
    into, out = _CHANNELS
    rows = [["random N(0,1) kernels, 16 → 3", "constant input: in the grid", "white noise: phase power max / min"]]
    colors: list[tuple[int, int, Color]] = []
    found: dict[str, dict[str, float]] = {}
    edge = 2 * stride
    for name, (shape, up) in upsamplings(kernel, stride).items():
        shares, power = [], torch.zeros(stride, stride, dtype=torch.float64)
        for _ in range(_DRAWS // _TOGETHER):
            weight = torch.randn(_drawn(name, shape), generator=generator)
            flat = up(torch.ones(1, into, 8, 8), weight)[0, :, edge:-edge, edge:-edge].double()
            means = phases(flat, stride).mean((-2, -1)).flatten(1)
            harmonics = means.var(1, unbiased=False)
            shares.append((harmonics / (harmonics + means.mean(1) ** 2)).view(_TOGETHER, out))
            noise = up(torch.randn(1, into, 16, 16, generator=generator), weight)[0, :, edge:-edge, edge:-edge]
            power += (phases(noise, stride).double() ** 2).mean((0, 3, 4))
        found_shares = torch.cat(shares)
        share, spread = float(found_shares.mean()), float(found_shares.mean(1).std() / _DRAWS**0.5)
        ratio = float(power.max() / power.min())
        found[name] = {"constant": share, "constant_standard_error": spread, "noise": ratio}
        flat_ways = name in ("pixel shuffle + ICNR", "nearest + conv", "bilinear + conv")
        if flat_ways:
            story.below(f"grid of {name} on a constant input", share, 1e-9)
        elif name == "pixel shuffle" or _divides(name):
            # s² independent sums with one variance: the share beside their mean is (s² − 1)/s² on average.
            story.near(f"grid of {name} on a constant input", share, 1 - 1 / stride**2, 4.5 * spread)
        else:
            story.above(f"grid of {name} on a constant input", share, 0.5)
            taps = (ceil(kernel / stride) / (kernel // stride)) ** 2
            story.near(f"phase power of {name} on noise, max / min", ratio, taps, 0.12 * taps)
        if flat_ways or name == "pixel shuffle" or _divides(name):
            story.near(f"phase power of {name} on noise, max / min", ratio, 1.0, 0.08)
        rows.append([name, f"{share:.3f}", f"{ratio:.2f}"])
        colors += [(len(rows) - 1, 1, BAD if share > 0.1 else GOOD), (len(rows) - 1, 2, BAD if ratio > 1.5 else GOOD)]
    story.numbers["random_kernels"] = {"draws": _DRAWS, **found}
    story.band(
        "Random kernels",
        [
            f"{_DRAWS} draws. A constant input should give a constant output: how much of it is a grid instead. White "
            "noise should have the same power in each phase.",
            "A kernel that the stride divides, and pixel shuffle, treat noise evenly. Of what is flat they make a "
            "grid.",
        ],
        Table(rows, "", ["harmonics of 1/s over harmonics and mean"], tuple(colors), width=760),
    )


def _drawn(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of the weights of several draws side by side."""
    into, out, *sides = shape
    return (into, out * _TOGETHER, *sides) if name.startswith("transposed") else (into * _TOGETHER, out, *sides)


def _divides(name: str) -> bool:
    if not name.startswith("transposed"):
        return False
    kernel, stride = (int(part[1:]) for part in name.split()[1:])
    return kernel % stride == 0


def _the_test(story: Story, generator: torch.Generator) -> None:
    """Phase sums, in small numbers."""
    random = torch.randn(4, 4, generator=generator)
    row = torch.tensor([0.5, 1.0, 0.5])
    bilinear = torch.outer(row, row)
    wide = torch.tensor([0.25, 0.75, 0.75, 0.25])
    cases = {"random 4 × 4": random, "bilinear 3 × 3": bilinear, "bilinear 4 × 4": torch.outer(wide, wide)}
    panels: list[Panel] = []
    found = {}
    for name, kernel in cases.items():
        sums = phase_sums(kernel, 2)
        flat = float(sums.max() - sums.min()) < 1e-6
        out = F.conv_transpose2d(torch.ones(1, 1, 8, 8), kernel[None, None], stride=2)[0, 0, 4:-4, 4:-4]
        grid = float(out.var(unbiased=False))
        story.near(f"variance of a constant through {name}", grid, float(sums.var(unbiased=False)), 1e-5)
        story.equal(f"whether the phase sums of {name} are equal", flat, name != "random 4 × 4")
        found[name] = {"kernel": kernel.tolist(), "phase_sums": sums.tolist(), "variance_of_a_constant": grid}
        panels.append(
            Equation(
                [
                    Grid(kernel.numpy(), "kernel", form=".2f", cell=36),
                    "→",
                    Grid(sums.numpy(), "phase sums", form=".2f", cell=40),
                ],
                name,
                [f"a constant becomes {'a constant' if flat else 'a grid'}"],
            )
        )
    story.numbers["phase_sums"] = found
    story.band(
        "The test that works",
        [
            "Sum the kernel in each of the s × s phases: every second weight of every second row. Equal sums: no "
            "grid. It works on trained weights: give your network with -m."
        ],
        *panels,
    )


def _backward(story: Story, seed: int) -> None:
    """The grid in the input gradients of networks with random weights, against chance."""
    chance = 3 / (_GRADIENT_SIDE**2 - 1)
    found: dict[str, dict[str, float]] = {}
    panels: list[Panel] = []
    with torch.random.fork_rng(devices=[]):
        for name, strided in (("resnet18", "convolutions with stride 2"), ("vgg11", "max pooling alone")):
            torch.manual_seed(seed)
            # Of VGG the convolutions alone: its dense layers would take most of the time, and no part in the grid.
            net = resnet18(weights=None).eval() if name == "resnet18" else make_layers(cfgs["A"])
            strength = gradient_strength(net, torch.randn(_IMAGES, 3, _GRADIENT_SIDE, _GRADIENT_SIDE))
            index = float(grid_index(strength, 2))
            power = phases(strength**2, 2).mean((-2, -1))
            found[name] = {"grid": index, "over_chance": index / chance}
            low, high = (float(strength.quantile(share)) for share in (0.01, 0.99))
            crop = strength[16:48, 16:48].numpy()
            panels.append(
                Shot(
                    grey_picture(crop, low, high),
                    f"{name}: {strided}",
                    [f"grid {percent(index, 2)}, {number(index / chance, '.3g')} times chance"],
                    4,
                )
            )
            panels.append(
                Grid(
                    (power / power.mean()).numpy(), "power in each phase", ["of the mean"], form=".2f", cell=44, limit=4
                )
            )
            found[name] |= {
                f"phase_power_{at}": float(each) for at, each in enumerate((power / power.mean()).flatten())
            }
    story.above("grid in the gradients of resnet18, over chance", found["resnet18"]["over_chance"], 20)
    story.below("grid in the gradients of vgg11, over chance", found["vgg11"]["over_chance"], 20)
    story.numbers["backward"] = {"chance": chance, "images": _IMAGES, **found}
    story.band(
        "Backward, too",
        [
            f"The mean |∂ logits/∂ pixel| over {_IMAGES} images of noise, of networks with random weights: a part of "
            "32 × 32 pixels. A strided convolution is a transposed one backward.",
            f"By chance {percent(chance, 3)} of the variance would lie in a grid of period 2.",
        ],
        *panels,
    )


def gradient_strength(net: Callable[[Tensor], Any], x: Tensor) -> Tensor:
    """(H, W): the mean absolute gradient of the sum of the network's outputs, over images and channels."""
    images = x.clone().requires_grad_()
    first = next(tensors_in(net(images)))
    (gradient,) = torch.autograd.grad(first.sum(), images)
    return gradient.abs().mean((0, 1)).detach()


def _fails(story: Story, kernel: int, stride: int) -> None:
    found = story.numbers["random_kernels"]
    divisible = next(name for name in found if name.startswith("transposed") and _divides(name))
    story.when_this_fails(
        [
            f"“Divisible” helps on noise alone: the power between phases is {found[divisible]['noise']:.2f}, and still "
            f"{percent(found[divisible]['constant'], 1)} of a constant input end up in the grid.",
            "“Not divisible” does not hurt: bilinear 3 × 3 with stride 2 has equal phase sums.",
        ],
        Bars(
            [
                Bar(
                    name,
                    each["constant"],
                    number(each["constant"], ".3f"),
                    (214, 150, 92) if each["constant"] > 0.1 else (122, 152, 186),
                )
                for name, each in found.items()
                if name != "draws"
            ],
            "Share of a constant input that becomes a grid",
            top=1.0,
        ),
    )
