"""What was compared, and what of it was wrong."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from viztool.errors import ViztoolError

TINY = 1e-12


@dataclass
class Judge:
    """Counts comparisons by kind. wrong: kind → (seed, what). refused: kind → what was said, how often."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[tuple[int, str]]] = field(default_factory=dict)
    refused: dict[str, Counter[str]] = field(default_factory=dict)
    seed: int = 0

    def true(self, kind: str, fact: bool, otherwise: str) -> None:
        """One comparison."""
        self.counts[kind] += 1
        if not fact:
            self.wrong.setdefault(kind, []).append((self.seed, otherwise))

    def close(
        self, kind: str, got: Tensor, wanted: Tensor, tolerance: float, scale: float = 0.0, what: str = ""
    ) -> None:
        """Equal but for `tolerance` times the largest value, or times `scale`, the size of what was added up."""
        if got.shape != wanted.shape:
            return self.true(kind, False, f"{what}: {tuple(got.shape)} for {tuple(wanted.shape)}")
        got, wanted = got.detach().double(), wanted.detach().double()
        largest = max(float(wanted.abs().amax()) if wanted.numel() else 0.0, scale, TINY)
        error = float((got - wanted).abs().amax()) if wanted.numel() else 0.0
        fine = error <= max(tolerance * largest, TINY) if tolerance else torch.equal(got, wanted)
        return self.true(kind, fine, f"{what}: off by {error:.3g} where the largest is {largest:.3g}")

    @contextmanager
    def trying(self, kind: str, what: str, refusable: bool = True) -> Iterator[None]:
        """A ViztoolError is a refusal, where one may be; any other exception is wrong."""
        try:
            yield
        except ViztoolError as error:
            line = str(error).splitlines()[0]
            if refusable:
                self.refused.setdefault(kind, Counter())[line[:100]] += 1
            else:
                self.true(kind, False, f"{what}: refused: {line}")
        except Exception as error:  # what a user would see
            frames = traceback.extract_tb(error.__traceback__)
            own = [frame for frame in frames if "/viztool/" in frame.filename or "/fuzzing/" in frame.filename]
            place = (own or frames)[-1]
            where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
            said = next(iter(str(error).splitlines()), "")
            self.true(kind, False, f"{what}: {type(error).__name__} at {where}: {said[:140]}")
