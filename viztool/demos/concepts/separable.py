"""Separable kernels: a column times a row."""

from __future__ import annotations

import numpy as np

from viztool.demos.kernel import Array, correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import strong
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import Panel, Shot, signed_picture

_KERNELS: dict[str, Array] = {
    "Sobel": np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64),
    "mean": np.ones((3, 3)) / 9,
    "Laplace": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float64),
}
_DRAWS = 200


def halves(kernel: Array) -> tuple[Array, Array, Array]:
    """The column and the row whose product is nearest to the kernel, and its singular values."""
    u, s, v = np.linalg.svd(kernel)
    return u[:, :1] * s[0] ** 0.5, v[:1] * s[0] ** 0.5, s


@demo("separable", "Can a 1 × 3 and a 3 × 1 replace a 3 × 3?", claims=[6], photo="camera")
def separable(photo: Photo, seed: int) -> Story:
    """Singular values, the photo through both halves, and what random kernels lose."""
    story = Story()
    rng = np.random.default_rng(seed)
    found = {}
    rows: list[Bar] = []
    for name, kernel in {**_KERNELS, "random": rng.normal(size=(3, 3))}.items():
        values = np.linalg.svd(kernel)[1]
        rank = int((values > 1e-9 * values[0]).sum())
        found[name] = {"kernel": kernel, "singular_values": values, "rank": rank}
        rows += [
            Bar(f"{name}, σ{at + 1}", float(value / values[0]), number(round(float(value), 6), ".3g"))
            for at, value in enumerate(values)
        ]
    story.equal("rank of Sobel", found["Sobel"]["rank"], 1)
    story.equal("rank of the mean", found["mean"]["rank"], 1)
    story.equal("rank of Laplace", found["Laplace"]["rank"], 2)
    column, row, _ = halves(_KERNELS["Sobel"])
    story.near(
        "largest difference of Sobel to its halves", float(abs(column @ row - _KERNELS["Sobel"]).max()), 0, 1e-12
    )
    story.numbers["kernels"] = found
    story.numbers["weights"] = {"halves": 6, "whole": 9, "share": 6 / 9}
    story.band(
        "In small numbers",
        [f"A column times a row: 6 weights for 9, {percent(6 / 9)}. Sobel's is exact, as its rank is 1."],
        Equation(
            [
                Grid(np.array([[1.0], [2], [1]]), "3 × 1", cell=40),
                "×",
                Grid(np.array([[-1.0, 0, 1]]), "1 × 3", cell=40),
                "=",
                Grid(_KERNELS["Sobel"], "Sobel", cell=40),
            ]
        ),
        Bars(rows, "Singular values, over the largest", across=2, top=1.0),
    )
    panels: list[Panel] = []
    photo_numbers = {}
    for name in ("Sobel", "Laplace"):
        kernel = _KERNELS[name]
        column, row, _ = halves(kernel)
        whole = correlate(photo.grey, kernel)
        both = correlate(correlate(photo.grey, row), column)
        limit = strong(whole)
        left = float(((whole - both) ** 2).sum() / max(float((whole**2).sum()), 1e-300)) if whole.any() else 0.0
        total = float((column @ row).sum())
        photo_numbers[name] = {"darkest_at": limit, "left": left, "sum_of_the_nearest": total}
        panels += [
            Shot(signed_picture(whole, limit), f"{name}, 3 × 3", [f"darkest from {number(limit, '.3g')}"], 4),
            Shot(
                signed_picture(both, limit),
                f"{name}, 1 × 3 then 3 × 1",
                [_differs(left)],
                4,
            ),
        ]
    story.below("energy of Sobel that its halves lose on the photo", photo_numbers["Sobel"]["left"], 1e-20)
    if photo.is_reference:
        story.above(
            "energy of Laplace that its nearest halves lose on the photo", photo_numbers["Laplace"]["left"], 0.01
        )
    story.numbers["photo"] = photo_numbers
    beyond = _beyond("Laplace")
    story.band(
        "On the photo",
        [
            "Sobel's halves give the same map; those nearest to Laplace's kernel do not.",
            f"They miss {percent(beyond, 1)} of the kernel, but no longer sum to 0: their sum is "
            f"{number(photo_numbers['Laplace']['sum_of_the_nearest'], '.2g')}. So every flat area answers, the "
            f"brighter the more, and the map differs by {number(photo_numbers['Laplace']['left'], '.2g')} times its "
            "own energy.",
        ],
        *panels,
    )
    story.on_slide(6)
    lost = []
    for _ in range(_DRAWS):
        values = np.linalg.svd(rng.normal(size=(3, 3)))[1]
        lost.append(float((values[1:] ** 2).sum() / (values**2).sum()))
    low, middle, high = (float(np.quantile(lost, share)) for share in (0.1, 0.5, 0.9))
    story.above("energy of a random 3 × 3 beyond rank 1, median", middle, 0.1)
    story.numbers["random"] = {"draws": _DRAWS, "lost": {"10%": low, "median": middle, "90%": high}}
    story.when_this_fails(
        [
            f"A random 3 × 3 has rank 3. The nearest column times row loses {percent(middle)} of its energy (median of "
            f"{_DRAWS}; {percent(low)} to {percent(high)} for four in five).",
            "Networks that are built of halves learn what halves can do.",
        ],
        Bars(
            [
                Bar("Sobel", 0.0, "0"),
                Bar("Laplace", _beyond("Laplace"), percent(_beyond("Laplace"), 1)),
                Bar("random, median", middle, percent(middle, 1)),
            ],
            "Energy of the kernel beyond rank 1",
            top=0.5,
        ),
    )
    story.numbers["laplace_beyond_rank_1"] = _beyond("Laplace")
    return story


def _differs(share: float) -> str:
    """What of a map's energy lies in its difference to another."""
    if share > 1:
        return f"differs by {number(share, '.2g')} times its energy"
    return "the same" if share < 1e-20 else f"{percent(share, 1)} of the energy differs"


def _beyond(name: str) -> float:
    values = np.linalg.svd(_KERNELS[name])[1]
    return float((values[1:] ** 2).sum() / (values**2).sum())
