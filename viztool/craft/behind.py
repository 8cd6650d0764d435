"""What the network says of a photo when some of its concepts are taken out of a layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.naming import unwrap
from viztool.hooks.replay import Replay
from viztool.models.model import Model
from viztool.targets.question import Question
from viztool.targets.resolve import Resolved, Target

_BYTES_AT_ONCE = 32 * 2**20
_MOST_AT_ONCE = 64


class Behind:
    """The rest of a network behind a layer, for one photo, with its concepts there in part.

    directions: (count, C) of the concepts; amounts: (count, h, w), how much of each there is where. What no concept
    explains stays as it is: with all of them there, the layer puts out what it put out.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        x: Tensor,
        target: Target | Resolved,
        layer: str,
        directions: Tensor,
        amounts: Tensor,
    ) -> None:
        self._question = Question(model, x, target)
        self._replay = Replay(unwrap(model), x, layer)
        self._question.saw(self._replay.output)
        own = self._replay.activations
        # Where in the layer's own memory each value of its maps stands, whatever the layout of that is.
        places = torch.arange(own.numel(), device=own.device).view(own.shape)
        maps = layouts_of(unwrap(model), x).maps(layer, places)
        concepts = torch.einsum("kc,khw->kchw", directions, amounts).flatten(1)
        self._concepts = torch.zeros(len(concepts), own.numel(), device=own.device)
        self._concepts[:, maps.flatten()] = concepts.to(own.device)

    @property
    def target(self) -> Resolved:
        """What is asked."""
        return self._question.target

    def __call__(self, there: Tensor) -> tuple[Tensor, Tensor]:
        """The score and the confidence, (k,) each, with each concept there to this share: (k, count) in [0, 1]."""
        own = self._replay.activations
        step = min(_MOST_AT_ONCE, max(1, _BYTES_AT_ONCE // (own.numel() * own.element_size())))
        scores, confidences = [], []
        for part in there.to(own.device).split(step):
            changed = own.flatten() - (1 - part) @ self._concepts
            with torch.no_grad():
                output = self._replay(changed.to(own.dtype).view(len(part), *own.shape[1:]))
                scores.append(self.target.scores(output, len(part)).float()[:, 0].cpu())
                confidences.append(self.target.confidences(output, len(part)).float()[:, 0].cpu())
        return torch.cat(scores), torch.cat(confidences)
