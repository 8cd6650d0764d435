"""The page: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from os import PathLike
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from viztool.explorer.look import Look
from viztool.explorer.payload import LARGE, Payload
from viztool.explorer.world import World
from viztool.images import atomic_write, mark_of
from viztool.render.web import sealed_page, shared
from viztool.results import Result, versions

SUFFIXES = (".html", ".htm")
_SCRIPTS = ("data", "sums", "draw", "state", "tiles", "unit", "side", "concepts", "page")
"""Parts of the one script, in order."""
_SHEET_WIDTH = 640


@dataclass(frozen=True, repr=False, eq=False)
class Page(Result):
    """A walk through a network on one or several photos. Its picture is the contact sheet of the first."""

    looks: tuple[Look, ...]
    payload: Payload
    world: World

    def picture(self) -> npt.NDArray[np.uint8]:
        """The contact sheet, which the page shows where scripts do not run."""
        return self.looks[0].features.picture()

    @cached_property
    def html(self) -> str:
        """The whole page."""
        room = files("viztool.explorer")
        parts = [room.joinpath("js").joinpath(f"{part}.js").read_text(encoding="utf-8") for part in _SCRIPTS]
        body = Template(room.joinpath("page.html").read_text(encoding="utf-8"))
        return sealed_page(
            body.substitute(sheet=_jpeg(self.picture()), alt=html.escape(self.in_words)),
            room.joinpath("page.css").read_text(encoding="utf-8"),
            f'"use strict";\n(() => {{\n{"".join([shared("theme.js"), *parts])}}})();\n',
            title=f"{self.looks[0].subject.network} on {self.looks[0].subject.source}",
            mark=mark_of(self.numbers).text,
            payload=self.payload.packed,
        )

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "photos": [look.features.numbers for look in self.looks],
            "layers": [{"name": layer.of.name, "shape": list(layer.of.maps.shape)} for layer in self.looks[0].layers],
            "bytes": {"packed": len(self.payload.packed), **self.payload.spent},
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """The network, the photos, what is on the page, and how large it is."""
        first = self.looks[0]
        units = sum(layer.of.maps.size for layer in first.layers)
        photos = ", ".join(look.subject.source for look in self.looks)
        return (
            f"{first.subject.network} on {photos}: {len(first.layers)} layers, {units:,} units, "
            f"{len(self.payload.packed) * 4 / 3e6:.1f} MB"
        )

    @property
    def warning(self) -> str:
        """Why the classes have no maps, and what to leave out of a page that is too large; "" if neither is so."""
        if any(look.without_gradient for look in self.looks):
            return "the network overwrites in place what its own gradient needs: the classes are without maps"
        size = len(self.payload.packed) * 4 // 3
        if size <= LARGE:
            return ""
        most = sorted(self.payload.spent.items(), key=lambda item: -item[1])[:2]
        parts = " and ".join(f"{what} ({count / 1e6:.0f} MB unpacked)" for what, count in most)
        return f"the page has {size / 1e6:.0f} MB, most of it {parts}: choose fewer layers (-l), or --small"

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The maps on the page, as `FeatureMaps.arrays`; of the first photo."""
        return self.looks[0].features.arrays

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the page; to any other suffix than .html the contact sheet. Whole or not at all. Returns the path.

        force: False never replaces a file that viztool did not make. Raises ImageError if it cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() not in SUFFIXES:
            return super().save(target, force=force)
        with atomic_write(target, force=force) as file:
            file.write(self.html.encode())
        return target

    def _repr_html_(self) -> str:
        """In a frame of its own, that runs the page's script and may do nothing else."""
        return (
            f'<iframe sandbox="allow-scripts" title="viztool explorer" width="100%" height="820" '
            f'style="border:0" srcdoc="{html.escape(self.html)}"></iframe>'
        )


def _jpeg(picture: npt.NDArray[np.uint8]) -> str:
    sheet = Image.fromarray(picture)
    sheet.thumbnail((_SHEET_WIDTH, 8 * _SHEET_WIDTH))
    out = io.BytesIO()
    sheet.save(out, "JPEG", quality=55, optimize=True)
    return base64.b64encode(out.getvalue()).decode()
