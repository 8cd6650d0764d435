"""What the weights alone say of units: the kernels that they have from an earlier layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from viztool.circuits.icons import Icon, with_optima
from viztool.errors import no_channel
from viztool.hooks.naming import unwrap
from viztool.hooks.select import Pattern
from viztool.inspect.nearest import nearest
from viztool.inspect.survey import survey_of
from viztool.kernels.expanded import Array, linear_parts
from viztool.kernels.units import one_layer
from viztool.models.model import Model
from viztool.render.colormaps import Picture

_STEPS = 128
"""Of an ascent: enough for a picture as small as an icon."""


@dataclass(frozen=True, eq=False)
class Weights:
    """kernels: (n, C, kh, kw), from each channel of `source` to some of `layer`; with what they leave out, in words."""

    source: str
    layer: str
    kernels: Array
    left_out: str


def weights_into(model: Model, layer: Pattern, inputs: Pattern | None, channels: Sequence[int] | None) -> Weights:
    """To these channels of a layer, by default to all, from an earlier one, by default the one that it begins with.

    Raises LayerError for a layer or a channel that is not there, to which no linear way leads, or only one that is not
    linear even without its activations.
    """
    net = unwrap(model.net)
    name = one_layer(model, layer)
    known, x = survey_of(model)
    target = known.site(name)
    for channel in channels or ():
        if not 0 <= channel < target.channels:
            raise no_channel(name, target.channels, channel)
    source = nearest(net, x, known, name) if inputs is None else known.site(one_layer(model, inputs))
    known.after(source, target)
    found = linear_parts(net, x, source, target, range(target.channels) if channels is None else channels)
    return Weights(source.name, name, found.values, _in_words(found.left_out))


def _in_words(left_out: Sequence[str]) -> str:
    if not left_out:
        return "The kernels as they are: all is linear between the two layers."
    return (
        "Of the block between the two layers the product of its linear parts: what is not linear on the way is left "
        f"out ({', '.join(left_out)})."
    )


def optima(model: Model, wanted: Mapping[str, Sequence[int]], seed: int) -> dict[tuple[str, int], Picture | None]:
    """What excites each of these channels most, by (layer, channel); None where no picture can be drawn."""
    empty = {(layer, channel): Icon(None, 0.0, "") for layer, channels in wanted.items() for channel in channels}
    return {key: icon.optimum for key, icon in with_optima(empty, model, _STEPS, seed).items()}
