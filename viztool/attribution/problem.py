"""What is to be attributed: a score of a network on a batch, and the ways to ask for it and for its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import TargetError
from viztool.models.outputs import class_probabilities
from viztool.models.repeated import Repeated, at_once, in_parts
from viztool.targets.resolve import Resolved

_FEW = 4
"""Runs from which on a private copy with folded batch norms pays."""


@dataclass(eq=False)
class Problem:
    """A score of each of N images.

    net: in evaluation mode, its parameters frozen. x: (N, C, ..., H, W), in the network's precision; never to be
    written to. target: the score. score: (N,) its value, float32. baseline: like x. seed: of all that is
    random. details: figures that a method wants told, ready for JSON.
    """

    net: nn.Module
    x: Tensor
    target: Resolved
    score: Tensor
    baseline: Tensor
    seed: int
    details: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def generator(self) -> torch.Generator:
        """A fresh source of random numbers, on the CPU: the same ones on every device, whatever the chunks."""
        return torch.Generator().manual_seed(self.seed)

    def chunks(self, count: int) -> Iterator[slice]:
        """The runs 0 to count − 1, each of a whole batch, as many at a time as pay in one forward."""
        size = max(1, at_once(self.x.device) // len(self))
        return (slice(start, min(start + size, count)) for start in range(0, count, size))

    def scores(self, inputs: Tensor) -> Tensor:
        """The score of each input, without grad. inputs: (k, N, C, ..., H, W). Returns (k, N) float32."""
        return in_parts(lambda part: self._scores(part, self.target.scores), inputs)

    def confidences(self, inputs: Tensor) -> Tensor:
        """The probability of the target class; the score itself where it is one's own. As `scores`."""
        own = self.target.classes is None
        return in_parts(lambda part: self._scores(part, self.target.scores if own else self._probability), inputs)

    def gradients(self, inputs: Tensor) -> Tensor:
        """The gradient of each input's score at that input. inputs: (k, N, C, ..., H, W). Returns the same, float32."""
        return in_parts(self._gradients, inputs)

    def graph(self) -> tuple[Tensor, Tensor]:
        """One forward of the network itself, with grad: a leaf with the values of `x`, and the scores (N,) of it.

        Raises TargetError if the score does not depend on the input by a gradient.
        """
        with torch.enable_grad():
            leaf, scores = self._graph(self.net, self.x, 1)
            return leaf, scores[0]

    @cached_property
    def _repeated(self) -> Repeated:
        return Repeated(self.net, self.x)

    def _scores(self, inputs: Tensor, score: Callable[[Any, int], Tensor]) -> Tensor:
        with torch.no_grad():
            return score(self._repeated(inputs.to(self.x.dtype).flatten(0, 1)), len(inputs)).float()

    def _gradients(self, inputs: Tensor) -> Tensor:
        run = self._repeated if len(inputs) >= _FEW else self.net
        leaf, scores = self._graph(run, inputs.to(self.x.dtype).flatten(0, 1), len(inputs))
        return torch.autograd.grad(scores, leaf, torch.ones_like(scores))[0].float().reshape(inputs.shape)

    def _graph(self, run: Callable[[Tensor], Any], images: Tensor, times: int) -> tuple[Tensor, Tensor]:
        """images: (times · N, C, ..., H, W), of which the leaf is made. Returns it, and the scores (times, N)."""
        with torch.enable_grad():
            leaf = images.detach().clone().requires_grad_()
            # A copy of the leaf, as a network may begin with an operation in place.
            scores = self.target.scores(run(leaf.clone()), times)
        if not scores.requires_grad:
            raise TargetError("the score does not depend on the input by a gradient; use occlusion or rise")
        return leaf, scores

    def _probability(self, output: Any, times: int) -> Tensor:
        probabilities = class_probabilities(output)
        chosen = torch.tensor(self.target.classes, device=probabilities.device).repeat(times)
        return probabilities.gather(1, chosen[:, None]).view(times, len(self))
