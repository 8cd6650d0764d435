"""From what is said of a network, and what it puts out, to how its output is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks.evaluating import evaluating
from viztool.models.outputs import is_detection, output_part, positions
from viztool.models.reading import NO_CLASSES, Named, Output, Reading
from viztool.render.predictions import Predictions
from viztool.tensors.tree import tensors_in

RANDOM = "random weights"

_IMAGENET = 1000
_ZOOS = ("torchvision.models.", "timm.models.")

# What autograd calls the steps that only carry on the values of the one before.
_CARRIES = re.compile(
    r"(UnsafeView|View|Reshape|ReshapeAlias|Squeeze|Unsqueeze|Select|Slice|Permute|Transpose|T|Clone|ToCopy|Alias|"
    r"Expand|Cat|Stack|Index|IndexSelect|Gather|Flip|Mean|Upsample\w+)Backward\d+"
)
# Those that end between 0 and 1, and what cannot be seen; behind any other, values are there by chance.
_BOUNDED = re.compile(r"((Sigmoid|Hardsigmoid|Softmax|Clamp\w*|Hardtanh)Backward\d+)?")


@dataclass(frozen=True)
class Reader:
    """How a network's output is to be read, as far as that is known before one has seen it.

    said: by the user, or by where the network comes from; None if nobody did. names: of the classes, or None.
    weights: in words. zoo: whether it is a network of torchvision's or timm's. ending: called to ask the network
    by which operation it ends; it answers "" if that cannot be seen.
    """

    said: Output | None = None
    names: Sequence[str] | None = None
    weights: str = ""
    zoo: bool = False
    ending: Callable[[Callable[[Any], Any] | None], str] = lambda take: ""

    def settle(self, output: Any) -> Reading:
        """How this output is read, and every other one of the same network.

        What is said holds. What is not said is known of one number for two names, which is binary; of numbers
        that are probabilities, which are not negative and sum to 1; of the 1000 classes that torchvision's and timm's
        networks are made with; and of as many numbers as there are class names: softmax, or each its own
        probability if the network ends in a sigmoid. All else, such as an embedding, a regression or a picture,
        gives scores.

        Raises ModelError if the class names are not as many as the outputs, or what is said does not fit.
        """
        names = None if self.names is None else tuple(self.names)
        if self.said == "none":
            return Reading("none", names, note=f"No prediction: {NO_CLASSES}.")
        take = self.said if callable(self.said) else None
        taken = output if take is None else take(output)
        if is_detection(taken):
            return Reading("boxes", names, take)
        tensor, part = output_part(taken)
        values = positions(tensor).detach()
        count = values.shape[1]
        kind: Named | None = self.said if isinstance(self.said, str) else None
        _require_fit(kind, count, names, part)
        if kind is None and count == 1 and names is not None and len(names) == 2:
            kind = "binary"
        already = False
        if kind in (None, "softmax") and _sum_to_one(values):
            kind, already = "softmax", True
        elif kind in ("sigmoid", "binary"):
            already = _between(values) and bool(_BOUNDED.fullmatch(self.ending(take)))
        elif kind is None and names is not None and count == len(names) > 1:
            kind, already = self._guessed(values, take)
        elif kind is None and self.zoo and tensor.ndim == 2 and count == _IMAGENET:
            kind = "softmax"
        found = Reading(kind or "scores", names, take, already)
        several = sum(1 for _ in tensors_in(taken)) > 1
        return replace(found, note=_note(found, self.said, values.shape[2] > 1, part if several else ""))

    def says(self, output: Any, batch: int, top: int = 5) -> tuple[Predictions, ...]:
        """What stands on the sheets of `batch` images: the top classes of each, or why there are none."""
        if self.weights == RANDOM:
            return (Predictions(note="No prediction: the weights are random, and what it says means nothing."),) * batch
        try:
            return tuple(self.settle(output).predictions(output, top))
        except ModelError as error:
            return (Predictions(note=f"No prediction: {error}."),) * batch

    def _guessed(self, values: Tensor, take: Callable[[Any], Any] | None) -> tuple[Named, bool]:
        """Of as many numbers as class names, nothing said."""
        if not _between(values):
            return "softmax", False
        ending = self.ending(take)
        if not _BOUNDED.fullmatch(ending):
            return "softmax", False
        return ("sigmoid", True) if "igmoid" in ending else ("scores", False)


def is_zoo(net: nn.Module) -> bool:
    """Whether it is a network of torchvision's or timm's."""
    return type(net).__module__.startswith(_ZOOS)


def ending_of(net: nn.Module, x: Tensor) -> Callable[[Callable[[Any], Any] | None], str]:
    """For `Reader.ending`: the operation by which `net` ends on the first image of `x`, as autograd calls it.

    It takes one more forward, when it is asked for.
    """

    def ending(take: Callable[[Any], Any] | None) -> str:
        with torch.inference_mode(False), torch.enable_grad(), evaluating(net):
            image = x[:1].detach().clone()
            try:
                output = net((image.requires_grad_() if image.is_floating_point() else image).clone())
                step = output_part(output if take is None else take(output))[0].grad_fn
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ModelError):
                return ""
            while step is not None and _CARRIES.fullmatch(step.name()):
                step = next((before for before, _ in step.next_functions if before is not None), None)
        return "" if step is None else step.name()

    return ending


def _require_fit(kind: Named | None, count: int, names: tuple[str, ...] | None, part: str) -> None:
    outputs = f"{count} output{'' if count == 1 else 's'}"
    where = f" in {part}" if part != "output" else ""
    if kind == "binary" and count != 1:
        raise ModelError(f"output is binary, and the network has {outputs}{where}: binary is of one; use softmax")
    if kind == "softmax" and count == 1:
        raise ModelError("output is softmax, and the network has 1 output: use binary, for one of two classes")
    if names is None:
        return
    if len(names) != (2 if kind == "binary" or (kind is None and count == 1 and len(names) == 2) else count):
        plural = "class name was" if len(names) == 1 else "class names were"
        raise ModelError(f"{len(names)} {plural} given, and the network has {outputs}{where}")


def _note(reading: Reading, said: Output | None, dense: bool, part: str) -> str:
    """What one must know of the numbers beside their names; nothing of a plain softmax."""
    lines = []
    if reading.kind == "sigmoid":
        lines.append("Each label's own probability: they need not sum to 1.")
    elif reading.kind == "binary":
        threshold = "above 0.5" if reading.already else "positive"
        lines.append(f"Of one output, which speaks for {reading.name(1)} where it is {threshold}.")
    elif reading.kind == "scores":
        lines.append("Scores, no probabilities" + ("." if said else ": nothing says how the output is to be read."))
    if dense:
        mean = (
            "Mean over all positions." if reading.kind == "scores" else "Shares of the picture: means over positions."
        )
        lines.append(mean)
    if part:
        lines.append(f"Read from {part}.")
    return " ".join(lines)


def _between(values: Tensor) -> bool:
    """Whether all could be probabilities."""
    low, high = values.aminmax()
    return bool(low >= 0) and bool(high <= 1)


def _sum_to_one(values: Tensor) -> bool:
    """Whether a softmax is behind these, (N, K, L): not negative, sum 1 within the rounding of their precision."""
    if values.shape[1] == 1:
        return False
    tolerance = max(1e-4, 4 * torch.finfo(values.dtype).eps)
    return bool((values >= 0).all()) and bool(((values.float().sum(1) - 1).abs() <= tolerance).all())
