"""`viztool cam`: what a decision rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Job, each_photo, output_options
from viztool.cli.errors import reported
from viztool.cli.heatmaps import heatmap_options, picture_of
from viztool.cli.options import complete_layer, model_options

if TYPE_CHECKING:
    from viztool.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.results import Result


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@heatmap_options("viztool.cam", "gradcam", "all (but sscam and iscam, which take minutes: name them, too)")
@click.option(
    "-l",
    "--layer",
    "layers",
    multiple=True,
    metavar="PATTERN",
    shell_complete=complete_layer,
    help="A layer, as in `viztool features`. Repeatable: several are fused. [default: the last with maps]",
)
@click.option("--raw", is_flag=True, help="In a comparison, draw the layer's own cells, not the map over the photo.")
@model_options
@output_options
@reported
def cam(
    paths: tuple[str, ...],
    methods: tuple[str, ...],
    targets: tuple[str, ...],
    check: bool,
    layers: tuple[str, ...],
    raw: bool,
    **options: Any,
) -> None:
    """Draw where a layer holds what speaks for a class: cat.jpg to cat_cam.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input. One method and one target give one
    heatmap; several are compared on one sheet.
    """
    seed = options["seed"]

    def draw(model: Model, job: Job) -> Result:
        from viztool.cam import class_activation_map

        photo = job.read()

        def explain(method: str, target: str | None) -> Heatmap:
            return class_activation_map(model, photo, method, target, layers or None, seed=seed, source=job.source)

        return picture_of(model, photo, explain, methods, targets, raw=raw, check=check)

    each_photo("cam", paths, options, draw)
