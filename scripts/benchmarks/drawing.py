"""The row about drawing, beside matplotlib."""

from __future__ import annotations

from contextlib import ExitStack
from io import BytesIO

import numpy as np

from benchmarks.contest import Contest, row
from viztool.images import png_bytes
from viztool.render.colormaps import Map
from viztool.render.predictions import Predictions
from viztool.render.raster import raster
from viztool.render.sheet import Band, Header, Sheet, contact_sheet
from viztool.render.tiles import Tile


@row("draw 512 maps of 28 × 28 as PNG", "matplotlib, one axis per channel", figure="gain", mark=12, pairs=7)
def drawing(_: ExitStack) -> Contest:
    maps = np.random.default_rng(0).standard_normal((512, 28, 28), np.float32)
    return Contest(lambda: sheet_png(maps), lambda: matplotlib_png(maps))


def sheet_png(maps: Map) -> bytes:
    """A contact sheet with a labelled tile for each of the maps (C, h, w)."""
    tiles = [Tile(values, float(np.abs(values).max()), f"#{channel}") for channel, values in enumerate(maps)]
    header = Header("maps", "", np.zeros((224, 224, 3), np.uint8), None, Predictions(), [])
    return png_bytes(raster(contact_sheet(Sheet(header, [Band("layer", [], tiles, True, ("−max", "0", "max"))], ""))))


def matplotlib_png(maps: Map) -> bytes:
    """The same with matplotlib, and without a word: labels would make it slower still."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as MatplotlibFigure

    figure = MatplotlibFigure(figsize=(16, 32), dpi=80)
    FigureCanvasAgg(figure)
    for axis, values in zip(figure.subplots(32, 16).flat, maps, strict=True):
        axis.imshow(values, cmap="RdBu_r")
        axis.axis("off")
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
