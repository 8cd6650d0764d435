"""Rows about how far heatmaps can be believed: several of one photo share what does not depend on the map."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks.contest import Contest, cpu_seconds, row
from benchmarks.heatmaps import PHOTO
from viztool import class_activation_map, evaluate_heatmap, load_model, read_image

METHODS = ("gradcam", "gradcam++", "layercam", "ablationcam", "eigencam")
STEPS, DRAWS = 16, 2
"""Those of `viztool evaluate`."""


@row(f"evaluate {len(METHODS)} heatmaps of a photo, CPU time", "each by itself", figure="gain", pairs=3)
def several_heatmaps(_: ExitStack) -> Contest:
    model, photo = load_model(), read_image(PHOTO)
    heatmaps = [class_activation_map(model, photo, method) for method in METHODS]
    return Contest(
        lambda: evaluate_heatmap(model, photo, heatmaps, steps=STEPS, draws=DRAWS),
        lambda: [evaluate_heatmap(model, photo, each, steps=STEPS, draws=DRAWS) for each in heatmaps],
        cpu_seconds,
    )
