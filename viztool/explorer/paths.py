"""From what a layer put out back to what adds up to it: the operations that are linear, and what stands before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from viztool.explorer.record import Recorder, Ref, Step, replayed

ACTIVATIONS = {
    *("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "leaky_relu", "leaky_relu_", "elu", "elu_", "celu", "selu"),
    *("gelu", "silu", "mish", "hardswish", "hardsigmoid", "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "prelu"),
    *("clamp", "clamp_", "softsign"),
}
_IN_ORDER = {
    *("view", "reshape", "flatten", "unflatten", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "roll"),
    *("contiguous", "clone", "detach", "to", "float", "__getitem__", "dropout", "dropout2d", "swapaxes", "flip"),
}
"""What puts numbers in another order, or leaves them as they are."""
_SCALES = {
    *("mul", "mul_", "multiply", "__mul__", "__rmul__", "__imul__", "div", "div_", "true_divide", "__truediv__"),
    *("__itruediv__", "neg", "__neg__"),
}
_ADDS = {
    *("add", "add_", "__add__", "__radd__", "__iadd__", "sub", "sub_", "__sub__", "__rsub__", "rsub", "__isub__"),
}
PRODUCTS = {"conv2d", "conv_transpose2d", "linear"}
_MOST = 16
"""Operands of one sum; what has more is taken as one."""


@dataclass(frozen=True)
class Path:
    """What adds up to a layer's output, before its activation function.

    end: the step that made the output. start: the step before activation functions. leaves: the steps that add up to
    `start`, each after what is linear and elementwise. activation: in words, "" for none.
    """

    end: int
    start: int
    leaves: tuple[int, ...]
    activation: str


def path_to(recorder: Recorder, end: int) -> Path:
    """The path back from the output of step `end`."""
    steps = recorder.steps
    start, names = end, []
    while True:
        step = steps[start]
        if step.name in ACTIVATIONS and _alone(step, steps):
            names.append(step.name.strip("_"))
        elif not (step.name in _IN_ORDER and len(step.sources) == 1):
            break
        start = step.sources[0]
    if not names:
        start = end
    leaves = _leaves(recorder, start)
    if not 1 <= len(leaves) <= _MOST:
        leaves = [start]
    return Path(end, start, tuple(dict.fromkeys(leaves)), " of ".join(names))


def added(recorder: Recorder, path: Path, values: Mapping[int, Tensor]) -> Tensor:
    """What there would be in the place of the output, without activation functions, for these values of the leaves."""
    return _followed(recorder.steps, path.end, values, scaled=True)


def placed(recorder: Recorder, path: Path, leaf: int, value: Tensor) -> Tensor:
    """The value of a leaf, only put in the order of the output: nothing is scaled, and nothing added."""
    return _followed(recorder.steps, path.end, {leaf: value}, scaled=False)


def has_norm(recorder: Recorder, path: Path, leaf: int) -> bool:
    """Whether a norm stands between this leaf and what adds up."""

    def found(place: int, norm: bool) -> bool:
        step = recorder.steps[place]
        if place == leaf or place in path.leaves:
            return place == leaf and norm
        return any(found(source, norm or step.name == "batch_norm") for source in step.sources)

    return found(path.start, False)


def _leaves(recorder: Recorder, start: int) -> list[int]:
    steps = recorder.steps
    found: list[int] = []
    # The call that adds: what it was given from outside is an operand as it is, however it was made.
    todo: list[tuple[int, int | None]] = [(start, None)]
    while todo and len(found) <= _MOST:
        place, within = todo.pop()
        step = steps[place]
        if within is not None and not recorder.inside(step.call, within):
            found.append(place)
        elif _keeps_order(step) or _linear(step, steps):
            todo.append((step.sources[0], within))
        elif _sum(step, steps) and within in (None, step.call):
            todo += [(source, step.call) for source in reversed(step.sources)]
        else:
            found.append(place)
    return found


def _followed(steps: Sequence[Step], place: int, values: Mapping[int, Tensor], *, scaled: bool) -> Tensor:
    if place in values:
        return values[place]
    step = steps[place]
    if step.name in ACTIVATIONS:
        return _followed(steps, step.sources[0], values, scaled=scaled)
    if _sum(step, steps):
        if scaled:
            parts = {source: _followed(steps, source, values, scaled=True) for source in step.sources}
            return replayed(step, parts)
        for source in step.sources:
            try:
                return _followed(steps, source, values, scaled=False)
            except LookupError:
                continue
        raise LookupError(place)
    if not (_keeps_order(step) or _linear(step, steps)):
        raise LookupError(place)
    source = step.sources[0]
    value = _followed(steps, source, values, scaled=scaled)
    return replayed(step, {source: value}) if scaled or _keeps_order(step) else value


def _keeps_order(step: Step) -> bool:
    return step.name in _IN_ORDER and len(step.sources) == 1


def _linear(step: Step, steps: Sequence[Step]) -> bool:
    if step.name == "batch_norm":
        return _alone(step, steps) and not (step.args[5] if len(step.args) > 5 else step.kwargs.get("training", False))
    if step.name in ("div", "__truediv__", "true_divide", "div_", "__itruediv__") and not isinstance(step.args[0], Ref):
        return False
    return step.name in _SCALES | _ADDS and _alone(step, steps)


def _sum(step: Step, steps: Sequence[Step]) -> bool:
    sources = step.sources
    return step.name in _ADDS and len(sources) == 2 and all(steps[source].shape == step.shape for source in sources)


def _alone(step: Step, steps: Sequence[Step]) -> bool:
    """Whether it works on one tensor, element by element, with constants."""
    sources = step.sources
    return len(sources) == 1 and steps[sources[0]].shape == step.shape


def zeros(steps: Sequence[Step], leaves: Sequence[int], like: Tensor) -> dict[int, Tensor]:
    """Zero for each leaf, of the type and in the place of `like`."""
    return {leaf: like.new_zeros(steps[leaf].shape) for leaf in leaves}
