"""The twelve kinds of fault: what is done to a training, and which layer is to be named for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from faults.nets import Slot

Change = Callable[[Tensor], Tensor]


@dataclass(eq=False)
class Training:
    """What a fault can change. expected: the layers that it may be named for. begins: the step that it is there from.

    inputs: what is done to a batch. losses: by what the loss is multiplied. after: done after each step. undo: takes
    the fault away.
    """

    net: nn.Module
    slot: Slot
    slots: list[Slot]
    optimizer: Optimizer
    begins: int
    expected: set[str] = field(default_factory=set)
    inputs: Change = lambda x: x
    scale: float = 1.0
    after: Callable[[], None] = lambda: None
    undo: Callable[[], None] = lambda: None

    def layer(self, name: str) -> nn.Module:
        return self.net.get_submodule(name)

    @property
    def first(self) -> str:
        names: list[str] = [name for name, module in self.net.named_modules() if isinstance(module, nn.Conv2d)]
        return str(names[0])

    def replace(self, name: str, module: nn.Module) -> None:
        parent, _, last = name.rpartition(".")
        self.net.get_submodule(parent).add_module(last, module)

    def behind(self, bug: nn.Module) -> tuple[str, str]:
        """Put something behind the slot's activation; the names of both."""
        name = self.slot.activation
        known = self.layer(name)
        self.replace(name, nn.Sequential(known, bug))
        self.undo = lambda: self.replace(name, known)
        return f"{name}.0", f"{name}.1"

    def own_rate(self, factor: float) -> None:
        """The slot's weights learn at this many times the others' rate."""
        own = list(self.layer(self.slot.weights).parameters())
        ids = set(map(id, own))
        group = self.optimizer.param_groups[0]
        group["params"] = [each for each in group["params"] if id(each) not in ids]
        self.optimizer.add_param_group({"params": own, "lr": group["lr"] * factor})


class Through(nn.Module):
    """Changes what passes, or its gradient."""

    def __init__(self, forward: Change = lambda x: x, backward: Change | None = None) -> None:
        super().__init__()
        self.change, self.back = forward, backward

    def forward(self, x: Tensor) -> Tensor:
        y = self.change(x)
        if self.back is not None and y.requires_grad:
            y = y * 1
            y.register_hook(self.back)
            y = y * 1
        return y


class Normalised(nn.Module):
    """A BatchNorm over channels or the last axis, put where there is none."""

    def __init__(self, width: int, last: bool, momentum: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, momentum=momentum)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(0, 1) if self.last else x.flatten(2)
        made: Tensor = self.norm(flat)
        return made.view_as(x)


def dead(t: Training, variant: int) -> None:
    """Biases that nothing comes up against: of two thirds of the units, or of all."""
    t.expected = {t.slot.activation}
    bias = t.layer(t.slot.shift).bias
    assert isinstance(bias, Tensor)
    count = len(bias) if variant == 1 else 2 * len(bias) // 3
    with torch.no_grad():
        bias[:count] = -300.0


def saturate(t: Training, variant: int) -> None:
    """A bounded activation behind weights that are far too large; attention whose scores are."""
    attention = t.slot.activation.replace(".act", ".attention")
    with torch.no_grad():
        if variant == 0 and isinstance(dict(t.net.named_modules()).get(attention), nn.MultiheadAttention):
            layer = t.layer(attention)
            layer.in_proj_weight[:64] *= 40  # type: ignore[index, operator]
            t.expected = {attention}
            return
        t.replace(t.slot.activation, (nn.Sigmoid(), nn.Tanh(), nn.Hardtanh())[variant % 3])
        t.expected = {t.slot.activation}
        t.layer(t.slot.shift).weight.mul_(300)  # type: ignore[operator]


def vanish(t: Training, variant: int) -> None:
    """Sigmoids all over, or a factor that scales the gradient."""
    if variant == 0 and t.slot.activation.startswith("act") and t.slot.weights == t.slot.shift:
        t.begins = 0
        for module in t.net.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        for at in range(6):
            t.replace(f"act{at}", nn.Sigmoid())
        t.expected = {t.first}
        return
    inner, _ = t.behind(Through(backward=lambda g: g * 1e-7))
    t.expected = {inner}


def explode(t: Training, variant: int) -> None:
    """A factor that scales the gradient, or the loss."""
    if variant == 0:
        t.scale, t.expected = 1e4, {"head"}
        return
    inner, _ = t.behind(Through(backward=lambda g: g * 1e6))
    t.expected = {inner}


def not_finite(t: Training, variant: int) -> None:
    """A weight that is NaN, a division by 0, the derivative of a root at 0."""
    if variant == 0:
        t.expected = {t.slot.weights}
        with torch.no_grad():
            t.layer(t.slot.weights).weight.view(-1)[3] = torch.nan  # type: ignore[operator]
    elif variant == 1:
        _, outer = t.behind(Through(lambda x: x / (x != x.amax()).float()))
        t.expected = {outer}
    else:
        inner, outer = t.behind(Through(lambda x: x + (x * 0).sqrt() * 0))
        t.expected = {inner, outer, t.slot.shift}


def never(t: Training, variant: int) -> None:
    """A layer that the optimizer was not given, that no gradient reaches, or whose rate is 0."""
    t.expected = {t.slot.weights}
    if variant == 0:
        ids = set(map(id, t.layer(t.slot.weights).parameters()))
        group = t.optimizer.param_groups[0]
        group["params"] = [each for each in group["params"] if id(each) not in ids]
    elif variant == 1:
        t.behind(Through(Tensor.detach))
        t.expected = {t.slot.shift}
    else:
        t.own_rate(0.0)


def too_large(t: Training, variant: int) -> None:
    """One layer learns at 500 times the rate."""
    t.own_rate((500, 300, 1000)[variant % 3])
    t.expected = {t.slot.weights}


def too_small(t: Training, variant: int) -> None:
    """One layer learns at a hundred thousandth of the rate."""
    t.begins = 0
    t.own_rate((1e-5, 1e-6, 1e-5)[variant % 3])
    t.expected = {t.slot.weights}


def collapse(t: Training, variant: int) -> None:
    """A mean over the units, or filters that are tied to one."""
    if variant == 1:
        weight, bias = t.layer(t.slot.weights).weight, t.layer(t.slot.weights).bias
        assert isinstance(weight, Tensor)

        def tie() -> None:
            with torch.no_grad():
                weight.copy_(weight[:1].expand_as(weight).clone())
                if isinstance(bias, Tensor):
                    bias.copy_(bias[:1].expand_as(bias).clone())

        tie()
        t.after, t.expected = tie, {t.slot.weights}
        return
    axis = 2 if "block" in t.slot.activation and "fc" in t.slot.weights else 1
    _, outer = t.behind(Through(lambda x: x.mean(axis, keepdim=True).expand_as(x).clone()))
    t.expected = {outer}


def drift(t: Training, variant: int) -> None:
    """Running statistics that do not follow."""
    norm = t.layer(t.slot.shift)
    if isinstance(norm, nn.BatchNorm2d):
        norm.momentum = 0.0
        assert isinstance(norm.running_mean, Tensor) and isinstance(norm.running_var, Tensor)
        norm.running_mean.add_(8 * norm.running_var.sqrt()) if variant == 0 else norm.running_var.mul_(
            100.0 if variant == 1 else 0.01
        )
        t.expected = {t.slot.shift}
        return
    last = "fc" in t.slot.weights
    bias = t.layer(t.slot.weights).bias
    assert isinstance(bias, Tensor)
    put = Normalised(len(bias), last, 0.0)
    assert isinstance(put.norm.running_mean, Tensor)
    assert isinstance(put.norm.num_batches_tracked, Tensor)
    put.norm.num_batches_tracked.fill_(1000)
    put.norm.running_mean.add_((5.0, -5.0, 20.0)[variant % 3])
    _, outer = t.behind(put)
    t.optimizer.add_param_group({"params": list(put.parameters())})
    t.expected = {f"{outer}.norm"}


def constant(t: Training, variant: int) -> None:
    """A product with 0, weights that a mask keeps at 0, or a batch of one image over and over."""
    if variant == 0:
        _, outer = t.behind(Through(lambda x: x * 0 + 1))
        t.expected = {outer}
    elif variant == 1:
        weight = t.layer(t.slot.weights).weight
        assert isinstance(weight, Tensor)

        def mask() -> None:
            with torch.no_grad():
                weight.zero_()

        mask()
        bias = t.layer(t.slot.weights).bias
        if isinstance(bias, Tensor):
            torch.nn.init.ones_(bias)
        t.after, t.expected = mask, {t.slot.weights}
    else:
        t.inputs, t.expected = (lambda x: x[:1].expand_as(x).clone()), {t.first}


def raw_input(t: Training, variant: int) -> None:
    """Bytes in place of numbers around 0, or an offset."""
    t.inputs = (lambda x: 255 * x, lambda x: 40 + x, lambda x: 128 + 60 * x)[variant % 3]
    t.expected = {t.first}


FAULTS: dict[str, Callable[[Training, int], None]] = {
    "dead-units": dead,
    "saturated": saturate,
    "vanishing-gradient": vanish,
    "exploding-gradient": explode,
    "not-finite": not_finite,
    "never-updated": never,
    "update-too-large": too_large,
    "update-too-small": too_small,
    "collapsed-features": collapse,
    "normalisation-drift": drift,
    "constant-output": constant,
    "input-not-normalised": raw_input,
}
