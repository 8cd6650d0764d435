"""What other libraries compute where that is not what the paper says: each rule once more, so that it can be checked.

pytorch-grad-cam 1.5.7 and torchcam 0.5.0, as read in their code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from viztool.cam.biases import bias_terms
from viztool.cam.evidence import Evidence
from viztool.cam.methods.kernel_components import kpca_cam
from viztool.hooks.replay import Replay
from viztool.hooks.tail import TailPass
from viztool.targets.question import Question

SEED = 0
SAMPLES = 2
"""Of the smoothing methods, in these comparisons."""


@dataclass(eq=False)
class Case:
    """One image (1, 3, H, W) that a network in evaluation mode is given, one layer of maps, and a class."""

    name: str
    net: nn.Module
    x: Tensor
    layer: str
    target: int

    @cached_property
    def rest(self) -> Replay:
        return Replay(self.net, self.x, self.layer)

    @cached_property
    def a(self) -> Tensor:
        return self.rest.activations

    @cached_property
    def g(self) -> Tensor:
        return self.gradient(lambda output: output[:, self.target])

    def gradient(self, score: Callable[[Any], Tensor]) -> Tensor:
        """∂ score / ∂ A."""
        return self.on(self.x, score)[1]

    def on(self, x: Tensor, score: Callable[[Any], Tensor]) -> tuple[Tensor, Tensor]:
        """A of another input, and ∂ score / ∂ A there."""
        run = TailPass(self.net, x, self.layer)
        with torch.enable_grad():
            return run.activations[self.layer], run.gradients(score(run.output))[self.layer]

    @torch.no_grad()
    def score(self, x: Tensor) -> Tensor:
        return torch.cat([self.net(part)[:, self.target] for part in x.split(8)])


Rule = Callable[[Case], Tensor]


def weighted(weights: Tensor, case: Case) -> Tensor:
    """ReLU(Σ_k w_k A_k), of weights (1, C)."""
    return (weights[:, :, None, None] * case.a).sum(1).relu()


def epsilon_in_alpha(case: Case) -> Tensor:
    g, a = case.g, case.a
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3 + 1e-6)
    return weighted((torch.where(g != 0, alpha, 0) * g.relu()).sum((2, 3)), case)


def epsilon_in_share(epsilon: float) -> Rule:
    def rule(case: Case) -> Tensor:
        return weighted((case.g * case.a).sum((2, 3)) / (case.a.sum((2, 3)) + epsilon), case)

    return rule


def undivided_alpha(case: Case) -> Tensor:
    return weighted((case.g**2 * case.g.relu()).sum((2, 3)), case)


def last_sample(case: Case) -> Tensor:
    torch.manual_seed(SEED)
    second = third = g = a = torch.zeros_like(case.a)
    for _ in range(SAMPLES):
        noisy = case.x + torch.distributions.normal.Normal(0, 0.3).sample(case.x.shape)
        a, g = case.on(noisy, lambda output: output[:, case.target])
        second, third = second + g**2 / SAMPLES, third + g**3 / SAMPLES
    alpha = second / (2 * second + (third * case.a).sum((2, 3), keepdim=True) + 1e-8)
    return ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1).relu()


def of_masks(case: Case, masks: Tensor) -> Tensor:
    """The scores under masks (1, C, H, W), as weights."""
    return case.score(masks[0, :, None] * case.x)[None]


def corners_aligned(case: Case) -> Tensor:
    up = F.interpolate(case.a, case.x.shape[-2:], mode="bilinear", align_corners=True)
    return weighted(of_masks(case, unit(up)).softmax(1), case)


def normalised_before(case: Case) -> Tensor:
    return weighted(of_masks(case, upsampled(unit(case.a), case)).softmax(1), case)


def normalised_before_noise(case: Case) -> Tensor:
    torch.manual_seed(SEED)
    masks = upsampled(unit(case.a), case)
    noise = torch.distributions.normal.Normal(0, 2.0)
    scores = [of_masks(case, masks + noise.sample(masks.shape)) for _ in range(SAMPLES)]
    return weighted(torch.stack(scores).mean(0).softmax(1), case)


def strength_adds_up(case: Case) -> Tensor:
    masks = upsampled(unit(case.a), case)
    strengths = np.cumsum([(step + 1) / SAMPLES for step in range(SAMPLES)]).tolist()
    scores = [of_masks(case, strength * masks) for strength in strengths]
    return weighted(torch.stack(scores).mean(0).softmax(1), case)


def unit(maps: Tensor) -> Tensor:
    low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
    return (maps - low) / (high - low + 1e-8)


def upsampled(maps: Tensor, case: Case) -> Tensor:
    return F.interpolate(maps, case.x.shape[-2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def ablated_far_below(case: Case) -> Tensor:
    """Zero where the smallest activation is zero; elsewhere 1e7 below the smallest, which that one is for the next."""
    full = case.rest(case.a)[:, case.target]
    found = []
    for part in torch.arange(case.a.shape[1]).split(32):
        changed = case.a.repeat(len(part), 1, 1, 1)
        for row, channel in enumerate(part):
            low = changed.min()
            changed[row, channel] = 0 if low == 0 else low - 1e7
        found.append(case.rest(changed)[:, case.target])
    return weighted(((full - torch.cat(found)) / full)[None], case)


def centred_component(values: Tensor) -> Tensor:
    """Of maps (1, C, h, w), whatever sign the decomposition gives it."""
    samples = values[0].flatten(1).T.numpy()
    samples = samples - samples.mean(axis=0)
    _, _, directions = np.linalg.svd(samples, full_matrices=True)
    return torch.from_numpy(samples @ directions[0]).view(1, *values.shape[2:]).relu()


def centred_activations(case: Case) -> Tensor:
    return centred_component(case.a)


def centred_products(case: Case) -> Tensor:
    return centred_component(case.g * case.a)


def largest_is_positive(case: Case) -> Tensor:
    """The kernel's component with the sign by which its largest entry is positive."""
    component = kpca_cam(Evidence(Question(case.net, case.x, case.target, layers=(case.layer,), seed=SEED), case.layer))
    sign = component.flatten()[component.abs().argmax()].sign()
    return (component * sign).relu()


def share_of_outliers(case: Case) -> Tensor:
    a = case.a
    limit = a.mean((2, 3), keepdim=True) + 2 * a.std((2, 3), correction=0, keepdim=True)
    return weighted((a > limit).float().mean((2, 3)), case)


def weighted_by_confidence(case: Case) -> Tensor:
    with torch.no_grad():
        logits = case.net(case.x)[0]
    others = (logits - logits[case.target]).abs().argsort()[1:4]

    def contrast(output: Tensor) -> Tensor:
        confidence = output.softmax(1)[:, others]
        return (confidence * (output[:, [case.target]] - output[:, others])).sum(1) / confidence.sum(1)

    return weighted(case.gradient(contrast).mean((2, 3)), case)


def channel_by_channel(case: Case) -> Tensor:
    """FullGrad with each channel of a term from 0 to 1; of the layers plain convolutions and batch norms alone."""
    kinds = [(name, layer) for name, layer in case.net.named_modules() if type(layer) in (nn.Conv2d, nn.BatchNorm2d)]
    counted = sum(layer.bias is not None for _, layer in kinds)
    terms: list[Tensor] = []
    x = case.x.clone().requires_grad_()
    with torch.enable_grad(), bias_terms(case.net, lambda _, term: terms.append(term)):
        (gradient,) = torch.autograd.grad(case.net(x)[:, case.target].sum(), x)
    maps = [term for term in terms if term.dim() == 4] if counted else []
    total = np.zeros(case.x.shape[2:], np.float32)
    for term in [gradient * case.x, *maps]:
        for channel in term[0].abs().detach().numpy():
            share = channel - channel.min()
            total += cv2.resize(share / (1e-7 + share.max()), (total.shape[1], total.shape[0]))
    return torch.from_numpy(total)[None]
