"""The same network once more: out of place, and with operations as an oracle wants them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from fuzzing.blocks import Act, Block
from fuzzing.rules import Plain

NORMS = (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d, nn.LayerNorm)


def twin(net: nn.Module, rule: Plain | None = None) -> nn.Module:
    """A copy that overwrites nothing, and that computes by the rule; its layers have the same names."""
    made = copy.deepcopy(net)
    for module in list(made.modules()):
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010  to mypy what a module has is a layer or a tensor
        if rule is None:
            continue
        if isinstance(module, Block):
            module.rule = rule
        if isinstance(module, Act) and module.way.startswith("module"):
            module.layer = _Acts(rule, module.kind)
        for name, child in list(module.named_children()):
            if isinstance(child, NORMS):
                setattr(module, name, _Norms(rule, child))
            elif isinstance(child, nn.MaxPool2d):
                setattr(module, name, _Pools(rule, child))
    return made


class _Acts(nn.Module):
    def __init__(self, rule: Plain, kind: str) -> None:
        super().__init__()
        self.rule, self.kind = rule, kind

    def forward(self, x: Tensor) -> Tensor:
        return self.rule.act(self.kind, x)


class _Norms(nn.Module):
    def __init__(self, rule: Plain, layer: nn.Module) -> None:
        super().__init__()
        self.rule = rule
        self.held = [layer.eval()]  # in a list: a layer in it would be a new name, and is told of no mode

    def forward(self, x: Tensor) -> Tensor:
        return self.rule.norm(self.held[0], x)


class _Pools(nn.Module):
    def __init__(self, rule: Plain, layer: nn.MaxPool2d) -> None:
        super().__init__()
        self.rule, self.pool = rule, [layer]

    def forward(self, x: Tensor) -> Tensor:
        pool = self.pool[0]
        kernel, stride, padding = int(str(pool.kernel_size)), int(str(pool.stride)), int(str(pool.padding))
        return self.rule.max_pool(x, kernel, stride, padding, int(str(pool.dilation)), pool.ceil_mode)


def flat(output: Any) -> list[Tensor]:
    """All tensors of an output, in order."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        return [tensor for item in output.values() for tensor in flat(item)]
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in flat(item)]
    return []


def changed(output: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same form with other tensors."""
    if isinstance(output, Tensor):
        return change(output)
    if isinstance(output, dict):
        return {key: changed(item, change) for key, item in output.items()}
    if isinstance(output, tuple):
        return tuple(changed(item, change) for item in output)
    return output


def run(net: nn.Module, x: Tensor, visit: Callable[[str, int, Any], Any] | None = None) -> Any:
    """The output for x. visit(layer, call, output) is told of each, and what it returns takes the output's place."""
    counts: dict[str, int] = {}
    handles = []
    if visit is not None:

        def note(name: str, output: Any) -> Any:
            counts[name] = counts.get(name, -1) + 1
            return visit(name, counts[name], output)

        for name, layer in net.named_modules(remove_duplicate=True):
            if ".parametrizations" in name:  # it makes a weight, and is no layer
                continue
            handles.append(layer.register_forward_hook(lambda _, __, output, name=name: note(name, output)))
    try:
        return net(x)
    finally:
        for handle in handles:
            handle.remove()


class Trace:
    """Every call of every layer of a twin, with gradients to be asked for."""

    def __init__(self, net: nn.Module, x: Tensor) -> None:
        self.calls: dict[str, list[Any]] = {}
        self.order: list[str] = []
        with torch.enable_grad():
            self.x = x.detach().clone().requires_grad_()
            self.output = run(net, self.x.clone(), self._note)

    def _note(self, name: str, _call: int, output: Any) -> Any:
        # A clone of each, as Identity's output would have the gradients of all its input's uses.
        own = changed(output, Tensor.clone)
        self.calls.setdefault(name, []).append(own)
        if name not in self.order:
            self.order.append(name)
        return changed(own, Tensor.clone)

    def gradients(self, score: Tensor, tensors: list[Tensor]) -> list[Tensor | None]:
        kept = [tensor for tensor in tensors if tensor.requires_grad]
        found = iter(torch.autograd.grad(score, kept, retain_graph=True, allow_unused=True) if kept else ())
        return [next(found) if tensor.requires_grad else None for tensor in tensors]
