"""Attributions from their definitions, on a twin, one run of the network at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fuzzing.networks import Case
from fuzzing.rules import Guided, HeldFixed, Plain
from fuzzing.twin import twin

Wanted = tuple[Tensor, float]
"""(N, H, W), and the size of the terms that were added up to it."""


def gradient_of(case: Case, net: nn.Module, x: Tensor) -> Tensor:
    """∂y/∂x, (N, C, H, W)."""
    with torch.enable_grad():
        start = x.detach().clone().requires_grad_()
        score = case.score(net(start.clone())).sum()
        if not score.requires_grad:
            return torch.zeros_like(start)
        (gradient,) = torch.autograd.grad(score, start, allow_unused=True)
    return torch.zeros_like(start) if gradient is None else gradient


def summed(terms: Tensor) -> Wanted:
    return terms.sum(1), float(terms.abs().sum(1).amax())


def gradient(case: Case) -> Wanted:
    return summed(gradient_of(case, twin(case.net, Plain()).eval(), case.x))


def gradient_x_input(case: Case) -> Wanted:
    return summed(case.x * gradient_of(case, twin(case.net, Plain()).eval(), case.x))


def integrated_gradients(case: Case, baseline: Tensor, steps: int) -> Wanted:
    """Gauss–Legendre: the nodes are the roots of the polynomial of this degree."""
    net = twin(case.net, Plain()).eval()
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(case.x)
    for node, weight in zip(nodes, weights, strict=True):
        t = (node + 1) / 2
        total = total + weight / 2 * gradient_of(case, net, baseline + t * (case.x - baseline))
    return summed((case.x - baseline) * total)


@torch.no_grad()
def occlusion(case: Case, baseline: Tensor, window: int, stride: int) -> Wanted:
    """At each pixel the mean of what the windows over it take from the score."""
    net = twin(case.net, Plain()).eval()
    n, _, h, w = case.x.shape
    side = min(window, h, w)
    rows = sorted({*range(0, h - side, stride), h - side})
    columns = sorted({*range(0, w - side, stride), w - side})
    whole = case.score(net(case.x.clone()))
    losses: list[tuple[int, int, Tensor]] = []
    for top in rows:
        for left in columns:
            covered = case.x.clone()
            hidden = baseline[:, :, top : top + side, left : left + side]
            covered[:, :, top : top + side, left : left + side] = hidden
            losses.append((top, left, whole - case.score(net(covered))))
    found = torch.zeros(n, h, w, dtype=case.x.dtype)
    for i in range(h):
        for j in range(w):
            over = [loss for top, left, loss in losses if top <= i < top + side and left <= j < left + side]
            if over:
                found[:, i, j] = torch.stack(over).mean(0)
    return found, float(whole.abs().amax())


def guided(case: Case, masks: bool) -> Wanted:
    return summed(gradient_of(case, twin(case.net, Guided(masks)).eval(), case.x))


def lrp_epsilon(case: Case) -> Wanted:
    """With ε = 0: each layer's share in proportion, so that f(x) / x stands for each activation's derivative."""
    return summed(case.x * gradient_of(case, twin(case.net, HeldFixed()).eval(), case.x))
