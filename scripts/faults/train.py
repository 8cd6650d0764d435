"""Run a training with a fault, or without one, under the monitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, Adam, AdamW, Optimizer

import viztool
from faults.nets import ARCHITECTURES, Data
from faults.put import FAULTS, Training, dead, too_small
from viztool.monitor import Finding

EVERY, HEALTHY_STEPS = 5, 200
_LATEST = 3  # samples after the fault is there

OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "SGD 0.02": lambda net: SGD(net.parameters(), 0.02, momentum=0.9),
    "SGD 0.005": lambda net: SGD(net.parameters(), 0.005, momentum=0.9),
    "Adam 0.003": lambda net: Adam(net.parameters(), 3e-3),
    "Adam 0.0005": lambda net: Adam(net.parameters(), 5e-4),
    "AdamW 0.002": lambda net: AdamW(net.parameters(), 2e-3, weight_decay=0.05),
    "AdamW 0.0003": lambda net: AdamW(net.parameters(), 3e-4, weight_decay=0.05),
}


@dataclass(frozen=True)
class Outcome:
    """found: the right kind and layer in time. beside: other kinds that were said. said: all of it, in words."""

    found: bool
    beside: tuple[str, ...]
    said: str


def started(architecture: str, seed: int) -> tuple[Training, Data]:
    """A training that has not begun, and its data."""
    torch.manual_seed(seed)
    net, slots = ARCHITECTURES[architecture]()
    slot = slots[seed % len(slots)]
    training = Training(net, slot, slots, Adam(net.parameters(), 2e-3), begins=36 + 4 * (seed % 4))
    return training, Data(seed)


def run_fault(kind: str, architecture: str, seed: int) -> Outcome:
    """Train until the fault should have been found."""
    training, data = started(architecture, seed)
    variant = seed % 3
    if kind == "normalisation-drift":
        training.begins += 20  # by then running statistics have settled
    planned = training.begins
    if kind == "update-too-small" or (kind == "vanishing-gradient" and architecture == "plain" and variant == 0):
        FAULTS[kind](training, variant)  # there from the first step
    said: dict[int, list[Finding]] = {}
    with viztool.monitor(training.net, training.optimizer, EVERY, quiet=True, on_sample=_keep(said)) as health:
        for step in range(planned + 20):
            if step == planned and not training.expected:
                FAULTS[kind](training, variant)
            _step(training, data)
        if health._engine.failed:
            raise RuntimeError(health._engine.failed)
    samples = [step for step in said if step >= training.begins]
    in_time = [finding for step in samples[:_LATEST] for finding in said[step]]
    found = any(finding.kind == kind and finding.layer in training.expected for finding in in_time)
    beside = {finding.kind for finding in in_time} - {kind}
    told = "; ".join(sorted({f"{finding.kind} in {finding.layer}: {finding.evidence}" for finding in in_time}))
    early = [finding for step, findings in said.items() if step < training.begins for finding in findings]
    if early:
        beside.add(f"{early[0].kind} before it")
    where = f"{kind}, {architecture}, seed {seed}: expected {sorted(training.expected)}"
    return Outcome(found, tuple(sorted(beside)), f"{where}, said {told or 'nothing'}")


def healthy(seed: int) -> Iterator[str]:
    """What is said of each healthy training: nothing."""
    for architecture in ARCHITECTURES:
        for name, optimizer in OPTIMIZERS.items():
            training, data = started(architecture, seed)
            training = replace(training, optimizer=optimizer(training.net))
            said: dict[int, list[Finding]] = {}
            with viztool.monitor(training.net, training.optimizer, 5, quiet=True, on_sample=_keep(said)):
                losses = [_step(training, data) for _ in range(HEALTHY_STEPS)]
            if sum(losses[-20:]) > 0.8 * sum(losses[:20]):
                raise RuntimeError(f"{architecture} with {name} does not learn: no healthy training")
            alarms = {f"{each.kind} in {each.layer}: {each.evidence}" for some in said.values() for each in some}
            yield f"{architecture}, {name}: {'; '.join(sorted(alarms))}" if alarms else ""


def healed(architecture: str, seed: int) -> bool:
    """Whether a finding appears with its fault, and disappears when the fault is taken away."""
    training, data = started(architecture, seed)
    said: dict[int, list[Finding]] = {}
    with viztool.monitor(training.net, training.optimizer, EVERY, quiet=True, on_sample=_keep(said)):
        for step in range(72):
            if step == 30:
                FAULTS["vanishing-gradient"](training, 1)
            if step == 55:
                training.undo()
            _step(training, data)
    with_it = [finding for step, findings in said.items() if 30 <= step < 55 for finding in findings]
    right = any(finding.kind == "vanishing-gradient" and finding.layer in training.expected for finding in with_it)
    return right and not said[max(said)]


def two_at_once(architecture: str, seed: int) -> bool:
    """Whether dead units in one layer and updates that are too small in another are both found."""
    training, data = started(architecture, seed)
    other = replace(training, slot=training.slots[(seed + 1) % len(training.slots)])
    too_small(other, 0)
    said: dict[int, list[Finding]] = {}
    with viztool.monitor(training.net, training.optimizer, EVERY, quiet=True, on_sample=_keep(said)):
        for step in range(72):
            if step == 36:
                dead(training, 0)
            _step(training, data)
    found = {(finding.kind, finding.layer) for finding in said[max(said)]}
    wanted = {("dead-units", name) for name in training.expected}
    return bool(wanted & found) and any(("update-too-small", name) in found for name in other.expected)


def _step(training: Training, data: Data) -> float:
    x, labels = data()
    loss = training.scale * F.cross_entropy(training.net(training.inputs(x)), labels)
    training.optimizer.zero_grad()
    loss.backward()
    training.optimizer.step()
    training.after()
    return loss.item()


def _keep(said: dict[int, list[Finding]]) -> Callable[..., None]:
    def keep(health: viztool.Health, sample: object) -> None:
        said.setdefault(int(sample.step), []).extend(health.findings)  # type: ignore[attr-defined]

    return keep
