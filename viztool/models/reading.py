"""How a network's output is read: what its numbers are for each class, and whether they are probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from viztool.errors import ModelError, SettingError
from viztool.models.outputs import box_scores, class_name, output_part, positions, require_finite, top_boxes
from viztool.render.predictions import Predictions

Named: TypeAlias = Literal["softmax", "sigmoid", "binary", "scores", "none"]
Output: TypeAlias = Named | Callable[[Any], Any]
"""How an output is read, as one says it; a callable makes (N, K) of it."""

NO_CLASSES = 'the network\'s output is not read as classes (output="none")'


@dataclass(frozen=True)
class Reading:
    """How the outputs of one network are read, settled.

    kind: "softmax", classes that exclude each other; "sigmoid", labels that do not; "binary", one number that is
    positive for the second of two classes and negative for the first; "scores", numbers that are no
    probabilities; "boxes" of a detection network; "none". names: of the classes. take: what makes (N, K) of the
    output, if the user said it. already: the network ends in the softmax or the sigmoid itself.
    note: what one must know beside the numbers.
    """

    kind: Named | Literal["boxes"]
    names: tuple[str, ...] | None = None
    take: Callable[[Any], Any] | None = None
    already: bool = False
    note: str = ""

    @property
    def certain(self) -> bool:
        """Whether there are probabilities."""
        return self.kind not in ("scores", "none")

    @property
    def in_words(self) -> str:
        """Such as "softmax", or "sigmoid, which is the network's own"."""
        own = f", which is the network's own, of {'classes' if self.kind == 'softmax' else 'labels'}"
        return f"{self.kind}{own if self.already else ''}"

    def name(self, index: int) -> str:
        """Of a class; "class 17" where there are no names."""
        return class_name(self.names, index)

    def scores(self, output: Any) -> Tensor:
        """What speaks for each class: (N, K), in the autograd graph where the output is.

        The network's own numbers. Of maps and tokens: their mean over positions; under a softmax or a sigmoid the
        score whose probability is the mean of the positions' probabilities. Of a binary output: its negative,
        and itself (one minus itself, of a probability). ModelError if the output is not to be read.
        """
        if self.kind == "boxes":
            return box_scores(self.boxes(output))
        values = self._positions(output)
        if values.shape[2] == 1:
            scores = values[..., 0]
        elif self.kind in ("scores", "none"):
            scores = values.mean(2)
        else:
            scores = self._pooled(values.float())
        if self.kind != "binary":
            return scores
        return torch.cat([1 - scores if self.already else -scores, scores], 1)

    def probabilities(self, output: Any) -> Tensor:
        """The probability of each class: float32 (N, K). ModelError where none can be claimed."""
        if not self.certain:
            raise ModelError(f"the network's output gives {self.kind}, no probabilities; say how to read it (output=)")
        if self.kind == "boxes":
            return self.scores(output).float()
        values = self._positions(output).float()
        if not self.already:
            values = values.softmax(1) if self.kind == "softmax" else values.sigmoid()
        share = values.mean(2)
        return torch.cat([1 - share, share], 1) if self.kind == "binary" else share

    def confidences(self, output: Any) -> Tensor:
        """The probabilities, or the scores where there are none: float32 (N, K)."""
        return self.probabilities(output) if self.certain else self.scores(output).float()

    def predictions(self, output: Any, top: int = 5) -> list[Predictions]:
        """The `top` classes of each image, best first; of a detection network its best boxes, of `none` nothing.

        ModelError if the output is not finite.
        """
        if self.kind == "none":
            raise ModelError(NO_CLASSES)
        if self.kind == "boxes":
            return [
                Predictions(tuple(top_boxes(boxes, self.names, top)), note=self.note) for boxes in self.boxes(output)
            ]
        says = self.confidences(output).detach()
        require_finite(says)
        values, indices = says.topk(min(top, says.shape[1]), dim=1)
        unit: Literal["probability", "score"] = "probability" if self.certain else "score"
        return [
            Predictions(tuple(zip(map(self.name, row), line, strict=True)), unit, self.note)
            for row, line in zip(indices.tolist(), values.tolist(), strict=True)
        ]

    def boxes(self, output: Any) -> Any:
        """Of a detection network: a dict of labels and scores for each image."""
        return self._taken(output)

    def _taken(self, output: Any) -> Any:
        return output if self.take is None else self.take(output)

    def _positions(self, output: Any) -> Tensor:
        if self.kind == "none":
            raise ModelError(NO_CLASSES)
        return positions(output_part(self._taken(output))[0])

    def _pooled(self, values: Tensor) -> Tensor:
        """(N, K, L) to the scores of the whole picture."""
        count = values.shape[2]
        if self.already:
            share = values.mean(2)
            return share.clamp_min(torch.finfo(share.dtype).tiny).log() if self.kind == "softmax" else share
        if self.kind == "softmax":
            return values.log_softmax(1).logsumexp(2) - torch.tensor(float(count)).log().to(values)
        return F.logsigmoid(values).logsumexp(2) - F.logsigmoid(-values).logsumexp(2)


def check_output(output: Any) -> Output | None:
    """`output` itself, if it is a way to read an output, or None; else SettingError."""
    if output is None or callable(output) or output in get_args(Named):
        known: Output | None = output
        return known
    raise SettingError(
        f"output must be {', '.join(get_args(Named))}, or a callable from the network's output to (N, K), got "
        f"{output!r}"
    )


def said(output: Output | None) -> str:
    """How an output is read, in words that are the same in every process; of a callable its module and name."""
    if callable(output):
        return f"{getattr(output, '__module__', '')}.{getattr(output, '__qualname__', type(output).__qualname__)}"
    return output or "nothing said"
