"""Max pooling and noise: what it removes, and what it spreads."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from viztool.demos.kernel import Array, correlate
from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.signal import add_noise, blocks, psnr, strong
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number, percent
from viztool.render.panels import BAD, GOOD, Panel, Shot, grey_picture, signed_picture
from viztool.render.plot import BLUE, ORANGE, Curve, Plot
from viztool.render.text import Color

_KINDS = {"gaussian": "Gaussian σ 0.1", "salt": "salt 5 %", "pepper": "pepper 5 %", "both": "both 2.5 % + 2.5 %"}
_OPERATIONS = ("max 2", "mean 2", "min 2", "median 3 ↓ 2")
_NINE = "mean 3 ↓ 2"
_SHOWN = ("gaussian", "salt", "pepper")
_RATE = 0.05
_CROP = 64

_REFERENCE = {
    "gaussian": (19.99, 19.08, 26.02, 19.05, 27.16),
    "salt": (15.57, 10.15, 20.98, 39.78, 36.00),
    "pepper": (20.85, 40.09, 26.28, 15.76, 36.03),
    "both": (17.39, 12.92, 23.23, 18.51, 38.24),
}
"""PSNR in dB of the reference photo, of the input and of the first four operations, of one generator's noise."""
_REMOVED = 30.0  # dB: where nearly all noise is gone, the few pixels that are left decide, and seeds differ by 1.5 dB


def reduce(image: Array, operation: str) -> Array:
    """(H, W) to (H // 2, W // 2)."""
    if operation == "median 3 ↓ 2":
        smooth = cv2.medianBlur(image.astype(np.float32), 3).astype(np.float64)
        return smooth[: image.shape[0] // 2 * 2 : 2, : image.shape[1] // 2 * 2 : 2]
    if operation == _NINE:
        mean: Array = np.asarray(cv2.blur(image, (3, 3)), np.float64)
        return mean[: image.shape[0] // 2 * 2 : 2, : image.shape[1] // 2 * 2 : 2]
    parts = blocks(image)
    if operation == "mean 2":
        return np.asarray(parts.mean(-1))
    return np.asarray(parts.max(-1) if operation == "max 2" else parts.min(-1))


@demo("maxpool-noise", "Does max pooling remove noise?", claims=[18])
def maxpool_noise(photo: Photo, seed: int) -> Story:
    """Max, mean, min and median on a noisy photo, then on its Sobel map."""
    story = Story(notes=["PSNR, in decibels, is against the same operation on the clean photo: higher is better."])
    clean = photo.unit
    rng = np.random.default_rng(seed)
    noisy = {kind: add_noise(clean, kind, rng, rate=_RATE) for kind in _KINDS}
    story.numbers["noise"] = {"sigma": 0.1, "rate": _RATE, "rate_of_each_of_both": _RATE / 2}
    found = _decibels(story, photo, clean, noisy)
    _on_the_photo(story, clean, noisy, found)
    _small_numbers(story, clean, _rates(story, rng))
    _after_sobel(story, photo, clean, noisy)
    _what_holds(story, clean)
    return story


def _decibels(story: Story, photo: Photo, clean: Array, noisy: dict[str, Array]) -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for kind, image in noisy.items():
        row = {"input": psnr(image, clean)}
        row |= {name: psnr(reduce(image, name), reduce(clean, name)) for name in _OPERATIONS}
        table[kind] = row
        if photo.is_reference:
            for (name, value), expected in zip(row.items(), _REFERENCE[kind], strict=True):
                story.near(f"PSNR of {kind} after {name}", value, expected, 2.5 if expected > _REMOVED else 0.5)
    # The photo's own values cancel in a mean: four times less variance, whatever the photo.
    gain = table["gaussian"]["mean 2"] - table["gaussian"]["input"]
    story.near("dB that the mean gains on Gaussian noise", gain, 10 * np.log10(4), 0.05 + 60 / clean.size**0.5)
    story.numbers["psnr"] = table
    story.numbers["psnr_of_the_mean_of_9"] = {
        kind: psnr(reduce(image, _NINE), reduce(clean, _NINE)) for kind, image in noisy.items()
    }
    story.numbers["mean_gain_db"] = gain
    return table


def _on_the_photo(story: Story, clean: Array, noisy: dict[str, Array], found: dict[str, dict[str, float]]) -> None:
    side = min(_CROP, *clean.shape) // 2 * 2
    top, left = (clean.shape[0] // 3 // 2 * 2, (clean.shape[1] - side) // 4 * 2)
    top = min(top, clean.shape[0] - side) // 2 * 2
    nine: dict[str, float] = story.numbers["psnr_of_the_mean_of_9"]
    found = {kind: {**row, _NINE: nine[kind]} for kind, row in found.items()}
    panels: list[Panel] = []
    for kind in _SHOWN:
        crop = noisy[kind][top : top + side, left : left + side]
        panels.append(Shot(grey_picture(crop, 0, 1), _KINDS[kind], [_db(found[kind]["input"])], 6))
        panels += [
            Shot(grey_picture(reduce(crop, name), 0, 1), name, [_db(found[kind][name])], 6)
            for name in (*_OPERATIONS, _NINE)
        ]
    rows = [["PSNR in dB", "input", *_OPERATIONS, _NINE]]
    colors: list[tuple[int, int, Color]] = []
    for at, (kind, row) in enumerate(found.items(), 1):
        rows.append([_KINDS[kind], *(f"{value:.2f}" for value in row.values())])
        rest = list(row.values())[1:]
        colors += [(at, 2 + rest.index(max(rest)), GOOD), (at, 2 + rest.index(min(rest)), BAD)]
    story.band(
        "On the photo",
        [
            f"A part of {side} × {side} pixels with noise, then each 2 × 2 block as its max, mean or min; or the "
            "median or the mean of 3 × 3, at every second pixel.",
            "Max spreads what is bright and drops what is dark; min the reverse. The median removes both.",
        ],
        *panels,
    )
    story.on_slide(18)
    gaussian = found["gaussian"]
    story.band(
        "In decibels",
        [
            f"The mean of 4 gains {story.numbers['mean_gain_db']:.2f} dB on Gaussian noise: a quarter of its variance.",
            f"The median's {gaussian['median 3 ↓ 2']:.2f} dB there are no win over it: it has 9 pixels to the mean's "
            f"4, and the mean of the same 9 has {gaussian[_NINE]:.2f} dB. Its win is on salt and pepper.",
        ],
        Table(rows, "", ["green: the best of its row, red: the worst"], tuple(colors), width=860),
    )


def _small_numbers(story: Story, clean: Array, rates: Panel) -> None:
    """One block of the photo, with a salt pixel and with a pepper pixel; and how many are hit."""
    grey = np.rint(clean * 255)
    parts = blocks(grey)
    spread = parts.max(-1) - parts.min(-1)
    middling = abs(parts.mean(-1) - 128) + abs(spread - 30)
    row, column = np.unravel_index(int(middling.argmin()), middling.shape)
    block = grey[2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
    worked = {}
    panels = []
    for name, value in (("as it is", None), ("with salt", 255.0), ("with pepper", 0.0)):
        patch = block.copy()
        if value is not None:
            patch[0, 1] = value
        worked[name] = {"block": patch, "max": float(patch.max()), "mean": float(patch.mean())}
        if value is None:
            continue
        panels.append(
            Equation(
                [
                    Grid(patch, limit=1e9, cell=40, marked=((0, 1),)),
                    f"→ max {worked[name]['max']:.0f}, mean {number(worked[name]['mean'], '.4g')}",
                ],
                name,
            )
        )
    story.equal("max of a block with salt", worked["with salt"]["max"], 255.0)
    story.equal("max of a block with pepper", worked["with pepper"]["max"], float(np.delete(block.ravel(), 1).max()))
    story.numbers["worked"] = {"row": int(2 * row), "column": int(2 * column), **worked}
    story.band(
        "In small numbers",
        [
            f"The block at row {2 * row}, column {2 * column} of the photo. One salt pixel takes the whole block; one "
            f"pepper pixel is gone: as it is, its max is {worked['as it is']['max']:.0f}.",
            f"A block of four has salt if any of the four has: p → 1 − (1 − p)⁴, so {number(_RATE)} → "
            f"{1 - (1 - _RATE) ** 4:.4f}. It has pepper left only if all four have: p → p⁴, so {number(_RATE)} → "
            f"{number(_RATE**4, '.2g')}.",
        ],
        *panels,
        rates,
    )


def _rates(story: Story, rng: np.random.Generator) -> Panel:
    """How many pixels are hit, before and after: salt p → 1 − (1 − p)⁴, pepper p → p⁴."""
    rates = np.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5])
    count = 200_000
    salt: list[float] = []
    pepper: list[float] = []
    for rate in rates:
        hit = rng.random((count, 4)) < rate
        for after, expected, what in (
            (float(hit.any(1).mean()), 1 - (1 - rate) ** 4, "salt"),
            (float(hit.all(1).mean()), rate**4, "pepper"),
        ):
            spread = float(np.sqrt(expected * (1 - expected) / count))
            story.near(f"{what} after max at rate {number(rate)}", after, expected, 4.5 * spread + 1e-5)
            (salt if what == "salt" else pepper).append(after)
    exact = 1 - (1 - _RATE) ** 4
    story.near("salt rate .05 after max", exact, 0.1855, 5e-5)
    fine = np.linspace(0, 0.5, 101)
    story.numbers["rates"] = {
        "before": rates,
        "salt_after": salt,
        "pepper_after": pepper,
        "salt_after_at_.05": exact,
        "pepper_after_at_.05": _RATE**4,
    }
    story.numbers["blocks_counted"] = count
    return Plot(
        [
            Curve(fine, 1 - (1 - fine) ** 4, "salt: 1 − (1 − p)⁴", ORANGE),
            Curve(fine, fine**4, "pepper: p⁴", BLUE),
            Curve(rates, np.array(salt), "", ORANGE, dots=True, line=False),
            Curve(rates, np.array(pepper), "", BLUE, dots=True, line=False),
        ],
        "Pixels hit, after max pooling",
        "rate p before",
        [f"dots: counted over {count:,} blocks"],
        across=3,
        height=120,
        y_range=(0, 1),
    )


def _magnitude(image: Array) -> Array:
    """Sobel magnitude with OpenCV's border."""
    gx = cv2.Sobel(image, cv2.CV_64F, 1, 0)
    gy = cv2.Sobel(image, cv2.CV_64F, 0, 1)
    result: Array = np.hypot(gx, gy)
    return result


def _after_sobel(story: Story, photo: Photo, clean: Array, noisy: dict[str, Array]) -> None:
    """Mean magnitude on the clean photo's edges (its top tenth) over that in its flatter half, before and after."""
    edges = _magnitude(clean)
    strongest, flat = edges >= np.quantile(edges, 0.9), edges <= np.quantile(edges, 0.5)
    strong_blocks, flat_blocks = blocks(strongest).max(-1) > 0, blocks(flat).min(-1) > 0
    ratios: dict[str, dict[str, float]] = {}
    for kind, image in {"clean": clean, **{kind: noisy[kind] for kind in ("gaussian", "salt", "pepper")}}.items():
        raw = _magnitude(image)
        pooled = blocks(raw).max(-1)
        ratios[kind] = {
            "raw": _ratio(raw, strongest, flat),
            "max": _ratio(pooled, strong_blocks, flat_blocks),
        }
    falls = sum(each["max"] < each["raw"] for each in ratios.values())
    story.numbers["edge_over_flat"] = ratios
    story.numbers["edge_over_flat_falls_in"] = falls
    if photo.is_reference:
        for kind, expected in (
            ("clean", (20.9, 17.8)),
            ("gaussian", (3.25, 2.54)),
            ("salt", (2.91, 1.85)),
            ("pepper", (7.20, 5.14)),
        ):
            for name, value in zip(("raw", "max"), expected, strict=True):
                story.near(f"edge over flat, {kind}, {name}", ratios[kind][name], value, 0.04 * value)
        story.equal("cases in which edge over flat falls", falls, 4)
    names = {"clean": "clean", **_KINDS}
    bars = [
        Bar(f"{names[kind]}, {when}", each[key], f"{each[key]:.2f}", color)
        for kind, each in ratios.items()
        for key, when, color in (("raw", "before", (122, 152, 186)), ("max", "after max", (214, 150, 92)))
    ]
    crop = _magnitude(noisy["salt"])
    limit = strong(crop)
    story.numbers["salt_map_darkest_at"] = limit
    story.band(
        "After Sobel",
        [
            "How much stronger the edges (the clean photo's top tenth) stand out from its flatter half. Noise removed "
            f"would raise it. It falls in {falls} of 4 cases."
        ],
        Bars(bars, "Mean magnitude on edges over that on flat parts", across=2),
        Shot(signed_picture(crop, limit), "|∇| of the photo with salt", [f"darkest from {number(limit, '.3g')}"], 6),
        Shot(signed_picture(blocks(crop).max(-1), limit), "after max pooling", ["the rings grow"], 6),
    )


def _ratio(values: Array, edges: npt.NDArray[np.bool_], flat: npt.NDArray[np.bool_]) -> float:
    below = float(values[flat].mean()) if flat.any() else 0.0
    # Of a photo in which nothing is there is no edge, and no flat part is flatter than another.
    return float(values[edges].mean()) / below if below > 0 else 1.0


def _what_holds(story: Story, clean: Array) -> None:
    """Against plain subsampling max keeps more of the edges; on a signed map it drops the negative ones."""
    size = abs(correlate(np.rint(clean * 255), np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)))
    total = float((size**2).sum())
    kept = float((blocks(size).max(-1) ** 2).sum()) / total if total else 0.25
    plain = float((blocks(size)[..., 0] ** 2).sum()) / total if total else 0.25
    if total:
        story.above("edge energy that max keeps, over plain subsampling's", kept, plain)
    bar = np.zeros((24, 24))
    bar[:, 8:16] = 1
    signed = correlate(bar, np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64))
    plain_max, size_max = blocks(signed).max(-1), blocks(abs(signed)).max(-1)
    story.equal("negative edges of a bar that max of Gx keeps", int((plain_max < 0).sum()), 0)
    sides = {"Gx": _sides(signed), "max of Gx": _sides(plain_max), "max of |Gx|": _sides(size_max)}
    story.equal("sides of the bar: Gx, max of Gx, max of |Gx|", list(sides.values()), [2, 1, 2])
    story.numbers["energy"] = {"max": kept, "subsampling": plain}
    story.numbers["sides_of_the_bar"] = sides
    story.when_this_fails(
        [
            f"What does hold: of the energy of |Gx| max keeps {percent(kept, 1)} of the sum, taking every second pixel "
            f"{percent(plain, 1)}.",
            "On a signed map plain max drops the negative edges: of a bar's two sides one is left. Pool |Gx|.",
        ],
        *(
            Shot(signed_picture(picture, 4.0), name, [f"{sides[name]} of 2 sides"], 8)
            for name, picture in (("Gx", signed), ("max of Gx", plain_max), ("max of |Gx|", size_max))
        ),
        Bars(
            [Bar("max pooling", kept, percent(kept, 1)), Bar("every 2nd pixel", plain, percent(plain, 1))],
            "Energy of |Gx| kept",
            across=3,
            top=1.0,
        ),
    )


def _sides(values: Array) -> int:
    """How many separate edges a row in the middle crosses."""
    row = values[values.shape[0] // 2] != 0
    return int(np.sum(row[1:] & ~row[:-1]) + row[0])


def _db(value: float) -> str:
    return f"PSNR {value:.2f} dB"
