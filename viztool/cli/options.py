"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from viztool.errors import ViztoolError

if TYPE_CHECKING:
    from viztool.models.model import Model

F = TypeVar("F", bound=Callable[..., Any])


def numbers(kind: type[int] | type[float]) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """A callback for one number, or several with commas: "0.5" or "0.485,0.456,0.406"."""

    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            parsed = tuple(kind(part) for part in value.split(","))
        except ValueError:
            raise click.BadParameter(f"{value!r} is not a number, nor several with commas between them") from None
        return parsed if len(parsed) > 1 else parsed[0]

    return parse


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from viztool.models.catalog import list_models

    return [entry.name for entry in list_models() if entry.name.startswith(incomplete)]


def complete_layer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    from viztool.hooks.naming import named_layers
    from viztool.models import load_model

    try:
        # Random weights: the names are the same, and nothing is downloaded while one types.
        model = load_model(ctx.params.get("model"), weights=None)
    except ViztoolError:
        return []
    names = ["stages", *named_layers(model.net)]
    return [name for name in names if name and name.startswith(incomplete)]


def layers_option(what: str, default: str = "stages, the last layer at each resolution") -> Callable[[F], F]:
    """`-l`, as often as one likes. what: which layers it takes, in a sentence."""
    return click.option(
        "-l",
        "--layer",
        "layers",
        multiple=True,
        metavar="PATTERN",
        shell_complete=complete_layer,
        help=f"{what} Repeatable. [default: {default}]",
    )


def model_options(command: F) -> F:
    """Which network, and how it takes a photo; see `load`."""
    options = [
        click.option(
            "-m",
            "--model",
            metavar="NAME",
            shell_complete=complete_model,
            help="A torchvision name, timm/NAME, file.py:factory or module:factory; see `viztool models`. "
            "[default: tf_efficientnet_lite0, whose weights come with viztool]",
        ),
        click.option(
            "--weights",
            metavar="FILE",
            help="A checkpoint (.pth, .safetensors), the name of torchvision weights, or none for random ones.",
        ),
        click.option("--classes", metavar="FILE", help="Class names, one a line."),
        click.option(
            "--size", callback=numbers(int), metavar="N|H,W", help="Side of what the network is given, in pixels."
        ),
        click.option(
            "--mean", callback=numbers(float), metavar="X[,Y,Z]", help="What is subtracted from each channel."
        ),
        click.option("--std", callback=numbers(float), metavar="X[,Y,Z]", help="What each channel is then divided by."),
        click.option("--channel-order", type=click.Choice(["rgb", "bgr"]), help="Of the input. [default: rgb]"),
        click.option(
            "--value-range",
            type=click.Choice(["1", "255"]),
            help="What white is to the network, before --mean and --std, which are on that scale. [default: 1]",
        ),
        click.option(
            "--resize",
            type=click.Choice(["cover", "squash", "inside"]),
            help="How a photo fills the input: its shorter side, both, or all of it inside. [default: cover]",
        ),
        click.option(
            "--output-is",
            metavar="HOW",
            help="How the output is read: softmax, sigmoid (a probability for each label), binary (one number, two "
            "names), scores, none, or file.py:function that makes (N, K) of it. [default: what is known]",
        ),
        click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or mps."),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 3),
            default=0,
            show_default=True,
            metavar="N",
            help="Of all that is random.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def load(options: dict[str, Any]) -> Model:
    """The network that the values of `model_options` name; they are taken out of `options`."""
    import torch

    from viztool.models import load_model
    from viztool.models.factory import function

    torch.manual_seed(options.pop("seed"))
    name, weights = options.pop("model"), options.pop("weights")
    output, white = options.pop("output_is"), options.pop("value_range")
    kept = ("classes", "size", "mean", "std", "channel_order", "resize", "device")
    settings = {key: options.pop(key) for key in kept}
    settings = {key: value for key, value in settings.items() if value is not None}
    if weights is not None:
        settings["weights"] = None if weights.lower() == "none" else weights
    if white is not None:
        settings["value_range"] = int(white)
    if output is not None:
        settings["output"] = function(output) if ":" in output else output
    return load_model(name, **settings)
