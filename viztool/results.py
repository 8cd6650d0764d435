"""What every result can do: be drawn, be saved, show itself, and give the numbers behind its picture."""

from __future__ import annotations

import base64
import html
import reprlib
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

import viztool
from viztool.images import atomic_write, mark_of, png_bytes, write_image
from viztool.images.writing import SUFFIXES, check_suffix
from viztool.render.canvas import Canvas, canvas_of
from viztool.render.raster import raster
from viztool.render.svg import svg


def _pdf(drawing: Canvas, note: str) -> bytes:
    from viztool.render.pdf import pdf  # late: matplotlib's figures take a fifth of a second to import

    return pdf(drawing, note)


_VECTORS: dict[str, Callable[[Canvas, str], bytes]] = {".svg": svg, ".pdf": _pdf}


def check_target(path: Path) -> str:
    """The suffix of a file that a result can be saved as, in small letters. Raises ImageError for another."""
    return check_suffix(path, (*SUFFIXES, *_VECTORS))


def versions() -> dict[str, str]:
    """What a result was made with, for its numbers."""
    import torch  # not above: a result of numbers alone needs none

    return {"viztool": viztool.__version__, "torch": torch.__version__}


def made_by() -> str:
    """The same for the foot of a sheet: "viztool 1.0 · torch 2.6"."""
    return " · ".join(f"{name} {version}" for name, version in versions().items())


class Result(ABC):
    """A picture with the numbers that say whether to believe it. In a notebook it shows itself."""

    def drawing(self) -> Canvas:
        """The result, drawn: words as words, pictures as pictures, curves as curves.

        A kind of result has this, or a `picture` of its own.
        """
        return canvas_of(self.picture())

    def picture(self) -> npt.NDArray[np.uint8]:
        """The drawing in pixels: uint8 (H, W, 3) RGB."""
        return raster(self.drawing())

    @property
    @abstractmethod
    def numbers(self) -> dict[str, Any]:
        """Every figure that the picture draws or claims, ready for JSON."""

    @property
    def in_words(self) -> str:
        """What there is to say of it in a line or a few."""
        return type(self).__name__

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The raw values behind the picture, by name; none if it is made of numbers alone."""
        return {}

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the picture, whole or not at all; the suffix says the format. Returns the path.

        In an .svg or a .pdf words are words, maps are in their own cells, and curves are curves. The file says how it
        was made: see `viztool about`. force: False never replaces a file that viztool did not make.
        Raises ImageError if it cannot be written, or may not be replaced.
        """
        target = Path(path)
        suffix = check_target(target)
        mark = mark_of(self.numbers)
        if suffix not in _VECTORS:
            return write_image(target, self.picture(), force=force, is_sheet=True, mark=mark)
        with atomic_write(target, force=force) as file:
            file.write(_VECTORS[suffix](self.drawing(), mark.text))
        return target

    def save_npz(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write `arrays` into one compressed .npz, whole or not at all; as in `save`."""
        target = Path(path)
        # Not numpy.savez, which takes names as keywords: a layer may be called "file", as its first argument is.
        with (
            atomic_write(target, force=force) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            archive.comment = mark_of(self.numbers).text.encode()
            for name, array in self.arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, array, allow_pickle=False)
        return target

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_few_lines(self.in_words)})"

    def _repr_png_(self) -> bytes:
        return png_bytes(self.picture())


R = TypeVar("R", bound=Result)


class Results(list[R]):
    """Several results. A list, that shows itself: a line for each; in a notebook their pictures, the first few."""

    def __repr__(self) -> str:
        return "[" + ",\n ".join(map(repr, self)) + "]"

    def _repr_html_(self) -> str:
        figures = [
            f"<figure><img alt='' src='data:image/png;base64,{base64.b64encode(result._repr_png_()).decode()}'>"
            f"<figcaption>{html.escape(_few_lines(result.in_words))}</figcaption></figure>"
            for result in self[:_PICTURES]
        ]
        left = len(self) - len(figures)
        return "\n".join([*figures, f"<p>and {left} more</p>"] if left else figures)


class Part:
    """A part of a result, a dataclass: its repr gives arrays by their shapes, a line in place of a page of numbers."""

    def __repr__(self) -> str:
        said = (f"{one.name}={_SHAPES.repr(getattr(self, one.name))}" for one in fields(self) if one.repr)  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(said)})"


class _Shapes(reprlib.Repr):
    def repr1(self, x: Any, level: int) -> str:
        if hasattr(x, "shape") and hasattr(x, "dtype") and len(x.shape):
            return f"<{' × '.join(map(str, x.shape))}>"
        return super().repr1(x, level)


_SHAPES = _Shapes()
_SHAPES.maxstring = _SHAPES.maxother = 80

_PICTURES = 8
_LINES, _LETTERS = 4, 400


def _few_lines(text: str) -> str:
    lines = text.splitlines()
    few = "\n".join(lines[:_LINES])
    return text if few == text and len(few) <= _LETTERS else f"{few[:_LETTERS].rstrip()} …"
