"""What kernels look for, as a sheet: their weights, their pictures, their photos, and the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.images import mark_of, write_image
from viztool.images.marks import Mark
from viztool.images.naming import MAKER
from viztool.images.writing import atomic_write
from viztool.inspect.stage import Stage
from viztool.kernels.photos import Excerpt, Kind
from viztool.kernels.tiles import Drawn, drawn_tile, path_words, paths_tile, short, weights_tile
from viztool.kernels.trust import Paths
from viztool.kernels.weights import KernelWeights
from viztool.render.canvas import Canvas
from viztool.render.kernel_sheet import (
    Card,
    KernelPage,
    Picked,
    kernel_page,
)
from viztool.results import Part, Result, made_by, versions


@dataclass(frozen=True, eq=False, repr=False)
class KernelPictures(Part):
    """One channel, or one class: what it is called, its weights, what excites it, and what does the opposite."""

    unit: int
    label: str
    weights: KernelWeights | None
    optimum: Drawn
    negative: Drawn | None
    excerpts: Mapping[Kind, Sequence[Excerpt]] = field(default_factory=dict)
    natural: Mapping[str, float] = field(default_factory=dict)
    paths: Paths | None = None

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON; None for what is not finite."""
        found = {
            "unit": self.unit,
            "label": self.label,
            "optimum": _numbers(self.optimum),
            "negative": None if self.negative is None else _numbers(self.negative),
            "photos": {
                kind: [{"photo": each.photo, "value": each.value} for each in found]
                for kind, found in self.excerpts.items()
            },
            "natural": dict(self.natural),
            "weights": None if self.weights is None else self.weights.numbers,
            **({} if self.paths is None else {"paths": self.paths.numbers}),
        }
        cleaned: dict[str, Any] = _finite(found)
        return cleaned


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _numbers(drawn: Drawn) -> dict[str, Any]:
    return {"status": drawn.status or "ok", "steps": drawn.steps, "is kernel": drawn.is_kernel, **drawn.numbers}


@dataclass(frozen=True, eq=False, repr=False)
class KernelSheet(Result):
    """What some units of a layer look for.

    network, weights, layer, kind: in words. chosen: how the units were picked. settings: of the ascent, ready for
    JSON. source: of the photos beside them, or "". notes: what else there is to say. rank: singular patterns in
    place of slices, or None. asked: all units that were to be drawn; an interrupted run has fewer. stage: that the
    layer is in, or None.
    """

    network: str
    weights: str
    layer: str
    kind: str
    width: int
    chosen: str
    settings: Mapping[str, Any]
    kernels: tuple[KernelPictures, ...]
    source: str = ""
    notes: tuple[str, ...] = ()
    rank: int | None = None
    asked: tuple[int, ...] = ()
    stage: Stage | None = None

    def __len__(self) -> int:
        return len(self.kernels)

    def drawing(self) -> Canvas:
        """A card for each unit: weights, optimum, negative, photos."""
        seconds = f"seed {self.settings['seed']} · {made_by()}"
        what = "the classes" if not self.layer else self.layer
        return kernel_page(
            KernelPage(
                title=f"What {what} look for" if not self.layer else f"What {what} looks for",
                subtitle=f"{self.network} · {self.weights} · {self.what} · {self.chosen}",
                notes=[*self.notes, how_to_read([self])],
                cards=[self._card(kernel) for kernel in self.kernels],
                footer=seconds,
            )
        )

    @property
    def what(self) -> str:
        """What its units are of: the layer's stage and type, and how many it has."""
        stage = "" if self.stage is None else f"{self.stage.of(self.layer)}, "
        return f"{stage}{self.kind}, {self.width} {'channels' if self.layer else 'outputs'}"

    @property
    def optima(self) -> list[Mapping[str, float | None]]:
        """The numbers of each optimum."""
        return [kernel.optimum.numbers for kernel in self.kernels]

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "network": self.network,
            "weights": self.weights,
            "layer": self.layer,
            "type": self.kind,
            "stage": None if self.stage is None else self.stage.numbers,
            "channels": self.width,
            "chosen": self.chosen,
            "settings": dict(self.settings),
            "photos": self.source,
            "kernels": [kernel.numbers for kernel in self.kernels],
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """How many went well."""
        good = sum(not kernel.optimum.status for kernel in self.kernels)
        return f"{good} of {len(self)} units of {self.layer or 'the output'} drawn; {self.chosen}"

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The pictures, "optimum" and "negative" (N, h, w, 3), their "alpha" (N, h, w), and the "units" (N,)."""
        found: dict[str, npt.NDArray[Any]] = {
            "units": np.array([kernel.unit for kernel in self.kernels]),
            "optimum": np.stack([kernel.optimum.pixels for kernel in self.kernels]),
            "alpha": np.stack([kernel.optimum.alpha for kernel in self.kernels]),
        }
        negatives = [kernel.negative.pixels for kernel in self.kernels if kernel.negative is not None]
        if len(negatives) == len(self.kernels):
            found["negative"] = np.stack(negatives)
        return found

    def save_each(self, folder: str | PathLike[str], *, alpha: bool = False, force: bool = True) -> list[Path]:
        """One PNG for each unit, as large as it is; alpha: transparent where the ascent worked least."""
        paths = []
        mark = mark_of(self.numbers)
        name = (self.layer or "class").replace(".", "_").replace("/", "_")
        for kernel in self.kernels:
            path = Path(folder) / f"{name}_{kernel.unit:04d}.png"
            if alpha:
                _write_rgba(path, kernel.optimum, mark, force=force)
            else:
                write_image(path, kernel.optimum.pixels, force=force, mark=mark)
            paths.append(path)
        return paths

    def _card(self, kernel: KernelPictures) -> Card:
        columns, tiles = [], []
        own = kernel.optimum.is_kernel
        if kernel.weights is not None and not own:
            columns.append("weights")
            tiles.append(weights_tile(kernel.weights, self.rank))
        columns.append("optimum: the kernel itself" if own else "optimum")
        tiles.append(drawn_tile(kernel.optimum, kernel.natural))
        if kernel.paths is not None:
            tiles[-1] = replace(tiles[-1], lines=[*tiles[-1].lines, path_words(kernel.paths)])
            columns.append("its path through the network")
            tiles.append(paths_tile(kernel.paths))
        if kernel.negative is not None:
            columns.append("negative optimum: its opposite" if own else "negative optimum")
            tiles.append(drawn_tile(kernel.negative, {}))
        rows = []
        indent = len(tiles)
        for kind in ("top", "least", "random"):
            excerpts = kernel.excerpts.get(kind)
            if excerpts is None:
                continue
            found = [Picked(each.picture, [f"{_WORDS[kind]} {short(each.value)}"]) for each in excerpts]
            if kind == "top":
                columns += ["photos: what excites it most"] + [""] * (len(found) - 1)
                tiles += found
            else:
                rows.append(found)
        note = " · ".join(f"{what} {short(kernel.natural[key])}" for key, what in _NATURAL if key in kernel.natural)
        return Card(kernel.label, note, columns, [tiles, *rows], indent)


_PATHS = (
    " Path: the rank correlation of the channels' means, block by block from first to last, of the optimum with its "
    "top photos; beside it that of two of these photos, and of noise with a photo's spectrum."
)
_WORDS = {"top": "unit", "least": "least", "random": "random"}
_NATURAL = (("z", "z"), ("mean", "photos' mean"), ("max", "max"))


def how_to_read(sheets: Sequence[KernelSheet]) -> str:
    """What the numbers under the pictures of these are."""
    climbed = list(dict.fromkeys(sheet.settings["climbed"] for sheet in sheets))
    what = " or ".join(f"the {each}" for each in climbed)
    if all(each["robustness"] is None for sheet in sheets for each in sheet.optima):
        return f"Under each picture: its activation ({what})."
    return (
        f"Under each picture: its activation ({what}), beside that of photos if there are any; then how much of it "
        "is left under shifts and turns, and the share of its energy at high frequencies (photos have about 0.01)."
        + (_PATHS if any(kernel.paths is not None for sheet in sheets for kernel in sheet.kernels) else "")
    )


def _write_rgba(path: Path, drawn: Drawn, mark: Mark, *, force: bool) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    rgba = np.concatenate([drawn.pixels, drawn.alpha[..., None]], 2)
    told = PngInfo()
    told.add_text(MAKER, mark.text)
    with atomic_write(path, force=force) as file:
        Image.fromarray(rgba, "RGBA").save(file, "PNG", pnginfo=told)
