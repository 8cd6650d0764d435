"""Methods that show the network the input behind each channel's map, and weight the channel by the score.

H_k = s(Up(A_k)): the map at the size of the input, from 0 to 1. All weights are a softmax over channels, so
that the score of the empty input, which the papers subtract from each, cancels, and is not computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method

SMOOTHING_SAMPLES = 10
SMOOTHING_NOISE = 2.0
INTEGRATION_STEPS = 10


@method("scorecam", "Score-CAM", "Wang et al. 2020, arXiv:1910.01279", gives="weights", relu=True, unit="activation")
def score_cam(evidence: Evidence) -> Tensor:
    """L = ReLU(Σ_k α_k A_k), α = softmax over k of y(x ∘ H_k) − y(0) (definitions 2 and 3, algorithm 1)."""
    return _softmax(_scores(evidence))


@method(
    "sscam", "SS-CAM", "Wang et al. 2020, arXiv:2006.14255", gives="weights", relu=True, slow=True, unit="activation"
)
def ss_cam(evidence: Evidence) -> Tensor:
    """Score-CAM with y(x ∘ (H_k + ε)) in place of y(x ∘ H_k), its mean over samples of ε ~ N(0, 2²)."""
    count = evidence.activations.shape[1]
    scores = [
        evidence.masked_scores(partial(_noisy_masks, evidence, sample), count) for sample in range(SMOOTHING_SAMPLES)
    ]
    return _softmax(torch.stack(scores).mean(0))


@method(
    "iscam", "IS-CAM", "Naidu et al. 2020, arXiv:2010.03023", gives="weights", relu=True, slow=True, unit="activation"
)
def is_cam(evidence: Evidence) -> Tensor:
    """Score-CAM with y(x ∘ H_k) integrated from the empty input: the mean of y(x ∘ i/n H_k), i = 1 … n."""
    scores = [_scores(evidence, step / INTEGRATION_STEPS) for step in range(1, INTEGRATION_STEPS + 1)]
    return _softmax(torch.stack(scores).mean(0))


def _scores(evidence: Evidence, strength: float = 1.0) -> Tensor:
    """y(x ∘ s H_k) for every channel, (N, C). Channels that are constant on all images hide alike, and run but once."""
    maps = evidence.activations
    constant = (maps.amax((2, 3)) == maps.amin((2, 3))).all(0)
    own = constant.logical_not().nonzero()[:, 0].tolist()
    run = own + constant.nonzero()[:1, 0].tolist()
    found = evidence.masked_scores(lambda indices: _masks(evidence, [run[at] for at in indices], strength), len(run))
    scores = found[:, -1:].repeat(1, maps.shape[1])
    scores[:, run] = found
    return scores


def _masks(evidence: Evidence, channels: Sequence[int], strength: float = 1.0) -> Tensor:
    """H_k of some channels, (N, k, H, W). A constant map hides everything: it says nothing of where."""
    own = evidence.activations[:, channels]
    maps = evidence.upsampled(own)
    spots = tuple(range(2, maps.dim()))
    low, high = maps.amin(spots, keepdim=True), maps.amax(spots, keepdim=True)
    # As the layer has it: what is made larger of a constant map differs by rounding.
    varies = (own.amax((2, 3)) > own.amin((2, 3))).view(low.shape)
    return torch.where(varies & (high > low), strength * (maps - low) / (high - low), 0)


def _noisy_masks(evidence: Evidence, sample: int, channels: range) -> Tensor:
    masks = _masks(evidence, list(channels))
    # A stream for each mask, whatever the chunks; the same for each image.
    noise = [torch.randn(masks.shape[2:], generator=evidence.generator(sample, channel)) for channel in channels]
    return masks + SMOOTHING_NOISE * torch.stack(noise).to(masks)


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(1)[:, :, None, None]
