"""Every method once more, from its paper's equations, one number at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


def stream(*keys):
    """Random numbers that the tests know: in place of those of a run's seed."""
    return torch.Generator().manual_seed(sum(1000**place * (key + 1) for place, key in enumerate(keys)))


@dataclass
class Case:
    """One image (1, 3, H, W) in float64, a network in two halves, a class."""

    net: nn.Module
    x: torch.Tensor
    target: int

    def score(self, x):
        return self.net(x)[0, self.target]

    def tail(self, a):
        """The score for these activations (C, h, w)."""
        return self.net.tail(a[None])[0, self.target]

    @property
    def a(self):
        return self.net.front(self.x)[0].detach()

    @property
    def g(self):
        return gradient(self.tail, self.a)

    @property
    def shape(self):
        return tuple(self.a.shape)


def gradient(function, at):
    at = at.detach().requires_grad_()
    return torch.autograd.grad(function(at), at)[0]


def weighted(weights, a):
    """Σ_k w_k A_k."""
    total = torch.zeros(a.shape[1:], dtype=a.dtype)
    for k in range(len(a)):
        total = total + weights[k] * a[k]
    return total


def relu(values):
    return values.clamp(min=0)


def everywhere(case, value):
    """L(i, j) from a function of k, i, j, summed over k."""
    channels, h, w = case.shape
    found = torch.zeros(h, w, dtype=torch.float64)
    for i in range(h):
        for j in range(w):
            found[i, j] = sum(float(value(k, i, j)) for k in range(channels))
    return found


def cam(case):
    """Of a network whose tail is pooling and a linear layer."""
    return weighted(case.net.tail[-1].weight[case.target].detach(), case.a)


def gradcam(case):
    _, h, w = case.shape
    alpha = [sum(float(g[i, j]) for i in range(h) for j in range(w)) / (h * w) for g in case.g]
    return relu(weighted(alpha, case.a))


def plus_plus(a, first, second, third):
    channels, h, w = a.shape
    weights = []
    for k in range(channels):
        total = float(a[k].sum())
        weight = 0.0
        for i in range(h):
            for j in range(w):
                below = 2 * float(second[k, i, j]) + total * float(third[k, i, j])
                alpha = float(second[k, i, j]) / below if below else 0.0
                weight += alpha * max(float(first[k, i, j]), 0.0)
        weights.append(weight)
    return relu(weighted(weights, a))


def gradcam_plus_plus(case):
    g = case.g
    return plus_plus(case.a, g, g**2, g**3)


def smooth_gradcam_plus_plus(case):
    spread = case.x.max() - case.x.min()
    gradients = []
    for sample in range(8):
        noise = torch.randn(case.x.shape[1:], generator=stream(sample)).double()
        noisy = case.x + 0.15 * spread * noise
        gradients.append(gradient(case.tail, case.net.front(noisy)[0]))
    means = [sum(g**power for g in gradients) / 8 for power in (1, 2, 3)]
    return plus_plus(case.a, *means)


def xgradcam(case):
    a, g = case.a, case.g
    weights = [float((g[k] * a[k]).sum()) / float(a[k].sum()) if float(a[k].sum()) else 0.0 for k in range(len(a))]
    return relu(weighted(weights, a))


def hirescam(case):
    a, g = case.a, case.g
    return everywhere(case, lambda k, i, j: g[k, i, j] * a[k, i, j])


def layercam(case):
    a, g = case.a, case.g
    return relu(everywhere(case, lambda k, i, j: max(float(g[k, i, j]), 0.0) * a[k, i, j]))


def elementwise(case):
    a, g = case.a, case.g
    return everywhere(case, lambda k, i, j: max(float(g[k, i, j] * a[k, i, j]), 0.0))


def mask(case, k):
    """s(Up(A_k)): (H, W)."""
    up = F.interpolate(case.a[None, k : k + 1], case.x.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    return (up - up.min()) / (up.max() - up.min()) if up.max() > up.min() else torch.zeros_like(up)


def by_confidence(case, score):
    """Weights: the softmax of what each channel adds to the score of a black image."""
    black = case.score(torch.zeros_like(case.x))
    with torch.no_grad():
        added = torch.stack([score(k) - black for k in range(len(case.a))])
    return relu(weighted(added.exp() / added.exp().sum(), case.a))


def scorecam(case):
    return by_confidence(case, lambda k: case.score(case.x * mask(case, k)))


def sscam(case):
    size = case.x.shape[-2:]

    def score(k):
        noises = [torch.randn(size, generator=stream(sample, k)).double() for sample in range(10)]
        return sum(case.score(case.x * (mask(case, k) + 2.0 * noise)) for noise in noises) / 10

    return by_confidence(case, score)


def iscam(case):
    return by_confidence(case, lambda k: sum(case.score(case.x * mask(case, k) * i / 10) for i in range(1, 11)) / 10)


@torch.no_grad()
def ablationcam(case):
    """The paper divides by y; by |y| here, so that a negative score does not turn the map upside down."""
    y = case.tail(case.a)
    weights = []
    for k in range(len(case.a)):
        without = case.a.clone()
        without[k] = 0
        weights.append(float((y - case.tail(without)) / y.abs()))
    return relu(weighted(weights, case.a))


def projected(maps):
    """O v₁ by a full singular value decomposition, with the sign of the sum over channels."""
    samples = maps.flatten(1).T.numpy()
    _, _, vt = np.linalg.svd(samples, full_matrices=True)
    component = torch.from_numpy(samples @ vt[0]).view(maps.shape[1:])
    return component if float((component * maps.sum(0)).sum()) >= 0 else -component


def eigencam(case):
    return projected(case.a)


def eigengradcam(case):
    return projected(case.g * case.a)


def kpcacam(case):
    channels, h, w = case.shape
    samples = case.a.flatten(1).T
    samples = samples - samples.mean(0)
    n = h * w
    kernel = torch.zeros(n, n, dtype=torch.float64)
    for p in range(n):
        for q in range(n):
            kernel[p, q] = torch.tanh(samples[p] @ samples[q] / channels + 1)
    centre = torch.eye(n, dtype=torch.float64) - 1 / n
    values, vectors = np.linalg.eigh((centre @ kernel @ centre).numpy())
    component = torch.from_numpy(vectors[:, -1] * values[-1] ** 0.5).view(h, w)
    return component if float((component * case.a.sum(0)).sum()) >= 0 else -component


def fem(case):
    a = case.a.numpy()
    return everywhere(case, lambda k, i, j: a[k].mean() * (a[k, i, j] > a[k].mean() + 2 * a[k].std()))


def shapleycam(case):
    """The Hessian times A as the difference of gradients on either side of A."""
    a, step = case.a, 1e-4
    along = (gradient(case.tail, a * (1 + step)) - gradient(case.tail, a * (1 - step))) / (2 * step)
    return relu(weighted((case.g - along / 2).mean((1, 2)), a))


def finercam(case):
    logits = case.net(case.x)[0].detach()
    others = sorted(
        (k for k in range(len(logits)) if k != case.target), key=lambda k: abs(float(logits[k] - logits[case.target]))
    )[:3]

    def contrast(a):
        y = case.net.tail(a[None])[0]
        return sum(y[case.target] - 0.6 * y[other] for other in others) / 3

    g = gradient(contrast, case.a)
    return relu(weighted(g.mean((1, 2)), case.a))


def random(case):
    return torch.rand(case.shape[1:], generator=stream(0)).double()


ORACLES = {
    "cam": cam,
    "gradcam": gradcam,
    "gradcam++": gradcam_plus_plus,
    "smoothgradcam++": smooth_gradcam_plus_plus,
    "xgradcam": xgradcam,
    "hirescam": hirescam,
    "layercam": layercam,
    "elementwise": elementwise,
    "scorecam": scorecam,
    "sscam": sscam,
    "iscam": iscam,
    "ablationcam": ablationcam,
    "eigencam": eigencam,
    "eigengradcam": eigengradcam,
    "kpcacam": kpcacam,
    "fem": fem,
    "shapleycam": shapleycam,
    "finercam": finercam,
    "random": random,
}
"""Of methods of a layer. FullGrad, of the whole network, has a test of its own."""
