"""The `viztool` command: parse, call, print. torch is imported inside a command, never here."""

from __future__ import annotations

import click

import viztool
from viztool.cli.about import about
from viztool.cli.atlas import atlas
from viztool.cli.attribute import attribute
from viztool.cli.cam import cam
from viztool.cli.circuit import circuit
from viztool.cli.concepts import concepts
from viztool.cli.demo import demo
from viztool.cli.dream import dream
from viztool.cli.errors import keep_arguments
from viztool.cli.evaluate import evaluate
from viztool.cli.explore import explore
from viztool.cli.features import features
from viztool.cli.gallery import gallery
from viztool.cli.kernels import kernels
from viztool.cli.layers import layers
from viztool.cli.models import models
from viztool.cli.monitor import monitor

__all__ = ["main"]


class _Told(click.Group):
    """A group that keeps what was typed, for the marks of files."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        keep_arguments(ctx, args)
        return super().parse_args(ctx, args)


@click.group(cls=_Told, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(viztool.__version__, prog_name="viztool")
def main() -> None:
    """See what a convolutional network sees: on your network, on your photo.

    \b
    viztool features photo.jpg                 what each stage of a trained network makes of it
    viztool features photo.jpg -m resnet50     the same for another network
    viztool explore photo.jpg --open           one page to walk through it: every unit, and the sum that made it
    viztool cam photo.jpg --target "tiger cat"  where the evidence for a class is
    viztool attribute photo.jpg                which pixels speak for it, and which against
    viztool demo checkerboard                  a textbook claim, drawn and tested
    viztool kernels -l blocks.4                what its channels look for
    viztool circuit photos/ -l blocks.4 -c 15  what a unit is made of, and what it does
    viztool concepts photos/ --target tabby    what a class is made of
    viztool atlas build photos/ -o my.atlas    what every unit does over a whole data set
    viztool monitor run.jsonl                  what goes wrong in a training, from its log
    viztool layers -m resnet50                 the layers, their shapes and receptive fields
    viztool about photo_features.png           how a picture was made, as it says itself
    """  # noqa: D301 (click's own mark for lines that stay as they are)


for _command in (
    features,
    explore,
    cam,
    attribute,
    evaluate,
    demo,
    kernels,
    dream,
    atlas,
    circuit,
    concepts,
    monitor,
    layers,
    models,
    gallery,
    about,
):
    main.add_command(_command)
