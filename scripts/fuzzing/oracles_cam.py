"""Class activation maps from their papers' equations, on a twin, in float64 where the network is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuzzing.blocks import Layout
from fuzzing.networks import Case
from fuzzing.twin import run


class UnsureError(Exception):
    """The definition jumps, or divides by what is nearly zero, too near to this case to be compared."""


@dataclass
class Layer:
    """The last call of one layer of a twin."""

    case: Case
    net: nn.Module
    name: str
    last: int
    layout: Layout | None

    def maps(self, own: Tensor) -> Tensor:
        if self.layout is None:
            return own
        how, prefix, sides = self.layout
        if how == "last":
            return own.permute(0, 3, 1, 2)
        return own[:, prefix:].transpose(1, 2).reshape(len(own), own.shape[2], *sides)

    def unmapped(self, maps: Tensor) -> Tensor:
        """The layer's own output with these maps in it."""
        if self.layout is None:
            return maps
        how, prefix, _ = self.layout
        if how == "last":
            return maps.permute(0, 2, 3, 1)
        return torch.cat([self.own.detach()[:, :prefix], maps.flatten(2).transpose(1, 2)], 1)

    @cached_property
    def own(self) -> Tensor:
        found: list[Tensor] = []

        def visit(name: str, call: int, output: Tensor) -> None:
            if name == self.name and call == self.last:
                found.append(output.detach().clone())

        with torch.no_grad():
            run(self.net, self.case.x.clone(), visit)
        return found[0]

    def output(self, maps: Tensor) -> object:
        """The network's, if the layer held these maps."""
        instead = self.unmapped(maps)
        return run(
            self.net,
            self.case.x.clone(),
            lambda name, call, output: instead.clone() if name == self.name and call == self.last else None,
        )

    def score(self, maps: Tensor) -> Tensor:
        return self.case.score(self.output(maps))

    @cached_property
    def a(self) -> Tensor:
        return self.maps(self.own).detach()

    def derived(self, score: Callable[[Tensor], Tensor]) -> Tensor:
        with torch.enable_grad():
            start = self.a.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(score(start).sum(), start)
        return gradient

    @cached_property
    def g(self) -> Tensor:
        return self.derived(self.score)


Map = tuple[Tensor, float]
"""(N, h, w), and the size of the terms that were added up to it."""


def weighted(weights: Tensor, a: Tensor, relu: bool = True) -> Map:
    """Σ_k w_k A_k."""
    terms = weights * a
    total = torch.zeros_like(a[:, 0])
    for k in range(a.shape[1]):
        total = total + terms[:, k]
    return (total.clamp(min=0) if relu else total), float(terms.abs().sum(1).amax())


def by_mean(gradients: Tensor, a: Tensor) -> Map:
    """Weighted by means of gradients, each of which may be what is left of large ones, rounded."""
    found, size = weighted(gradients.mean((2, 3), keepdim=True), a)
    return found, max(size, weighted(gradients.abs().mean((2, 3), keepdim=True), a)[1])


def gradcam(layer: Layer) -> Map:
    return by_mean(layer.g, layer.a)


def sure(divisor: Tensor, terms: Tensor) -> None:
    """Raise where a sum is nearly zero although its terms are not."""
    if bool(((divisor.abs() < 1e-3 * terms) & (terms > 0)).any()):
        raise UnsureError


def gradcam_plus_plus(layer: Layer) -> Map:
    a, g = layer.a, layer.g
    total = a.sum((2, 3), keepdim=True)
    below = 2 * g**2 + total * g**3
    sure(below, 2 * g**2 + total.abs() * g.abs() ** 3)
    tiny = float(g.abs().amax()) * 1e-10
    if bool(((g != 0) & (g.abs() < tiny)).any()):
        raise UnsureError  # whose square is no float32
    alpha = torch.where(below != 0, g**2 / below, torch.zeros_like(g))
    return weighted((alpha * g.clamp(min=0)).sum((2, 3), keepdim=True), a)


def xgradcam(layer: Layer) -> Map:
    a, g = layer.a, layer.g
    total = a.sum((2, 3), keepdim=True)
    sure(total, a.abs().sum((2, 3), keepdim=True))
    terms = g * a  # of which little may be left when they are added up
    part = terms.sum((2, 3), keepdim=True)
    found, size = weighted(torch.where(total != 0, part / total, torch.zeros_like(part)), a)
    whole = terms.abs().sum((2, 3), keepdim=True)
    return found, max(size, weighted(torch.where(total != 0, whole / total.abs(), torch.zeros_like(whole)), a)[1])


def hirescam(layer: Layer) -> Map:
    return weighted(layer.g, layer.a, relu=False)


def layercam(layer: Layer) -> Map:
    return weighted(layer.g.clamp(min=0), layer.a)


def elementwise(layer: Layer) -> Map:
    return weighted(torch.ones_like(layer.a), (layer.g * layer.a).clamp(min=0), relu=False)


def masks(layer: Layer, k: int) -> Tensor:
    """s(Up(A_k)): (N, 1, H, W)."""
    a = layer.a[:, k : k + 1]
    spread = a.amax((2, 3)) - a.amin((2, 3))
    if bool(((spread < 1e-4 * a.abs().amax((2, 3))) & (spread > 0)).any()):
        raise UnsureError
    up = F.interpolate(a, layer.case.x.shape[-2:], mode="bilinear", align_corners=False)
    low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
    return torch.where((high > low) & (spread > 0).view(low.shape), (up - low) / (high - low), torch.zeros_like(up))


@torch.no_grad()
def by_scores(layer: Layer, strengths: list[float]) -> Map:
    rows = []
    for k in range(layer.a.shape[1]):
        mask = masks(layer, k)
        scores = [layer.case.score(layer.net((layer.case.x * (mask * s)).clone())) for s in strengths]
        rows.append(sum(scores) / len(scores))
    added = torch.stack([torch.as_tensor(row) for row in rows], 1)
    weights = (added - added.amax(1, keepdim=True)).exp()
    return weighted((weights / weights.sum(1, keepdim=True))[:, :, None, None], layer.a)


def scorecam(layer: Layer) -> Map:
    return by_scores(layer, [1.0])


def iscam(layer: Layer) -> Map:
    return by_scores(layer, [i / 10 for i in range(1, 11)])


@torch.no_grad()
def ablationcam(layer: Layer) -> Map:
    y = layer.score(layer.a)
    if float(y.abs().min()) < 1e-4:
        raise UnsureError
    weights = []
    for k in range(layer.a.shape[1]):
        without = layer.a.clone()
        without[:, k] = 0
        weights.append((y - layer.score(without)) / y.abs())
    made = torch.stack(weights, 1)[:, :, None, None]
    found, size = weighted(made, layer.a)
    # Of differences of scores, each rounded.
    return found, size + float((layer.a.abs().sum(1)).amax())


def projected(maps: Tensor) -> Map:
    rows = []
    for one in maps:
        samples = one.flatten(1).T.double().numpy()
        _, values, vt = np.linalg.svd(samples, full_matrices=False)
        if len(values) > 1 and values[1] > 0.9 * values[0]:
            raise UnsureError
        component = torch.from_numpy(samples @ vt[0]).view(one.shape[1:])
        agrees = component * one.sum(0).double()
        if abs(float(agrees.sum())) < 1e-3 * float(agrees.abs().sum()):
            raise UnsureError
        rows.append(component if float(agrees.sum()) >= 0 else -component)
    found = torch.stack(rows)
    return found, float(found.abs().amax())


def eigencam(layer: Layer) -> Map:
    return projected(layer.a)


def eigengradcam(layer: Layer) -> Map:
    return projected(layer.g * layer.a)


def kpcacam(layer: Layer) -> Map:
    rows = []
    for one in layer.a.double():
        channels, h, w = one.shape
        samples = one.flatten(1).T
        samples = samples - samples.mean(0)
        kernel = torch.tanh(samples @ samples.T / channels + 1)
        centre = torch.eye(h * w, dtype=torch.float64) - 1 / (h * w)
        values, vectors = np.linalg.eigh((centre @ kernel @ centre).numpy())
        if values[-1] < 1e-3 or values[-2] > 0.9 * values[-1]:
            raise UnsureError
        component = torch.from_numpy(vectors[:, -1] * values[-1] ** 0.5).view(h, w)
        agrees = component * one.sum(0)
        if abs(float(agrees.sum())) < 1e-3 * float(agrees.abs().sum()):
            raise UnsureError
        rows.append(component if float(agrees.sum()) >= 0 else -component)
    found = torch.stack(rows)
    return found, float(found.abs().amax())


def fem(layer: Layer) -> Map:
    a = layer.a
    mean, sd = a.mean((2, 3), keepdim=True), a.std((2, 3), correction=0, keepdim=True)
    over = a - (mean + 2 * sd)
    if bool((over.abs() < 1e-5 * a.abs().amax()).any()):
        raise UnsureError
    return weighted(mean.expand_as(a), (over > 0).to(a), relu=False)


def shapleycam(layer: Layer) -> Map:
    with torch.enable_grad():
        start = layer.a.clone().requires_grad_()
        (g,) = torch.autograd.grad(layer.score(start).sum(), start, create_graph=True)
        curved = None
        if g.requires_grad:
            (curved,) = torch.autograd.grad((g * layer.a).sum(), start, allow_unused=True)
    curved = torch.zeros_like(g) if curved is None else curved
    values = (g - curved / 2).detach()
    found, size = weighted(values.mean((2, 3), keepdim=True), layer.a)
    return found, size + weighted((g.abs() + curved.abs()).detach().mean((2, 3), keepdim=True), layer.a)[1]


def finercam(layer: Layer) -> Map:
    output = layer.net(layer.case.x.clone())
    logits = (output["logits"] if isinstance(output, dict) else output).detach()
    if logits.shape[1] < 2:
        raise UnsureError
    nearest = []
    for row, target in zip(logits, layer.case.target, strict=True):
        others = sorted((abs(float(row[k] - row[target])), k) for k in range(len(row)) if k != target)
        if len(others) > 3 and others[3][0] - others[2][0] < 1e-5:
            raise UnsureError
        nearest.append([k for _, k in others[:3]])

    def contrast(maps: Tensor) -> Tensor:
        found = layer.output(maps)
        scores = found["logits"] if isinstance(found, dict) else found
        assert isinstance(scores, Tensor)
        rows = [scores[n, layer.case.target[n]] - 0.6 * scores[n, others].mean() for n, others in enumerate(nearest)]
        return torch.stack(rows)

    return by_mean(layer.derived(contrast), layer.a)


def cam(layer: Layer) -> Map:
    """Of a network whose head is a mean and a linear layer right behind the layer."""
    weight = layer.net.get_submodule("head.fc").weight
    assert isinstance(weight, Tensor)
    return weighted(weight.detach().flatten(1)[layer.case.target][:, :, None, None], layer.a, relu=False)


ORACLES: dict[str, Callable[[Layer], Map]] = {
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "xgradcam": xgradcam,
    "hirescam": hirescam,
    "layercam": layercam,
    "elementwise": elementwise,
    "scorecam": scorecam,
    "iscam": iscam,
    "ablationcam": ablationcam,
    "eigencam": eigencam,
    "eigengradcam": eigengradcam,
    "kpcacam": kpcacam,
    "fem": fem,
    "shapleycam": shapleycam,
    "finercam": finercam,
    "cam": cam,
}
