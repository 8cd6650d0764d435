"""Where other libraries' numbers are others: the maps are those of the papers, and not those.

What the others compute was read in pytorch-grad-cam 1.5.7 and torchcam 0.5.0, and checked against what they put out:
scripts/compare_peers.py does it again where they are installed. Here are their rules alone, written out.
"""

import copy

import numpy as np
import pytest
import torch
from cam_nets import images, rectified, smooth
from cam_oracles import ORACLES, Case, gradient, mask, relu, weighted
from torch.nn import functional as F

from viztool.cam import class_activation_map


def epsilon_in_alpha(case):
    """pytorch-grad-cam: 1e-6 below α's line; gradients at a layer are often 1e-4, and their squares 1e-8."""
    a, g = case.a, case.g
    alpha = g**2 / (2 * g**2 + a.sum((1, 2), keepdim=True) * g**3 + 1e-6)
    return relu(weighted((alpha * relu(g)).sum((1, 2)), a))


def undivided_alpha(case):
    """Of torchcam: α = g², since it is divided in a copy of it (`alpha[mask].div_()`)."""
    return relu(weighted((case.g**2 * relu(case.g)).sum((1, 2)), case.a))


def masks_with(case, enlarge):
    scores = torch.stack([case.score(case.x * enlarge(case.a[k])) for k in range(len(case.a))])
    return relu(weighted(scores.softmax(0).detach(), case.a))


def corners_aligned(case):
    """pytorch-grad-cam: UpsamplingBilinear2d puts the corners of the maps on the corners of the image."""

    def enlarge(a):
        up = F.interpolate(a[None, None], case.x.shape[-2:], mode="bilinear", align_corners=True)[0, 0]
        return (up - up.min()) / (up.max() - up.min())

    return masks_with(case, enlarge)


def normalised_before(case):
    """Of torchcam: from 0 to 1 before it is enlarged, so that masks at the image's size have another range."""

    def enlarge(a):
        share = (a - a.min()) / (a.max() - a.min())
        return F.interpolate(share[None, None], case.x.shape[-2:], mode="bilinear")[0, 0]

    return masks_with(case, enlarge)


def strength_adds_up(case):
    """Of torchcam: the i-th of 10 masks is (1 + … + i)/10 times as strong, up to 5.5."""
    strengths = np.cumsum(np.arange(1, 11) / 10)
    scores = [sum(case.score(case.x * float(s) * mask(case, k)) for s in strengths) / 10 for k in range(len(case.a))]
    return relu(weighted(torch.stack(scores).softmax(0).detach(), case.a))


@torch.no_grad()
def far_below(case):
    """pytorch-grad-cam: channels are not set to zero but 1e7 below the smallest activation, where that is not zero."""
    y, drops = case.tail(case.a), []
    changed = case.a.repeat(len(case.a), 1, 1, 1)
    for k in range(len(case.a)):
        low = changed.min()
        changed[k, k] = 0 if low == 0 else low - 1e7
        drops.append((y - case.tail(changed[k])) / y)
    return relu(weighted(drops, case.a))


def centred(values):
    """pytorch-grad-cam: of the activations minus their means, with the sign that LAPACK happens to give."""
    samples = values.flatten(1).T.numpy()
    samples = samples - samples.mean(0)
    _, _, directions = np.linalg.svd(samples, full_matrices=True)
    return torch.from_numpy(samples @ directions[0]).view(values.shape[1:])


def share_of_outliers(case):
    """pytorch-grad-cam: activations weighted by the share of outliers, where FEM weights outliers by the mean."""
    a = case.a
    outliers = a > a.mean((1, 2), keepdim=True) + 2 * a.std((1, 2), correction=0, keepdim=True)
    return weighted(outliers.double().mean((1, 2)), a)


def weighted_by_confidence(case):
    """pytorch-grad-cam: γ = 1, and the three classes weighted by their probabilities, through which it derives."""
    logits = case.net(case.x)[0].detach()
    others = (logits - logits[case.target]).abs().argsort()[1:4]

    def contrast(a):
        y = case.net.tail(a[None])[0]
        confidence = y.softmax(0)[others]
        return (confidence * (y[case.target] - y[others])).sum() / confidence.sum()

    return relu(weighted(gradient(contrast, case.a).mean((1, 2)), case.a))


def times(factor):
    """The network with scores that are so many times as large."""

    def make():
        net = rectified()
        with torch.no_grad():
            net.tail[-1].weight.mul_(factor)
        return net

    return make


THEIRS = [
    ("gradcam++", times(0.01), epsilon_in_alpha),
    ("gradcam++", rectified, undivided_alpha),
    ("scorecam", times(30), corners_aligned),
    ("scorecam", times(30), normalised_before),
    ("iscam", times(30), strength_adds_up),
    ("ablationcam", smooth, far_below),
    ("eigencam", rectified, lambda case: centred(case.a)),
    ("eigengradcam", rectified, lambda case: centred(case.g * case.a)),
    ("fem", rectified, share_of_outliers),
    ("finercam", rectified, weighted_by_confidence),
]


@pytest.mark.parametrize(("method", "make", "theirs"), THEIRS)
def test_a_map_is_the_papers_and_not_the_other(method, make, theirs):
    torch.manual_seed(4)
    net = make().eval()
    x = images(1, 9, 7)
    found = class_activation_map(net, x, method, 3, "front").raw[0].double()
    case = Case(copy.deepcopy(net).double(), x.double(), 3)
    papers, other = ORACLES[method](case).detach(), theirs(case).detach()
    limit = float(papers.abs().max())
    assert limit > 0
    assert float((found - papers).abs().max()) < 1e-4 * limit
    assert float((found - other).abs().max()) > 1e-3 * limit, "on this network the two rules cannot be told apart"


SAME = ["gradcam", "xgradcam", "hirescam", "layercam", "elementwise", "shapleycam"]


@pytest.mark.parametrize("method", SAME)
def test_where_the_others_are_right_the_numbers_are_theirs(method):
    """The others' arithmetic, which is numpy over arrays of all images: they and we agree to rounding."""
    torch.manual_seed(4)
    net, x = rectified().eval(), images(2, 9, 7)
    a = net.front(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.tail(a)[:, 3].sum(), a)
    a, g = a.detach().numpy(), g.numpy()
    expected = {
        "gradcam": lambda: (g.mean((2, 3))[:, :, None, None] * a).sum(1),
        "xgradcam": lambda: ((g * a / (a.sum((2, 3))[:, :, None, None] + 1e-7)).sum((2, 3))[:, :, None, None] * a).sum(
            1
        ),
        "hirescam": lambda: (g * a).sum(1),
        "layercam": lambda: (np.maximum(g, 0) * a).sum(1),
        "elementwise": lambda: np.maximum(g * a, 0).sum(1),
        "shapleycam": lambda: (g.mean((2, 3))[:, :, None, None] * a).sum(1),  # behind straight pieces
    }[method]()
    found = class_activation_map(net, x, method, 3, "front").raw.relu()
    torch.testing.assert_close(found, torch.from_numpy(np.maximum(expected, 0)), rtol=1e-4, atol=1e-6)
