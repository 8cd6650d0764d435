"""The relevance that arrives at every unit of some layers, from one forward and one way back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from viztool.attribution.methods.lrp import relevance_at
from viztool.attribution.through import Crossing, Ways
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.naming import unwrap
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.targets.question import Question
from viztool.targets.resolve import Target


def arriving(model: Model | nn.Module, x: Tensor, layers: Sequence[str], target: Target = None) -> dict[str, Tensor]:
    """The relevance of each unit for the target, by LRP-z⁺: by layer, (N, C, h, w), in the scores' own unit.

    x: (N, C, H, W), as the network takes it. target: as in `attribute`; by default the class that each image's output
    says. A layer through which none comes by itself has zeros. Raises ModelError for an operation without a rule.
    """
    net = unwrap(model)
    with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net), watch({}):
        layouts = layouts_of(net, x)
        question = Question(model, x, target)
        crossings = [Crossing(Ways(layer, (), 1, False)) for layer in layers]
        found = relevance_at(question, crossings)
        return {one.layer: layouts.maps(one.layer, found[one.layer]).float() for one in crossings}
