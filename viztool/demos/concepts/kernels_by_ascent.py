"""Seeing a kernel by gradient ascent: when it converges, and to what."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.grids import Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Shot, grey_picture, signed_picture
from viztool.render.plot import BLUE, ORANGE, Curve, Plot

_SOBEL = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)
_SMOOTH = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]], dtype=torch.float64)
_SIDE = 64
_STEPS = 600


def _wrapped(x: Tensor) -> Tensor:
    """The Sobel response of (H, W), its borders joined."""
    return F.conv2d(F.pad(x[None, None], (1, 1, 1, 1), mode="circular"), _SOBEL[None, None])[0, 0]


def _near_zero(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The middle of a spectrum, as far as a little beyond ¼ cycle a pixel: in all of it a peak would be a dot."""
    middle, reach = power.shape[0] // 2, power.shape[0] // 4 + 2
    return power[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]


@demo("kernels-by-ascent", "Can gradient ascent show a kernel?", claims=[31], sees=False)
def kernels_by_ascent(photo: Photo, seed: int) -> Story:
    """Ascent on one position, on the mean, and on the energy of Sobel's response."""
    story = Story(notes=["Maps are white where they are zero, red where positive, blue where negative."])
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(9, 9, generator=generator).double()
    kernel = torch.randn(9, 9, generator=generator).double()
    x = noise / noise.norm()
    cosines = []
    for _ in range(40):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad((leaf * kernel).sum(), leaf)
        x = x + 0.1 * gradient
        x = x / x.norm()
        cosines.append(float((x * kernel).sum() / kernel.norm()))
    story.near("cosine of the optimum with the kernel, one position and unit norm", cosines[-1], 1.0, 1e-6)
    story.band(
        "One position, unit norm",
        [f"The image that excites one position most, among those of norm 1, is the kernel: cosine {cosines[-1]:.6f}."],
        Shot(signed_picture(noise.numpy()), "the noise it begins with", [], 5),
        Shot(signed_picture(kernel.numpy()), "the kernel", [], 5),
        Shot(signed_picture(x.numpy()), "the optimum", [f"cosine {cosines[-1]:.6f}"], 5),
        Plot(
            [Curve(np.arange(1.0, 41.0), np.array(cosines), "cosine with the kernel", BLUE)],
            "",
            "step",
            across=3,
            height=130,
        ),
    )
    story.on_slide(31)
    y = torch.randn(_SIDE, _SIDE, generator=generator).double()
    y = y / y.norm()
    gains = []
    for _ in range(_STEPS):
        leaf = y.clone().requires_grad_()
        energy = (_wrapped(leaf) ** 2).sum()
        gains.append(float(energy.detach()) ** 0.5)
        (gradient,) = torch.autograd.grad(energy, leaf)
        # The energy is quadratic: a step as long as one likes, and back to unit norm, is power iteration.
        y = gradient / gradient.norm()
    spectrum = torch.fft.fft2(y).abs() ** 2
    share = float((spectrum[:, _SIDE // 4].sum() + spectrum[:, -_SIDE // 4].sum()) / spectrum.sum())
    story.near("gain of Sobel at its optimum for Σy²", gains[-1], 8.0, 0.005)
    story.above("share of the optimum's energy at ¼ cycle a pixel", share, 0.99)
    power = torch.fft.fftshift(spectrum).sqrt().numpy()
    story.band(
        "The energy of all positions",
        [
            f"For Σy² of Sobel the best image is no kernel but a wave: gain {gains[-1]:.2f}, {percent(share, 1)} of "
            "its energy at ¼ cycle a pixel from left to right."
        ],
        Grid(_SOBEL.numpy(), "Sobel", cell=40),
        Shot(signed_picture(y.numpy()[:32, :32]), "the optimum, a part", [], 5),
        Shot(
            grey_picture(-_near_zero(power), -float(power.max()), 0),
            "its spectrum",
            ["frequency 0 is in the middle; two peaks"],
            5,
        ),
        Plot(
            [Curve(np.arange(1.0, _STEPS + 1), np.array(gains), "gain", ORANGE)],
            "",
            "step",
            across=4,
            height=130,
            y_range=(0, 8),
        ),
    )
    z = torch.from_numpy(photo.unit[:32, :32].copy()).requires_grad_()
    (gradient,) = torch.autograd.grad(F.conv2d(z[None, None], _SOBEL[None, None]).mean(), z)
    inside = float(gradient[2:-2, 2:-2].abs().max())
    rim = float(gradient.abs().max())
    story.below("gradient of the mean response inside", inside, 1e-15)
    # A kernel that does not sum to zero: every pixel inside gets its sum over the number of positions.
    (lit,) = torch.autograd.grad(F.conv2d(z[None, None], _SMOOTH[None, None]).mean(), z)
    positions = (z.shape[0] - 2) * (z.shape[1] - 2)
    expected = float(_SMOOTH.sum()) / positions
    off = float((lit[2:-2, 2:-2] - expected).abs().max())
    story.below("gradient of a smoothing's mean inside, less its sum over N", off, 1e-12)
    story.above("gradient of the mean response at the rim", rim, 1e-4)
    free = []
    w = noise / noise.norm()
    for _ in range(40):
        w = w + 0.5 * kernel
        free.append(float((w * kernel).sum()))
    growth = free[-1] - free[-2]
    story.near("growth of the response in each step without a norm", growth, 0.5 * float(kernel.norm() ** 2), 1e-9)
    story.numbers |= {
        "one_position": {"cosine": cosines[-1], "cosines": cosines},
        "energy": {"gain": gains[-1], "share_at_a_quarter": share, "steps": _STEPS},
        "mean_response": {"inside": inside, "rim": rim, "of_a_smoothing": expected, "positions": positions},
        "without_a_norm": {"responses": free, "growth": growth},
    }
    story.when_this_fails(
        [
            f"Without a norm it never converges: each step adds {number(growth, '.3g')}.",
            f"The mean response has the same gradient at every pixel inside, the kernel's sum over the {positions} "
            f"positions: of Sobel {number(inside)}, as it sums to 0, of a smoothing, with 16, "
            f"it is {number(expected, '.2g')}. Ascent makes it brighter, and shows no kernel.",
        ],
        Plot(
            [Curve(np.arange(1.0, 41.0), np.array(free), "response without a norm", ORANGE)],
            "",
            "step",
            across=3,
            height=150,
        ),
        Shot(
            signed_picture(gradient.numpy()),
            "gradient of Sobel's mean",
            [f"at the rim up to {number(rim, '.2g')}, inside {number(inside)}"],
            5,
        ),
        Shot(
            signed_picture(lit.detach().numpy()),
            "gradient of a smoothing's mean",
            [f"inside {number(expected, '.2g')} everywhere"],
            5,
        ),
    )
    return story
