"""What weights alone say of a unit: a sheet for who has no photos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from viztool.circuits.patterns import pattern_rows
from viztool.circuits.weights import optima, weights_into
from viztool.errors import check_seed
from viztool.hooks.select import Pattern
from viztool.kernels.expanded import Array
from viztool.models.model import Model
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.numbers import number, percent
from viztool.render.wiring_sheet import Input, WiringPage, wiring_page
from viztool.results import Result, made_by, versions

_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class Wiring(Result):
    """The kernels of a unit from all channels of an earlier layer; see `wiring`.

    kernels: (C, kh, kw). left_out: what they leave out, in words. optima: by (layer, channel), if they were drawn.
    """

    network: str
    weights_of: str
    layer: str
    channel: int
    inputs_layer: str
    kernels: Array
    left_out: str
    seed: int
    optima: Mapping[tuple[str, int], Picture | None]

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Of the energy of all kernels, the squares of their values, how much each one has: (C,)."""
        energy = np.square(self.kernels, dtype=np.float64).sum((1, 2))
        return np.asarray(energy / max(float(energy.sum()), np.finfo(np.float64).tiny))

    @property
    def order(self) -> list[int]:
        """The channels of the earlier layer, those with the longest kernels first."""
        return [int(channel) for channel in np.argsort(-self.shares, kind="stable")]

    @property
    def used(self) -> list[int]:
        """Those of `order` whose kernels are not 0."""
        shares = self.shares
        return [channel for channel in self.order if shares[channel] > 0]

    def drawing(self) -> Canvas:
        """The unit, the strongest of its inputs, and what all kernels are like."""
        shown, only = self.used[:_SHOWN], len(self.used) == 1
        drawn = any(picture is not None for picture in self.optima.values())
        beside = "what excites it most, and the kernel" if drawn else "the kernel"
        return wiring_page(
            WiringPage(
                title=f"{self.layer}/{self.channel} by its weights",
                subtitle=f"{self.network} · {self.weights_of} · nothing was measured",
                notes=[
                    f"The kernels to this unit from the channels of {self.inputs_layer}. {self.left_out}",
                    "Weights tell what a unit could read; whether an input is ever there, and what comes of it, they "
                    "do not. Nothing here was measured: no photos were given.",
                    f"To measure: viztool circuit PHOTOS -l {self.layer} -c {self.channel}",
                ],
                unit=f"{self.layer}/{self.channel}",
                optimum=self.optima.get((self.layer, self.channel)),
                drawn=drawn,
                heading=f"{'Its only kernel' if only else 'Its longest kernels'}: {self.inputs_layer}",
                words=f"of each input {beside} (red drives the unit, blue holds it back, one scale for all); below, "
                f"{self._below(len(shown))}",
                inputs=[
                    Input(
                        f"{self.inputs_layer}/{channel}" if drawn else f"{channel}",
                        self.optima.get((self.inputs_layer, channel)),
                        self.kernels[channel],
                        ("" if only else f"{percent(self.shares[channel], 1)}, ")
                        + f"sum {_signed(self.kernels[channel])}",
                    )
                    for channel in shown
                ],
                limit=float(np.abs(self.kernels).max()),
                rows=[] if self.kernels.shape[1:] == (1, 1) else pattern_rows(self.kernels),
                footer=f"seed {self.seed} · {made_by()}",
            )
        )

    def _below(self, count: int) -> str:
        """What stands below the kernels, so many of them, and what they are of all."""
        if len(self.used) == len(self.kernels) == 1:
            return "the sum of its values."
        if len(self.used) < 2:
            return f"the sum of its values. All {'others ' if count else ''}are 0."
        kernels = f"{len(self.used)} kernels" + ("" if len(self.used) == len(self.kernels) else " that are not 0")
        held = percent(float(self.shares[self.order[:count]].sum()))
        return f"its share of the energy of all {kernels}, and the sum of its values. These {count} hold {held}."

    @property
    def in_words(self) -> str:
        strongest = ", ".join(f"{channel} ({percent(self.shares[channel], 1)})" for channel in self.used[:3])
        kernels = "its only kernel" if len(self.used) == 1 else "its longest kernels"
        return (
            f"{self.layer}/{self.channel} has {kernels} from {self.inputs_layer}: {strongest}; not measured"
            if strongest
            else f"{self.layer}/{self.channel} has only kernels that are 0 from {self.inputs_layer}; not measured"
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "network": self.network,
            "weights": self.weights_of,
            "layer": self.layer,
            "channel": self.channel,
            "measured": False,
            "left out": self.left_out,
            "seed": self.seed,
            "inputs": {
                "layer": self.inputs_layer,
                "kernels": [
                    {
                        "channel": channel,
                        "energy": float(self.shares[channel]),
                        "sum": float(self.kernels[channel].sum(dtype=np.float64)),
                    }
                    for channel in self.order
                ],
            },
            "versions": versions(),
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"kernels": self.kernels}


def wiring(
    model: Model,
    layer: Pattern,
    channel: int,
    inputs: Pattern | None = None,
    *,
    kernels: bool = False,
    seed: int = 0,
) -> Wiring:
    """The kernels between a unit and the channels of an earlier layer: what can be said of it without photos.

    inputs: the earlier layer; by default the one that the layer begins with. kernels: also draw what excites the unit
    and its strongest inputs most, by gradient ascent: seconds a channel. seed: of that.

    Of layers next to each other they are the kernels as they are; of a block the product of its linear parts, which
    leaves out what is not linear (`.left_out`). `viztool.circuit` measures instead.
    Raises LayerError for a layer or a channel that is not there, or to which no linear way leads.
    """
    check_seed(seed)
    found = weights_into(model, layer, inputs, [channel])
    made = Wiring(
        model.name, model.weights, found.layer, channel, found.source, found.kernels[0], found.left_out, seed, {}
    )
    if not kernels:
        return made
    wanted = {found.source: made.used[:_SHOWN], found.layer: [channel]}
    return Wiring(**{**vars(made), "optima": optima(model, wanted, seed)})


def _signed(kernel: Array) -> str:
    total = float(kernel.sum(dtype=np.float64))
    return f"{'+' if total > 0 else ''}{number(total, '.2g')}"
