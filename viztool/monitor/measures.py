"""What is measured of a tensor, on its device: small pure functions, each of a few numbers, that read nothing back.

They are sums and the like, so that the micro-batches of an accumulated step, and the processes of a distributed one,
can be put together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SAMPLE = 1 << 16
"""Numbers of an output that the dearer measures look at, evenly spaced over all images."""
_AT_ONCE = 1 << 24  # numbers of an output that are copied at a time
_UNITS, _VECTORS = 64, 256  # of a sample of features
_EDGE = 0.01
"""How near to a bound a value is saturated, as a share of the range: a sigmoid passes on 1 % of a gradient there."""


def moments(x: Tensor) -> Tensor:
    """(4,): how many values are not finite, how many there are, their mean, and the sum of squares about it.

    Not the sum of the squares themselves: where the mean is a thousand standard deviations, float32 has none of these
    left. `viztool.monitor.measured.joined` puts two of them together.
    """
    total = x.sum(dtype=torch.float32)
    count = torch.full((), x.numel(), dtype=torch.float32, device=x.device)
    mean = total / count
    near = mean.to(x.dtype)  # half precision takes off nothing but a number of its own without a loss
    parts = x.chunk(max(1, x.numel() // _AT_ONCE)) if x.ndim else [x]
    about = torch.stack([squares(part - near) for part in parts]).sum()
    about = (about - count * (mean - near.float()).square()).clamp_min(0)
    return torch.stack([not_finite(x, total), count, mean, about])


def squares(x: Tensor) -> Tensor:
    """The sum of the squares of all values."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32  # a norm is never of less digits than its input
    norm: Tensor = torch.linalg.vector_norm(x, dtype=wide)
    return norm.square().float()


def not_finite(x: Tensor, total: Tensor) -> Tensor:
    """How many values are NaN or infinite. total: their sum, which is no number if one of them is none."""
    # To count takes longer than all else, and on the CPU it costs nothing to look whether there is anything to count.
    if x.device.type == "cpu" and bool(torch.isfinite(total)):
        return torch.zeros((), dtype=torch.float32)
    return (~torch.isfinite(x)).sum(dtype=torch.float32).to(total.device)


def tops(x: Tensor) -> Tensor:
    """(C,): the largest value of each unit, over all images and places. x: (N, C, P).

    A unit behind a ReLU that is never above 0 in n images gets no gradient; no hit in n leaves it a rate of at most
    3 / n, with 95 % confidence (the rule of three: Hanley and Lippman-Hand 1983).
    """
    return x.amax(2).amax(0).float()


def spread(x: Tensor) -> Tensor:
    """(2,): the variance across images, and the mean square; x: a sample (n, C, P), two images or more.

    The root of their ratio is the share of an output that depends on the image; 0 for what is constant.
    """
    values = x.float()
    n = values.shape[0]
    across = (values - values.mean(0, keepdim=True)).square().sum() / (n - 1)
    return torch.stack([across, values.square().sum() / n])


def correlations(x: Tensor) -> Tensor:
    """(k, k): of the units of a sample (n, C, P), 0 of what does not vary. Of at most 64 units and 256 places."""
    vectors, centred = _about_mean(x)
    size = torch.linalg.vector_norm(centred, dim=0)
    varies = size > 1e-5 * torch.linalg.vector_norm(vectors, dim=0).clamp_min(1e-30)
    unit = torch.where(varies, centred / size.clamp_min(1e-30), 0)
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = unit.T @ unit
    return found


def covariances(x: Tensor) -> Tensor:
    """(k, k): the same, each unit by its size; their trace is 1."""
    _, centred = _about_mean(x)
    centred = centred / torch.linalg.vector_norm(centred).clamp_min(1e-30)
    with torch.autocast(x.device.type, enabled=False):
        found: Tensor = centred.T @ centred
    return found


def effective_rank(correlation: Tensor, images: float) -> Tensor:
    """(3,): in how many directions units vary, how many of them vary at all, and of how many images this is.

    The participation ratio of the eigenvalues of their correlations: (Σλ)² / Σλ² = k² / ‖R‖², between 1 (all units say
    the same) and k. Gao et al. 2017, eq. 4; no eigenvalues needed. Few images allow few directions whatever the
    features are: two of one place each, a single one.
    """
    live = (correlation.diagonal() > 0).sum(dtype=torch.float32)
    return torch.stack([directions(correlation), live, torch.full_like(live, images)])


def directions(covariance: Tensor) -> Tensor:
    """(): the participation ratio. Of what a layer is given, of covariances: it mixes its inputs by their size.

    What it puts out has few directions where this has.
    """
    found: Tensor = covariance.diagonal().sum().square() / covariance.square().sum().clamp_min(1e-30)
    return found


def _about_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of features, and the same about their mean."""
    some = _spaced(_spaced(x, 1, _UNITS), 2, max(1, _VECTORS // x.shape[0])).float()
    vectors = some.transpose(1, 2).flatten(0, 1)
    return vectors, vectors - vectors.mean(0)


def bounded_by_rank(layer: nn.Module) -> bool:
    """Whether a place of its output is made of the same place of its input, and of nothing else."""
    if isinstance(layer, nn.modules.conv._ConvNd):
        return all(size == 1 for size in layer.kernel_size)
    return not isinstance(layer, nn.RNNBase)


def drift_of_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """How far the running statistics of a normalisation layer are from those of its input, in standard deviations.

    x: its input (N, C, P). The median over channels of |μ − μ_running| / σ + |ln(σ / σ_running)|, σ the larger of both:
    what evaluation mode sees, beside what training saw (Ioffe and Szegedy 2015, section 3.1).
    """
    mean, running = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor) and isinstance(running, Tensor)
    eps = float(getattr(norm, "eps", 1e-5))
    values = x.float()
    batch_mean = values.mean((0, 2))
    batch_sd = ((values - batch_mean[:, None]).square().mean((0, 2)) + eps).sqrt()
    sd = (running.float() + eps).sqrt()
    shift = (batch_mean - mean.float()).abs() / torch.maximum(batch_sd, sd)
    return (shift + (batch_sd / sd).log().abs()).median()


Bounded = Callable[[Tensor], Tensor]

_BOUNDS: dict[type[nn.Module], tuple[float | None, float | None]] = {
    nn.Sigmoid: (0.0, 1.0),
    nn.Tanh: (-1.0, 1.0),
    nn.Hardsigmoid: (0.0, 1.0),
    nn.Softsign: (-1.0, 1.0),
    nn.ReLU6: (None, 6.0),  # its floor is half of what it is for
}


def bounds_of(layer: nn.Module) -> tuple[float | None, float | None] | None:
    """The floor and the ceiling of a bounded activation; None if it has neither."""
    if isinstance(layer, nn.Hardtanh) and not isinstance(layer, nn.ReLU6):
        return float(layer.min_val), float(layer.max_val)
    return next((bounds for kind, bounds in _BOUNDS.items() if isinstance(layer, kind)), None)


def saturated(x: Tensor, low: float | None, high: float | None) -> Tensor:
    """(2,): how many values of a sample lie within 1 % of a bound, and how many there are."""
    reach = _EDGE * ((high or 0.0) - (low or 0.0))
    at_edge = torch.zeros_like(x, dtype=torch.bool)
    if low is not None:
        at_edge |= x <= low + reach
    if high is not None:
        at_edge |= x >= high - reach
    return torch.stack([at_edge.sum(dtype=torch.float32), torch.full((), x.numel(), device=x.device)])


def decided(attention: Tensor) -> Tensor:
    """(2,): how many rows of a softmax (..., T) give more than 99 % to one place, and how many rows there are."""
    most = attention.float().amax(-1)
    return torch.stack([(most > 1 - _EDGE).sum(dtype=torch.float32), torch.full((), most.numel(), device=most.device)])


def attention_of(layer: nn.MultiheadAttention, query: Tensor, key: Tensor) -> Tensor | None:
    """The attention of a few images, (n, heads, T, S), which the layer itself does not tell; no mask is asked for."""
    if layer.in_proj_weight is None or query.ndim != 3 or key.ndim != 3:
        return None
    if not layer.batch_first:
        query, key = query.transpose(0, 1), key.transpose(0, 1)
    width = layer.embed_dim
    weight, bias = layer.in_proj_weight.float(), layer.in_proj_bias
    with torch.autocast(query.device.type, enabled=False):
        q = F.linear(query[:4, :64].float(), weight[:width], None if bias is None else bias[:width].float())
        k = F.linear(
            key[:4].float(), weight[width : 2 * width], None if bias is None else bias[width : 2 * width].float()
        )
        heads = [each.unflatten(-1, (layer.num_heads, -1)).transpose(1, 2) for each in (q, k)]
        scores = heads[0] @ heads[1].transpose(-1, -2) / heads[0].shape[-1] ** 0.5
    attention: Tensor = scores.softmax(-1)
    return attention


def sample_of(x: Tensor) -> Tensor:
    """An evenly spaced part of (N, C, P), at most about `SAMPLE` numbers: all images if there are few, all units."""
    images = _spaced(x, 0, 64)
    return _spaced(images, 2, max(1, SAMPLE // max(1, images.shape[0] * images.shape[1])))


def _spaced(x: Tensor, dim: int, count: int) -> Tensor:
    every = -(-x.shape[dim] // count)
    return x if every <= 1 else x[(slice(None),) * dim + (slice(None, None, every),)]
