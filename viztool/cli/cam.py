"""`viztool cam`: what a decision rests on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Job, each_photo, output_options
from viztool.cli.errors import reported
from viztool.cli.heatmaps import Wanted, heatmap_options
from viztool.cli.options import complete_layer, model_options

if TYPE_CHECKING:
    from viztool.heatmaps.heatmap import Heatmap
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
@model_options
@output_options
@reported
def cam(
    paths: tuple[str, ...],
    layers: tuple[str, ...],
    **options: Any,
) -> None:
    """Draw where a layer holds what speaks for a class: cat.jpg to cat_cam.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input. One method and one target give one
    heatmap; several are compared on one sheet.
    """
    wanted, seed = Wanted.take(options), options["seed"]

    def draw(model: Model, job: Job) -> Result:
        from viztool.cam import class_activation_map

        photo = job.read()

        def explain(network: Model, method: str, target: Any) -> Heatmap:
            return class_activation_map(network, photo, method, target, layers or None, seed=seed, source=job.source)

        return wanted.draw(model, photo, explain)

    each_photo("cam", paths, options, lambda model: partial(draw, model))
