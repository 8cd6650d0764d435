"""What a network says of one image and of its changed copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.models.outputs import class_probabilities, class_scores, is_detection
from viztool.models.repeated import Repeated, at_once, in_parts
from viztool.targets.resolve import Score

Reading: TypeAlias = Callable[[Any], Tensor]
"""From a network's output on B images to (B, 2): the probability of the target, and its score."""


@dataclass(frozen=True)
class Probe:
    """A network, in evaluation mode, and one image x, (1, C, ..., H, W), that it takes."""

    net: nn.Module
    x: Tensor
    read: Reading

    def __call__(self, count: int, copies: Callable[[Tensor], Tensor]) -> Tensor:
        """The probability and the score of `count` changed copies: (count, 2) float32 on the CPU.

        copies: from indices (B,) to these copies, (B, C, ..., H, W); only as many as memory holds are made at once.
        Raises ModelError if the network's output is not finite.
        """
        if count == 0:
            return torch.zeros(0, 2)
        chunks = torch.arange(count).split(at_once(self.x.device))
        says = torch.cat([in_parts(self._says, copies(indices)) for indices in chunks])
        if not bool(says.isfinite().all()):
            raise ModelError("the network's output is not finite on copies of the image with pixels taken out")
        return says

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.x.shape[-2], self.x.shape[-1]

    def masks(self, masks: Tensor) -> Tensor:
        """Masks (B, H, W) in a form that goes with the image: (B, 1, ..., H, W), where it is."""
        return masks.view(len(masks), *[1] * (self.x.dim() - 3), *self.size).to(self.x.device)

    def _says(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.read(self._repeated(images)).float().cpu()

    @cached_property
    def _repeated(self) -> Repeated:
        return Repeated(self.net, self.x)


def of_class(index: int) -> Reading:
    """Reads the class with this index; of a detection network its best box, 0 if there is none."""

    def read(output: Any) -> Tensor:
        if is_detection(output):
            best = [boxes["scores"] * (boxes["labels"] == index) for boxes in output]
            scores = torch.stack([each.amax() if len(each) else each.new_zeros(()) for each in best])
            return torch.stack([scores, scores], 1)
        return torch.stack([class_probabilities(output)[:, index], class_scores(output)[:, index].float()], 1)

    return read


def of_score(score: Score) -> Reading:
    """Reads a score of one's own, which stands for the probability, too."""

    def read(output: Any) -> Tensor:
        values = score(output)
        return torch.stack([values, values], 1)

    return read
