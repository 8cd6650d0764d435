"""Activations as sums of a few non-negative parts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from viztool.errors import SettingError, ViztoolError
from viztool.render.numbers import counted

_ROUNDS, _ENOUGH = 300, 1e-6
_ITERATIONS = 400
_NEGATIVE = 1e-6
"""Of the largest value: what is below 0 by less is rounding."""


class ExtraMissingError(ViztoolError):
    """A package is needed that is not installed."""


@dataclass(frozen=True, eq=False)
class Parts:
    """What activations are made of. rows: (count, P), non-negative, each of length 1.

    signed: the activations have both signs, so that a row is a part's positive channels and then its negative ones.
    """

    rows: Tensor
    signed: bool

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def directions(self) -> Tensor:
        """(count, C): one of each part, in the channels of the layer."""
        if not self.signed:
            return self.rows
        positive, negative = self.rows.chunk(2, 1)
        return positive - negative

    def coefficients(self, activations: Tensor) -> Tensor:
        """How much of each part there is in activations (n, C): (n, count), the non-negative least squares."""
        return coefficients(unsigned(activations, self.signed), self.rows)


def unsigned(activations: Tensor, signed: bool) -> Tensor:
    """Activations (n, C) without a sign: positive and negative channels beside one another, if they have both."""
    both = [activations, -activations] if signed else [activations]
    return torch.cat(both, 1).clamp_min(0)


def has_signs(activations: Tensor) -> bool:
    return bool(activations.amin() < -_NEGATIVE * activations.abs().amax())


def factorize(activations: Tensor, count: int, seeds: Sequence[int]) -> tuple[Parts, Tensor]:
    """The parts that activations (n, C) are made of, and how stable each is: (count,).

    One factorization a seed (`sklearn.decomposition.NMF`); the one that comes nearest to the activations is taken. A
    part is as stable as its cosine to the part of each other factorization that it is matched with, in the mean.
    Raises SettingError for more parts than there can be, ExtraMissingError without scikit-learn.
    """
    signed = has_signs(activations)
    values = unsigned(activations, signed)
    most = min(len(values), activations.shape[1])
    if not 1 <= count <= most:
        crops, channels = counted(len(values), "crops"), counted(activations.shape[1], "channels")
        raise SettingError(f"count is {count}; of {crops} and {channels} give 1 to {most}")
    runs = [_nmf(values.numpy(), count, seed) for seed in seeds]
    best = min(range(len(runs)), key=lambda at: runs[at][1])
    rows = runs[best][0]
    others = [matched(rows, run[0])[1] for at, run in enumerate(runs) if at != best]
    stable = torch.stack(others).mean(0) if others else torch.ones(count)
    return Parts(rows, signed), stable


def matched(rows: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """For each row the other one that it is matched with, one to one, and their cosine: (count,) each."""
    from scipy.optimize import linear_sum_assignment

    cosines = torch.nn.functional.normalize(rows, dim=1) @ torch.nn.functional.normalize(others, dim=1).T
    own, partner = linear_sum_assignment(-cosines.numpy())
    return torch.as_tensor(partner), cosines[own, partner]


def coefficients(values: Tensor, rows: Tensor) -> Tensor:
    """The non-negative U, (n, count), for which U · rows comes nearest to values (n, P).

    Coordinate by coordinate, until nothing moves (Cichocki and Phan 2009).
    """
    gram, wanted = rows @ rows.T, values @ rows.T
    found = torch.zeros_like(wanted)
    size = gram.diagonal().clamp_min(torch.finfo(rows.dtype).tiny)
    for _ in range(_ROUNDS):
        before = found.clone()
        for part in range(len(rows)):
            step = (wanted[:, part] - found @ gram[:, part]) / size[part]
            found[:, part] = (found[:, part] + step).clamp_min(0)
        if float((found - before).abs().amax()) <= _ENOUGH * float(found.amax()):
            break
    return found


def _nmf(values: np.ndarray[tuple[int, ...], np.dtype[np.float32]], count: int, seed: int) -> tuple[Tensor, float]:
    """Rows of length 1, and how far from the values they stay."""
    try:
        from sklearn.decomposition import NMF
        from sklearn.exceptions import ConvergenceWarning
    except ImportError as error:
        raise ExtraMissingError("this needs scikit-learn: pip install 'viztool[concepts]'") from error
    model = NMF(count, init="random", random_state=seed, max_iter=_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the stability over seeds says how far it came
        model.fit(values)
    rows = torch.as_tensor(np.asarray(model.components_, np.float32))
    return torch.nn.functional.normalize(rows, dim=1), float(model.reconstruction_err_)
