"""The whole network's gradients: of the input, and of the biases of all layers."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.cam.biases import bias_terms
from viztool.cam.evidence import Evidence
from viztool.cam.registry import method
from viztool.errors import TargetError
from viztool.heatmaps.balance import balance
from viztool.hooks.layout_memory import following
from viztool.hooks.layouts import Layouts
from viztool.tensors.graph import mend_norms
from viztool.tensors.size import Size


@method("fullgrad", "FullGrad", "Srinivas and Fleuret 2019, arXiv:1905.00780", gives="map", unit="", whole=True)
def full_grad(evidence: Evidence) -> Tensor:
    """S = ψ(∇f ∘ x) + Σ_l Σ_c ψ(∇_b f ∘ b)_lc over layers l and their channels c; ψ(t) = Up(rescale(|t|)).

    b are the biases, explicit and implicit; see `viztool.cam.biases`. rescale takes the smallest and the largest
    term of a layer to 0 and 1, as the authors' code does: if it did so channel by channel, b would cancel.

    The terms without ψ add up to the score: how nearly they do is in `details["completeness"]`. They do not
    where a network multiplies what it has computed (attention, squeeze and excitation).
    """
    question = evidence.question
    x = question.x
    with following(question.net, x) as layouts:
        terms = _Terms(question.size, layouts, x.new_zeros(len(x), dtype=torch.float32))
        with bias_terms(question.net, terms.add):
            leaf, output = question.graph()
    with torch.enable_grad():
        scores = question.target.scores(output)[0]
        if not scores.requires_grad:
            raise TargetError("the score does not depend on the input by a gradient; take method='scorecam'")
        mend_norms(scores)
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
    terms.add("", gradient * x)
    question.details["completeness"] = balance(terms.total, question.score, "f(x)")
    return terms.map()


@dataclass(eq=False)
class _Terms:
    """Adds up the terms of N images, and their maps by size: each size is brought to that of the input but once."""

    size: Size
    layouts: Layouts
    total: Tensor
    _maps: dict[Size, Tensor] = field(default_factory=dict)

    def add(self, layer: str, terms: Tensor) -> None:
        """The terms ∇_b f ∘ b of one layer, in the form of what it puts out; of the input if its name is empty.

        They are written over: new memory for their absolute values would cost more than the values.
        """
        terms = terms.detach().float()
        self.total = self.total + terms.reshape(len(self.total), -1).sum(1)
        maps = self.layouts.find(layer, terms) if layer else terms
        if maps is None:
            return
        maps = maps.abs_()
        low, high = maps.amin((1, 2, 3)), maps.amax((1, 2, 3))
        scale = torch.where(high > low, 1 / (high - low), 0)
        rescaled = (maps.sum(1) - maps.shape[1] * low[:, None, None]) * scale[:, None, None]
        size = (maps.shape[2], maps.shape[3])
        self._maps[size] = self._maps[size] + rescaled if size in self._maps else rescaled

    def map(self) -> Tensor:
        """(N, H, W)."""
        whole = self._maps.pop(self.size)  # of the input's own terms
        for maps in self._maps.values():
            whole += F.interpolate(maps[:, None], self.size, mode="bilinear")[:, 0]
        return whole
