"""How often the default network is right on a folder of ImageNet photos.

The photos are named by class index and name, as in 281_tabby.jpg. Prints top-1 and top-5 with their
Wilson 95 % intervals and the photos that were missed; exits with 1 below --at-least.

    python scripts/accuracy.py FOLDER --at-least 0.86
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from viztool.errors import ViztoolError
from viztool.images import read_image
from viztool.models import load_model

Z = 1.959964  # of a normal distribution, 95 % lie within


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="photos named like 281_tabby.jpg")
    parser.add_argument("--at-least", type=float, default=0.0, help="top-1 accuracy to reach, 0 to 1")
    options = parser.parse_args()

    labels = {path: label for path in sorted(options.folder.glob("*")) if (label := class_index(path)) is not None}
    if not labels:
        parser.error(f"no photos named like 281_tabby.jpg in {options.folder}")
    model = load_model()
    assert model.classes is not None
    first = fifth = 0
    misses = []
    for path, label in labels.items():
        answers = [name for name, _ in model.predict(read_image(path), top=5)]
        truth = model.classes[label]
        first += answers[0] == truth
        fifth += truth in answers
        if answers[0] != truth:
            misses.append(f"  {path.name}: {answers[0]}")

    print(f"{model.name}, {model.weights}: {model.preprocessing}")
    print(f"top-1 {share(first, len(labels))}")
    print(f"top-5 {share(fifth, len(labels))}")
    print(f"missed ({len(misses)}):", *misses, sep="\n")
    if first < options.at_least * len(labels):
        print(f"top-1 is below {options.at_least:.1%}")
        return 1
    return 0


def class_index(path: Path) -> int | None:
    """281 for 281_tabby.jpg; None for other names."""
    number = path.stem.partition("_")[0]
    return int(number) if number.isdecimal() and "_" in path.stem else None


def share(hits: int, count: int) -> str:
    """Such as "88.0 % (176 of 200; 95 % interval 82.8 to 91.8)"."""
    low, high = wilson(hits, count)
    return f"{100 * hits / count:.1f} % ({hits} of {count}; 95 % interval {100 * low:.1f} to {100 * high:.1f})"


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion (Wilson 1927)."""
    rate = hits / count
    centre = (rate + Z**2 / (2 * count)) / (1 + Z**2 / count)
    half = Z / (1 + Z**2 / count) * math.sqrt(rate * (1 - rate) / count + Z**2 / (4 * count**2))
    return centre - half, centre + half


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ViztoolError as error:
        sys.exit(f"accuracy.py: {error}")
