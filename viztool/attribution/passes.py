"""One forward under a method's own rules, and where in the network's output the way back begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from viztool.attribution.rules import Rules
from viztool.targets.question import Question, require_gradient
from viztool.tensors.graph import gradients
from viztool.tensors.tree import map_tensors

_LINEAR = 1e-3
"""Of a score: half precision rounds by as much."""


@dataclass(frozen=True)
class Pass:
    """leaf: of the values of the input. ends: the tensors that the network put out, by their place in its output.

    starts: the gradient of the score at each of them. No rule is for it: what a target does with an output is not
    part of the network.
    """

    leaf: Tensor
    ends: dict[int, Tensor]
    starts: dict[int, Tensor]

    def multipliers(self) -> Tensor:
        """What comes back to the input from the starts."""
        return gradients(list(self.ends.values()), [self.leaf], list(self.starts.values()))[0]

    def begins_with(self, origin: Sequence[Tensor] | None = None) -> Tensor:
        """Σ (end − origin) · start of each image, (N,): what is there to be shared out. origin: by default zeros.

        origin: all tensors of another output. Of a score that is linear in the output it is what that changes by.
        """
        parts = [
            ((end if origin is None else end - origin[place]) * self.starts[place]).detach().float()
            for place, end in self.ends.items()
        ]
        return torch.stack([part.reshape(len(self.leaf), -1).sum(1) for part in parts]).sum(0)


def under(rules: Rules, question: Question) -> Pass:
    """Run the network with these rules in place of derivatives; the score is derived from its output as it is.

    Raises TargetError if the score does not depend on the input by a gradient.
    """
    with rules:
        leaf, output = question.graph()
    ends: list[Tensor] = []
    cuts: list[Tensor] = []

    def cut(end: Tensor) -> Tensor:
        ends.append(end)
        cuts.append(end.detach().requires_grad_(end.requires_grad))
        return cuts[-1]

    with torch.enable_grad():
        scores = question.target.scores(map_tensors(cut, output))[0]
    require_gradient(scores)
    places = [place for place, one in enumerate(cuts) if one.requires_grad]
    found = torch.autograd.grad(scores, [cuts[place] for place in places], torch.ones_like(scores), allow_unused=True)
    starts = {place: start for place, start in zip(places, found, strict=True) if start is not None}
    return Pass(leaf, {place: ends[place] for place in starts}, starts)


def whole(score: Tensor, begun: Tensor, of: str) -> tuple[Tensor, str]:
    """What an attribution should add up to, and its name: the score, (N,), where the starts make it up.

    A score that is not linear in the output, as the share of the picture that a class has, they do not.
    """
    if torch.allclose(begun, score, rtol=_LINEAR, atol=_LINEAR * float(score.abs().amax())):
        return score, of
    return begun, f"{of} to first order in the output"
