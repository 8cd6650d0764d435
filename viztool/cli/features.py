"""`viztool features`: the contact sheet of a photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Job, each_photo, output_options, photo_options
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported
from viztool.cli.options import layers_option, model_options

if TYPE_CHECKING:
    from viztool.features import FeatureMaps
    from viztool.models.model import Model


@click.command()
@photo_options
@layers_option('A name, a glob ("layer3.*.conv2"), re:REGEX, type:CLASS, or stages.')
@click.option("--top", type=click.IntRange(min=1), default=16, show_default=True, help="Channels of each layer.")
@click.option("--all", "every", is_flag=True, help="All channels of each layer.")
@click.option("--overlay", is_flag=True, help="Draw each map over the photo.")
@click.option(
    "--normalize",
    type=click.Choice(["channel", "layer", "minmax"]),
    default="channel",
    show_default=True,
    help="One colour scale for each channel, or one for all of a layer; or from each channel's smallest value to its "
    "largest, for maps with a large offset.",
)
@model_options
@output_options
@reported
def features(
    paths: tuple[str, ...],
    layers: tuple[str, ...],
    top: int,
    every: bool,
    overlay: bool,
    normalize: Any,
    **options: Any,
) -> None:
    """Draw what each stage of a network makes of a photo: one sheet a photo, cat.jpg to cat_features.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input.
    """

    def begin(model: Model) -> Callable[[Job], FeatureMaps]:
        from viztool.features import FeatureLook

        look = FeatureLook(model, layers or None, None if every else top, normalize=normalize, overlay=overlay)
        return lambda job: look.at(job.read(), job.source)[0]

    each_photo("features", paths, options, begin, check=lambda model, jobs: check_layers(model, layers))
