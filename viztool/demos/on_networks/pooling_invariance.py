"""How much do this network's outputs change when the photo moves or turns?"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from viztool.demos.asking import answer
from viztool.demos.photo import Photo
from viztool.demos.registry import on_network
from viztool.demos.story import Story
from viztool.heatmaps.heatmap import require_finite
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.render.colormaps import Picture
from viztool.render.numbers import percent
from viztool.render.panels import Shot, Words
from viztool.render.plot import BLUE, GREEN, ORANGE, Curve, Plot
from viztool.render.text import Color
from viztool.tensors.tree import tensors_in

_SHIFTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_ANGLES = (0, 5, 10, 15, 30, 45, 90, 180)


def _logits(model: Model, views: Sequence[Picture]) -> Tensor:
    """(N, K) of views of the input's size, whatever shape the output has."""
    out = []
    with evaluating(unwrap(model)), torch.no_grad():
        for view in views:
            x = torch.from_numpy(np.ascontiguousarray(view)).permute(2, 0, 1)[None].float().to(model.device) / 255
            first = next(tensors_in(answer(model, model.normalize(x).to(model.dtype))))
            require_finite("the output", first)
            out.append(first.double().flatten().cpu())
    return torch.stack(out)


def moved(photo: Photo, size: tuple[int, int], shift: int, angle: float) -> Picture:
    """The middle of the photo at the input's size, moved to the left by a shift, or turned; mirrored at the border."""
    height, width = size
    h, w = photo.rgb.shape[:2]
    scale = max(height / h, width / w)
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), angle, scale)
    turn[:, 2] += (width / 2 - w / 2 - shift, height / 2 - h / 2)
    flags = cv2.INTER_LINEAR
    out = cv2.warpAffine(photo.rgb, turn, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(out, np.uint8)


@on_network("pooling-invariance", "is it invariant?")
def pooling_invariance(model: Model, photos: Sequence[Photo], seed: int) -> Story:
    """Curves of the outputs' change against shift and rotation, and of whether the first class stays."""
    story = Story(notes=["Change: distance of the outputs to those of the photo at rest, over the latter's deviation."])
    shifts: list[list[float]] = []
    angles: list[list[float]] = []
    same: list[list[bool]] = []
    for photo in photos[:8]:
        out = _logits(model, [moved(photo, model.size, shift, 0) for shift in _SHIFTS])
        turned = _logits(model, [moved(photo, model.size, 0, angle) for angle in _ANGLES])
        # One number has no deviation: it changes by a share of itself.
        spread = max(float(out[0].std() if out.shape[1] > 1 else out[0].abs()), 1e-12)
        shifts.append([float((each - out[0]).pow(2).mean().sqrt()) / spread for each in out])
        angles.append([float((each - turned[0]).pow(2).mean().sqrt()) / spread for each in turned])
        same.append([bool(each.argmax() == out[0].argmax()) for each in turned])
    by_shift, by_angle = np.mean(shifts, 0), np.mean(angles, 0)
    kept = np.mean(same, 0)
    story.equal("change without a shift", float(by_shift[0]), 0.0)
    one = float(by_shift[1])
    story.numbers |= {
        "shifts": list(_SHIFTS),
        "change_by_shift": by_shift,
        "angles": list(_ANGLES),
        "change_by_angle": by_angle,
        "first_class_stays": kept,
        "photos": len(photos[:8]),
    }
    first = photos[0]
    story.band(
        "What it is given",
        ["The photos at rest; the first, moved and turned. What comes in at the border is mirrored."],
        *(Shot(moved(photo, model.size, 0, 0), photo.source, ["at rest"], 6) for photo in photos[:8]),
        *(
            Shot(moved(first, model.size, shift, angle), name, [], 6)
            for name, shift, angle in (
                ("moved by 16", 16, 0),
                ("turned by 15°", 0, 15),
                ("by 90°", 0, 90),
            )
        ),
    )
    plural = f"mean of {len(shifts)} photos" if len(shifts) > 1 else "one photo"
    story.band(
        "Shift and rotation",
        [
            f"By one pixel its outputs change by {percent(one, 1)} of their deviation, by 10° by "
            f"{percent(float(by_angle[2]), 1)}; {plural}.",
            "An invariant network would be at 0.",
            *(["The bands are the deviation over the photos."] if len(shifts) > 1 else []),
        ],
        Plot(
            [
                Curve(
                    np.array(_SHIFTS, float), 100 * by_shift, "change in %", ORANGE, 100 * np.std(shifts, 0), dots=True
                )
            ],
            "Shift",
            "pixels",
            across=3,
        ),
        Plot(
            [_curve(_ANGLES, angles, BLUE)],
            "Rotation",
            "degrees",
            across=3,
        ),
        Plot(
            [Curve(np.array(_ANGLES, float), 100 * kept, "% of photos", GREEN, dots=True)],
            "First output stays the first",
            "degrees",
            across=3,
            y_range=(0, 100),
        ),
    )
    story.when_this_fails(
        [
            "What a network is not built to ignore it can learn to ignore, as far as its training photos moved and "
            "turned."
        ],
        Words(["What is measured is the change on these photos; on others it may be more or less."]),
    )
    return story


def _curve(x: Sequence[int], changes: Sequence[Sequence[float]], color: Color) -> Curve:
    """Their mean, with the deviation over the photos."""
    spread = 100 * np.std(changes, 0) if len(changes) > 1 else None
    return Curve(np.array(x, float), 100 * np.mean(changes, 0), "change in %", color, spread, dots=True)
