"""Unpooling with indices: the maxima go back to where they were, and the rest is zero."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from viztool.demos.kernel import Array
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import psnr
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import percent
from viztool.render.panels import BAD, GOOD, Shot, grey_picture
from viztool.render.plot import BLUE, CHANCE, GREEN, ORANGE, Curve, Plot

_EXPECTED = {"indices": (9.30, 0.29), "replicate": (23.19, 0.53), "bilinear": (24.10, 0.65)}


def high_pass(image: Array) -> Array:
    """What differs from the mean of the 5 × 5 pixels around."""
    result: Array = image - cv2.blur(image, (5, 5))
    return result


def spectrum(image: Array) -> Array:
    """Mean amplitude at each of 32 spatial frequencies up to half a cycle a pixel."""
    amplitude = np.abs(np.fft.fft2(image - image.mean()))
    fy, fx = np.fft.fftfreq(image.shape[0])[:, None], np.fft.fftfreq(image.shape[1])[None]
    ring = np.minimum((np.hypot(fy, fx) * 64).astype(int), 32)
    sums = np.bincount(ring.ravel(), amplitude.ravel(), 33)[:32]
    result: Array = sums / np.maximum(np.bincount(ring.ravel(), minlength=33)[:32], 1)
    return result


@demo("unpooling", "Does unpooling keep high frequencies?", claims=[13])
def unpooling(photo: Photo, seed: int) -> Story:
    """Max pooling by 2, then back in three ways, against the photo."""
    story = Story(notes=["PSNR, in decibels, is against the photo; correlation, with its own: higher is better."])
    grey = photo.unit[: photo.unit.shape[0] // 2 * 2, : photo.unit.shape[1] // 2 * 2]
    x = torch.from_numpy(grey.copy())[None, None]
    pooled, where = F.max_pool2d(x, 2, return_indices=True)
    ways = {
        "indices": F.max_unpool2d(pooled, where, (2, 2)),
        "replicate": F.interpolate(pooled, scale_factor=2),
        "bilinear": F.interpolate(pooled, scale_factor=2, mode="bilinear"),
    }
    names = {"indices": "with indices", "replicate": "replicated", "bilinear": "bilinear"}
    found = {}
    clean_high = high_pass(grey)
    for way, out in ways.items():
        image = out[0, 0].numpy()
        high = high_pass(image)
        varies = high.std() > 0 and clean_high.std() > 0
        correlation = float(np.corrcoef(high.ravel(), clean_high.ravel())[0, 1]) if varies else 0.0
        found[way] = {"psnr": psnr(image, grey), "high_pass_correlation": correlation}
    kept = float((torch.zeros_like(x).flatten().index_fill(0, where.flatten(), 1.0)).mean())
    story.equal("share of pixels that unpooling fills", kept, 0.25)
    if photo.is_reference:
        for way, (decibels, correlation) in _EXPECTED.items():
            story.near(f"PSNR of {way}", found[way]["psnr"], decibels, 0.02)
            story.near(f"high-pass correlation of {way}", found[way]["high_pass_correlation"], correlation, 0.005)
    story.numbers |= {"filled": kept, "zero": 1 - kept, "ways": found}
    height, width = grey.shape
    top, left = max(0, height // 3 // 2 * 2), max(0, (width - 96) // 4 * 2)
    part = slice(top, top + 96), slice(left, left + 96)
    story.band(
        "On the photo",
        [
            f"A part of it, max pooled by 2 and enlarged again. With indices each maximum goes back to its own "
            f"place; {percent(1 - kept)} of the pixels are zero."
        ],
        Shot(grey_picture(grey[part], 0, 1), "the photo", [], 4),
        *(
            Shot(grey_picture(out[0, 0].numpy()[part], 0, 1), names[way], [f"PSNR {found[way]['psnr']:.2f} dB"], 4)
            for way, out in ways.items()
        ),
    )
    small = np.rint(grey[top : top + 4, left : left + 4] * 255)
    s, index = F.max_pool2d(torch.from_numpy(small.copy())[None, None], 2, return_indices=True)
    back = F.max_unpool2d(s, index, (2, 2))[0, 0].numpy()
    marked = [divmod(int(at), small.shape[1]) for at in index.flatten()]
    story.equal("sum of what is unpooled", float(back.sum()), float(s.sum()))
    story.numbers["small"] = {"block": small, "pooled": s[0, 0].tolist(), "unpooled": back}
    story.band(
        "In small numbers",
        ["Framed: the largest of each 2 × 2."],
        Equation(
            [
                Grid(small, "pixels", limit=1e9, marked=marked),
                "→",
                Grid(s[0, 0].numpy(), "max", limit=1e9),
                "→",
                Grid(back, "unpooled", limit=600),
            ]
        ),
    )
    frequencies = np.arange(32) / 64
    spectra = {"photo": spectrum(grey), **{way: spectrum(out[0, 0].numpy()) for way, out in ways.items()}}
    story.numbers["spectra"] = spectra
    colors = {"photo": CHANCE, "indices": ORANGE, "replicate": BLUE, "bilinear": GREEN}
    rows = [["", "PSNR in dB", "correlation of what is high"]]
    rows += [[names[way], f"{each['psnr']:.2f}", f"{each['high_pass_correlation']:.2f}"] for way, each in found.items()]
    story.when_this_fails(
        [
            "There is much of high frequency in it, but it is the grid of the zeros, not the photo's: it correlates "
            "least with the photo's own.",
            "What does hold: the place of each maximum is exact, which is what segmentation networks use it for.",
        ],
        Table(
            rows,
            "",
            ["high: what differs from the mean of the 5 × 5 around"],
            ((1, 1, BAD), (1, 2, BAD), (3, 1, GOOD), (3, 2, GOOD)),
        ),
        Plot(
            [Curve(frequencies[1:], np.maximum(values[1:], 1e-6), way, colors[way]) for way, values in spectra.items()],
            "Amplitude by frequency",
            "cycles a pixel",
            across=3,
            log=True,
        ),
    )
    return story
