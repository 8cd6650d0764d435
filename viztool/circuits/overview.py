"""A layer's weights as a few factors: which units read the same inputs in the same arrangement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from viztool.circuits.weights import optima, weights_into
from viztool.craft.factors import Parts, factorize
from viztool.errors import SettingError, check_seed
from viztool.hooks.select import Pattern
from viztool.kernels.expanded import Array
from viztool.models.model import Model
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.numbers import counted, number, percent
from viztool.render.overview_sheet import FactorRow, OverviewPage, Piece, overview_page
from viztool.results import Part, Result, made_by, versions

_SEEDS = 3
_INPUTS, _OUTPUTS = 3, 4
_NOTHING = 0.005
_WHOLE = 0.999
"""Of the energy: as many factors explain all that inputs drawn by lot leave, so that they are no measure."""
_REVERSE = -0.8
"""A cosine: of factors that read the same inputs in the same arrangement, with the other sign."""


@dataclass(frozen=True, eq=False, repr=False)
class Factor(Part):
    """kernels: (C, kh, kw), from each input. amounts: (n,), how much of it each unit has.

    energy: of the weights' energy, the share that it has by itself. stability: the mean cosine of its kernels to those
    of the factor that it is matched with under other seeds.
    """

    kernels: Array
    amounts: Array
    energy: float
    stability: float

    @property
    def inputs(self) -> list[int]:
        """The input channels with the longest kernels, longest first."""
        lengths = np.square(self.kernels, dtype=np.float64).sum((1, 2))
        return _largest(lengths, _INPUTS)

    @property
    def outputs(self) -> list[int]:
        """The units that have most of it."""
        return _largest(self.amounts, _OUTPUTS)

    def share(self, channel: int) -> float:
        """Of an input, in the energy of the factor's kernels."""
        energy = np.square(self.kernels, dtype=np.float64).sum((1, 2))
        return float(energy[channel] / energy.sum())


@dataclass(frozen=True, repr=False)
class Explained(Part):
    """energy: the share of the weights' energy that the factors explain together.

    shuffled: what as many factors explain when each unit reads the same kernels from inputs drawn by lot: that much
    needs no inputs that units have in common. None where the lot is nothing to compare with: it changes no kernel, as
    of one input, or there are so many factors that they explain whatever there is.

    Both are of the factors' own amounts, which fit the positive and the negative weights apart. Amounts that fit the
    weights with their signs, where factors may cancel, can explain a few percent more.
    """

    energy: float
    shuffled: float | None


@dataclass(frozen=True, eq=False, repr=False)
class Overview(Result):
    """A layer's weights as a few factors, those with most energy first; see `overview`.

    left_out: what the kernels leave out, in words. optima: by (layer, channel), if they were drawn.
    """

    network: str
    weights_of: str
    layer: str
    inputs_layer: str
    units: int
    factors: Sequence[Factor]
    explained: Explained
    left_out: str
    seed: int
    optima: Mapping[tuple[str, int], Picture | None]

    def __len__(self) -> int:
        return len(self.factors)

    def __getitem__(self, index: int) -> Factor:
        return self.factors[index]

    def drawing(self) -> Canvas:
        """A row for each factor."""
        inputs = len(self.factors[0].kernels)
        return overview_page(
            OverviewPage(
                title=f"{self.layer} by its weights",
                subtitle=f"{self.network} · {self.weights_of} · {counted(self.units, 'units')}, "
                f"{counted(inputs, 'inputs')}, {counted(len(self), 'factors')} · nothing was measured",
                notes=[
                    f"A factor: kernels from the inputs (red drives, blue holds back) that several units have in "
                    f"common. {self.left_out}",
                    f"Whether to believe it: {'it explains' if len(self) == 1 else 'together they explain'} "
                    f"{percent(self.explained.energy)} of the weights' energy; {self._compared}",
                    f"One unit, measured: viztool circuit PHOTOS -l {self.layer} -c {self.factors[0].outputs[0]}",
                ],
                drawn=any(picture is not None for picture in self.optima.values()),
                inputs=f"Reads: {self.inputs_layer}",
                outputs=f"Units: {self.layer}",
                rows=[self._row(at, factor) for at, factor in enumerate(self.factors, 1)],
                footer=f"non-negative factors of positive and negative weights · seed {self.seed} · {made_by()}",
            )
        )

    @property
    def _compared(self) -> str:
        if self.explained.shuffled is None:
            return (
                "there is nothing to compare that with: with so many inputs and factors, inputs drawn by lot would be "
                "explained just as well."
            )
        return (
            f"with each unit's inputs drawn by lot, {percent(self.explained.shuffled)}. The nearer the two, the less "
            "do units have in common."
        )

    def _row(self, at: int, factor: Factor) -> FactorRow:
        most = float(factor.amounts.max())
        return FactorRow(
            f"Factor {at}",
            [
                f"{percent(factor.energy)} of the energy",
                f"stability {number(factor.stability, '.2f')}",
                f"about {_sharing(factor.amounts)} of {counted(self.units, 'units')}",
                *[f"factor {other} in reverse" for other in self._reversed(at)],
            ],
            [
                Piece(
                    f"{self.inputs_layer}/{channel}",
                    self.optima.get((self.inputs_layer, channel)),
                    percent(factor.share(channel)),
                    factor.kernels[channel],
                )
                for channel in factor.inputs
            ],
            [
                Piece(
                    f"{self.layer}/{channel}",
                    self.optima.get((self.layer, channel)),
                    number(float(factor.amounts[channel]) / most, ".2f"),
                )
                for channel in factor.outputs
            ],
            float(np.abs(factor.kernels).max()),
        )

    def _reversed(self, at: int) -> list[int]:
        """Of the factors before this one, counted from 1, that whose kernels are its own with the other sign."""
        own = self.factors[at - 1].kernels
        found = [number for number, one in enumerate(self.factors[: at - 1], 1) if _cosine(own, one.kernels) < _REVERSE]
        return found[:1]

    @property
    def in_words(self) -> str:
        chance = self.explained.shuffled
        lot = "nothing to compare it with" if chance is None else f"{percent(chance)} with inputs drawn by lot"
        return (
            f"{self.layer} in {counted(len(self), 'factors')}: {percent(self.explained.energy)} of the weights' "
            f"energy, {lot}; not measured"
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "network": self.network,
            "weights": self.weights_of,
            "layer": self.layer,
            "inputs": self.inputs_layer,
            "units": self.units,
            "measured": False,
            "left out": self.left_out,
            "explained": self.explained.energy,
            "explained, shuffled": self.explained.shuffled,
            "seed": self.seed,
            "factors": [
                {
                    "energy": factor.energy,
                    "stability": factor.stability,
                    "inputs": [{"channel": one, "share": factor.share(one)} for one in factor.inputs],
                    "outputs": [{"channel": one, "amount": float(factor.amounts[one])} for one in factor.outputs],
                }
                for factor in self.factors
            ],
            "versions": versions(),
        }

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The kernels of the factors, (count, C, kh, kw), and how much of each the units have, (count, n)."""
        return {
            "kernels": np.stack([factor.kernels for factor in self.factors]),
            "amounts": np.stack([factor.amounts for factor in self.factors]),
        }


def overview(
    model: Model,
    layer: Pattern,
    count: int = 6,
    inputs: Pattern | None = None,
    *,
    kernels: bool = False,
    seed: int = 0,
) -> Overview:
    """A layer's weights as a few factors: Voss et al. 2021, "Visualizing Weights".

    inputs: the earlier layer; by default the one that the layer begins with. kernels: also draw what excites the
    channels that are shown most, by gradient ascent: seconds a channel. seed: of all that is random; `stability` is
    over this seed and the next two.

    The kernels between the two layers are as in `wiring`, (n, C, kh, kw). Their positive and their negative parts, none
    of them below 0, are taken as Σ_k amount_k(unit) · kernels_k(sign, input, row, column): units that share a factor
    read the same inputs in the same arrangement. Nothing is measured.
    Raises ViztoolError without scikit-learn (the extra `viztool[concepts]`), SettingError for a count that cannot be,
    LayerError for a layer that is not there or to which no linear way leads.
    """
    check_seed(seed)
    _check_whole(count)
    found = weights_into(model, layer, inputs, None)
    factors, explained = factors_of(found.kernels, count, seed)
    made = Overview(
        model.name,
        model.weights,
        found.layer,
        found.source,
        len(found.kernels),
        factors,
        explained,
        found.left_out,
        seed,
        {},
    )
    if not kernels:
        return made
    wanted = {
        found.source: _once(channel for factor in factors for channel in factor.inputs),
        found.layer: _once(channel for factor in factors for channel in factor.outputs),
    }
    return replace(made, optima=optima(model, wanted, seed))


def _once(channels: Iterable[int]) -> list[int]:
    return list(dict.fromkeys(channels))


def factors_of(kernels: Array, count: int, seed: int = 0) -> tuple[list[Factor], Explained]:
    """The factors of kernels (n, C, kh, kw), those with most energy first, and how much they explain."""
    most = min(len(kernels), kernels[0].size)
    if not 1 <= count <= most:
        raise SettingError(
            f"{counted(count, 'factors')} cannot be: of {counted(len(kernels), 'units')} there can be 1 to {most}"
        )
    if not np.abs(kernels).max() > 0:
        raise SettingError("all weights are 0; there is nothing to be taken apart")
    flat = _flat(kernels)
    parts, stable = factorize(flat, count, range(seed, seed + _SEEDS))
    amounts = parts.coefficients(flat)
    whole = float(flat.double().square().sum())
    own = amounts.double().square().sum(0) * parts.directions.double().square().sum(1) / whole
    order = torch.argsort(own, descending=True, stable=True).tolist()
    factors = [
        Factor(
            parts.directions[at].reshape(kernels.shape[1:]).numpy(),
            amounts[:, at].numpy(),
            float(own[at]),
            float(stable[at]),
        )
        for at in order
    ]
    return factors, Explained(_explained(flat, parts), None if count == most else _by_lot(kernels, count, seed))


def _by_lot(kernels: Array, count: int, seed: int) -> float | None:
    """What as many factors explain of shuffled kernels; None where that says nothing of the kernels as they are."""
    shuffled = _shuffled(kernels, seed)
    if np.array_equal(shuffled, kernels):
        return None
    flat = _flat(shuffled)
    explained = _explained(flat, factorize(flat, count, range(seed, seed + _SEEDS))[0])
    return None if explained > _WHOLE else explained


def _check_whole(count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise SettingError(f"count is {count!r}; give a whole number of factors, from 1")


def _flat(kernels: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(kernels.reshape(len(kernels), -1)))


def _explained(flat: Tensor, parts: Parts) -> float:
    """The share of the energy of weights (n, P) that their sums of parts have."""
    missed = (flat - parts.coefficients(flat) @ parts.directions).double().square().sum()
    return 1 - float(missed / flat.double().square().sum())


def _shuffled(kernels: Array, seed: int) -> Array:
    """Each unit keeps its kernels, and has them from other inputs."""
    rng = np.random.default_rng(seed)
    return np.stack([own[rng.permutation(len(own))] for own in kernels])


def _largest(values: npt.NDArray[Any], count: int) -> list[int]:
    """Where the largest values are, largest first; none that is next to nothing beside the first."""
    least = _NOTHING * float(values.max())
    return [int(at) for at in np.argsort(-values, kind="stable")[:count] if values[at] > least]


def _cosine(one: Array, other: Array) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / max(lengths, 1e-30)


def _sharing(amounts: Array) -> int:
    """How many units a factor is in: the participation ratio, as many as would have it in equal parts."""
    energy = np.square(amounts, dtype=np.float64)
    return max(1, round(float(energy.sum() ** 2 / np.square(energy).sum())))
