"""`viztool dream`: a photo with more of what a layer sees in it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from viztool.cli.batch import Job, each_photo, output_options, photo_options
from viztool.cli.checks import check_layers
from viztool.cli.errors import reported
from viztool.cli.options import complete_layer, model_options

if TYPE_CHECKING:
    from viztool.models.model import Model
    from viztool.results import Result


@click.command()
@photo_options
@click.option("-l", "--layer", required=True, metavar="NAME", shell_complete=complete_layer, help="Whose dream it is.")
@click.option("-c", "--channel", type=click.IntRange(min=0), metavar="N", help="One channel, not all that it sees.")
@click.option("--octaves", type=click.IntRange(min=1), default=4, show_default=True, help="From coarse to fine.")
@click.option("--steps", type=click.IntRange(min=1), help="In each octave, or of each cell. [default: 12, or 96]")
@click.option("--strength", type=float, default=0.008, show_default=True, help="How far a step moves the mean pixel.")
@click.option("--longest", type=click.IntRange(min=32), default=640, show_default=True, help="Side of the dream.")
@click.option(
    "--grid", is_flag=True, help="Draw each position by what its own activations look for, in place of a dream."
)
@model_options
@output_options
@reported
def dream(
    paths: tuple[str, ...],
    layer: str,
    channel: int | None,
    octaves: int,
    steps: int | None,
    strength: float,
    longest: int,
    grid: bool,
    **options: Any,
) -> None:
    """Change a photo so that a layer sees more of what it sees in it (DeepDream): cat.jpg to cat_dream.png.

    PATH is a picture, a folder of pictures, a glob, or - for standard input.
    """
    seed = options["seed"]
    if grid and channel is not None:
        raise click.UsageError("--grid draws all channels together; leave -c out")

    def draw(model: Model, job: Job) -> Result:
        if grid:
            from viztool.kernels.grid import activation_grid

            return activation_grid(model, job.read(), layer, steps=steps or 96, seed=seed, source=job.source)
        from viztool.kernels.dream import dream as dream_of

        return dream_of(
            model,
            job.read(),
            layer,
            channel,
            octaves=octaves,
            steps=steps or 12,
            strength=strength,
            longest=longest,
            seed=seed,
            source=job.source,
        )

    kind = "grid" if grid else "dream"
    each_photo(
        kind, paths, options, lambda model: partial(draw, model), check=lambda model, jobs: check_layers(model, [layer])
    )
