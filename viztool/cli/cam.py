"""`viztool cam`: what a decision rests on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from viztool.cli.batch import Job, each_photo, output_options, photo_options
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported
from viztool.cli.heatmaps import Wanted, heatmap_options
from viztool.cli.options import layers_option, model_options

if TYPE_CHECKING:
    from viztool.heatmaps.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.results import Result

_ROOM, _DEFAULT = "viztool.cam", "gradcam"
_OF_A_BOX = "drise"


@click.command()
@photo_options
@heatmap_options(
    _ROOM,
    _DEFAULT,
    "all (but sscam and iscam, which take minutes: name them, too); of a detector's box also drise",
    (_OF_A_BOX,),
)
@layers_option("A layer, as in `viztool features`; several are fused.", "the last with maps")
@click.option(
    "--masks", type=click.IntRange(min=2), default=1000, show_default=True, help="Of drise: runs of the detector."
)
@model_options
@output_options
@reported
def cam(
    paths: tuple[str, ...],
    layers: tuple[str, ...],
    masks: int,
    **options: Any,
) -> None:
    """Draw where a layer holds what speaks for a class: cat.jpg to cat_cam.png, or cat_cam_layercam.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input. One method and one target give one
    heatmap; several are compared on one sheet. Of a detector --box asks what that box rests on, whether it was found or
    not, and --method drise alone what the best one does: from random masks, with the error of the map.
    """
    wanted, seed = Wanted.take(options), options["seed"]
    left_open = click.get_current_context().get_parameter_source("methods") is ParameterSource.DEFAULT

    def draw(model: Model, job: Job) -> Result:
        from viztool.cam import class_activation_map
        from viztool.detectors import detects, drise

        photo, kept = job.read(), layers

        of_a_box = left_open and wanted.box is not None and detects(model, photo)

        def explain(network: Model, method: str, target: Any) -> Heatmap:
            nonlocal kept
            if of_a_box or method == _OF_A_BOX:
                return drise(network, photo, wanted.box, target, masks=masks, seed=seed, source=job.source)
            heatmap = class_activation_map(network, photo, method, target, kept or None, seed=seed, source=job.source)
            if wanted.randomize:  # the maps of one strip are of one layer, whatever the randomised network would choose
                kept = heatmap.layer
            return heatmap

        return wanted.draw(model, photo, explain)

    def check(model: Model, jobs: Sequence[Job]) -> None:
        check_layers(model, layers)
        wanted.check_with(model, jobs)
        if _OF_A_BOX in wanted.methods:
            from viztool.detectors.boxes import check_detects

            check_detects(model)

    each_photo(
        "cam", paths, options, lambda model: partial(draw, model), kind=wanted.kind("cam", _DEFAULT, _ROOM), check=check
    )
