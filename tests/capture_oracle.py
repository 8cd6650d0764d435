"""What capture is compared with: plain forward hooks, written a second time and as simply as can be."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


def flat(output: Any) -> list[Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [tensor for item in output.values() for tensor in flat(item)]
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in flat(item)]
    if isinstance(getattr(output, "tensors", None), Tensor):  # torchvision's ImageList
        return [output.tensors]
    return []


@contextmanager
def hooks_on(net: nn.Module, hook: Callable[[str, Any], Any], names: list[str] | None = None) -> Iterator[None]:
    """Call `hook(name, output)` after each leaf, or each named layer; what it returns replaces the output."""
    layers = dict(net.named_modules())
    chosen = names or [name for name, layer in layers.items() if not list(layer.children())]
    handles = [
        layers[name].register_forward_hook(lambda _, args, output, name=name: hook(name, output)) for name in chosen
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def cloned_outputs(net: nn.Module, run: Callable[[], Any], names: list[str] | None = None) -> dict[str, list[Any]]:
    """Each call's output of each leaf, or named layer, as clones of its tensors that were made at once."""
    found: dict[str, list[Any]] = {}

    def note(name: str, output: Any) -> None:
        found.setdefault(name, []).append([tensor.detach().clone() for tensor in flat(output)])

    with hooks_on(net, note, names):
        run()
    return found


class Fate(NamedTuple):
    """What became of an output that was kept by reference, by the end of the forward."""

    written: bool
    """Something worked on it in place, perhaps without changing a value."""
    wrong: bool
    """It is not what the layer put out."""


def fates_by_reference(net: nn.Module, run: Callable[[], Any], names: list[str]) -> dict[str, list[Fate]]:
    """The fate of each call's output of each named layer that runs."""
    kept: dict[str, list[tuple[list[Tensor], list[int], list[Tensor]]]] = {}

    def note(name: str, output: Any) -> None:
        tensors = flat(output)
        versions, clones = [tensor._version for tensor in tensors], [tensor.clone() for tensor in tensors]
        kept.setdefault(name, []).append((tensors, versions, clones))

    with hooks_on(net, note, names):
        run()
    return {
        name: [
            Fate([tensor._version for tensor in tensors] != versions, not same(tensors, clones))
            for tensors, versions, clones in calls
        ]
        for name, calls in kept.items()
    }


def retained_gradients(net: nn.Module, run: Callable[[nn.Module], Tensor]) -> dict[str, list[Tensor | None]]:
    """Autograd's own gradient at every leaf's first tensor, call by call, in a copy that never works in place."""
    plain = copy.deepcopy(net)
    for layer in plain.modules():
        if hasattr(layer, "inplace"):
            layer.inplace = False
    outputs: dict[str, list[Tensor]] = {}

    def note(name: str, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return None
        # A clone, or Identity's output would get the gradients of its input's other uses too; and the network goes
        # on with another, as autograd's retained gradient is that of the tensor after a functional ReLU in place.
        own = output.clone()
        if own.requires_grad:
            own.retain_grad()
        outputs.setdefault(name, []).append(own)
        return own.clone()

    with hooks_on(plain, note):
        run(plain).backward()
    return {
        name: [output.grad if output.requires_grad else None for output in calls] for name, calls in outputs.items()
    }


def same(one: Any, other: Any) -> bool:
    """Whether two outputs hold the same tensors, bit for bit."""
    mine, theirs = flat(one), flat(other)
    return len(mine) == len(theirs) and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.detach().nan_to_num(), b.detach().nan_to_num())
        for a, b in zip(mine, theirs, strict=True)
    )


def state_of(net: nn.Module) -> list[Any]:
    """All that a look must leave as it was: values, modes, gradients, hooks, attributes."""
    return [
        (
            name,
            layer.training,
            {key: value.detach().clone() for key, value in layer._parameters.items() if value is not None},
            {key: value.detach().clone() for key, value in layer._buffers.items() if value is not None},
            {
                key: (id(value), value.requires_grad, None if value.grad is None else value.grad.clone())
                for key, value in layer._parameters.items()
                if value is not None
            },
            {key: dict(value) for key, value in layer.__dict__.items() if key.endswith("_hooks") and value is not None},
            sorted(layer.__dict__),
            layer.__dict__.get("forward"),
        )
        for name, layer in net.named_modules(remove_duplicate=False)
    ]


def equal_states(one: Any, other: Any) -> bool:
    """Whether two states (see `state_of`) are the same; their tensors bit for bit."""
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal_states(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal_states(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)
