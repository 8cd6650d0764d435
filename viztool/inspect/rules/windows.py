"""Convolutions, poolings, resizing and padding: functions that work along spatial dims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from viztool.inspect import windows as along
from viztool.inspect.lattice import Dim, Lattice, Whole, Windows
from viztool.inspect.rules.base import Call, LostFieldError, Rule, TensorFields, of_one, through, without

_MOST_EXACT_RATIO = 1000  # a scale factor that is no such fraction does not repeat in any picture


def convolution(
    call: Call,
    weight: Any,
    _bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    *_args: Any,
    **_kwargs: Any,
) -> TensorFields:
    kernel = tuple(weight.shape[2:])
    rank = len(kernel)
    dilations = _each(dilation, rank)
    if padding == "same":  # what is odd is added at the end
        paddings = tuple(step * (size - 1) // 2 for size, step in zip(kernel, dilations, strict=True))
    else:
        paddings = _each(0 if padding == "valid" else padding, rank)
    moved = map(along.sliding, kernel, _each(stride, rank), paddings, dilations)
    return _over_channels(call, list(moved))


def transposed_convolution(
    call: Call,
    weight: Any,
    _bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    _output_padding: Any = 0,
    _groups: int = 1,
    dilation: Any = 1,
    **_kwargs: Any,
) -> TensorFields:
    kernel = tuple(weight.shape[2:])
    rank = len(kernel)
    moved = map(along.transposed, kernel, _each(stride, rank), _each(padding, rank), _each(dilation, rank))
    return _over_channels(call, list(moved))


def max_pool(
    call: Call,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    *_args: Any,
    rank: int,
    **_kwargs: Any,
) -> TensorFields:
    """With `ceil_mode` the last window may reach over the edge; the others stay where they are."""
    kernel = _each(kernel_size, rank)
    strides = kernel if stride is None or stride == [] else _each(stride, rank)
    moved = map(along.sliding, kernel, strides, _each(padding, rank), _each(dilation, rank))
    return _over_space(call, list(moved))


def average_pool(
    call: Call, kernel_size: Any, stride: Any = None, padding: Any = 0, *_args: Any, rank: int, **_kwargs: Any
) -> TensorFields:
    return max_pool(call, kernel_size, stride, padding, rank=rank)


def lp_pool(
    call: Call, _norm_type: float, kernel_size: Any, stride: Any = None, *_args: Any, rank: int, **_kwargs: Any
) -> TensorFields:
    return max_pool(call, kernel_size, stride, rank=rank)


def adaptive_pool(call: Call, *_args: Any, rank: int, **_kwargs: Any) -> TensorFields:
    """Down to one unit this is global pooling: that unit sees everything."""
    pooled: list[Windows | None] = [
        along.adaptive(before, after) if after > 1 else None
        for before, after in zip(call.shape[-rank:], call.outputs[0][-rank:], strict=True)
    ]
    return _over_space(call, pooled)


def interpolate(
    call: Call,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> TensorFields:
    rank = len(call.shape) - 2
    if mode == "area":
        return adaptive_pool(call, rank=rank)
    if antialias or mode not in _RESIZE:
        raise LostFieldError
    sizes = list(zip(call.shape[2:], call.outputs[0][2:], strict=True))
    if align_corners:
        ratios = [Fraction(before - 1, after - 1) if after > 1 else Fraction(1) for before, after in sizes]
    elif scale_factor is None or recompute_scale_factor:
        ratios = [Fraction(before, after) for before, after in sizes]
    else:
        ratios = [1 / _fraction(scale) for scale in _each(scale_factor, rank)]
    return _over_space(call, [_RESIZE[mode](ratio, align_corners=bool(align_corners)) for ratio in ratios])


_RESIZE: dict[str, Callable[..., Windows]] = {
    "nearest": lambda ratio, align_corners: along.nearest(ratio),
    "nearest-exact": lambda ratio, align_corners: along.nearest_exact(ratio),
    **dict.fromkeys(["linear", "bilinear", "trilinear"], partial(along.interpolated, cubic=False)),
    "bicubic": partial(along.interpolated, cubic=True),
}


def pad(call: Call, pad: Sequence[int], mode: str = "constant", *_args: Any, **_kwargs: Any) -> TensorFields:
    """Units before unit 0. Reflected ones see nothing new; circular ones see the other side of the picture."""
    dims = list(call.fields.dims)
    padded = [len(dims) - 1 - at for at in range(len(pad) // 2)]
    for at, start in zip(padded, pad[::2], strict=True):
        dims[at] = through(dims[at], along.shifted(-start))
    fields = call.fields.with_dims(dims)
    return fields.with_context(*(dims[at] for at in padded)) if mode == "circular" else fields


def pixel_shuffle(call: Call, upscale_factor: int) -> TensorFields:
    return _over_channels(call, [along.nearest(Fraction(1, upscale_factor))] * 2)


def pixel_unshuffle(call: Call, downscale_factor: int) -> TensorFields:
    return _over_channels(call, [along.sliding(downscale_factor, downscale_factor)] * 2)


def _over_space(call: Call, windows: Sequence[Windows | None]) -> TensorFields:
    """Each of the last dims through its windows; None stands for one window over everything."""
    dims = list(call.fields.dims)
    everything: list[Dim] = []
    for at, window in enumerate(windows, len(dims) - len(windows)):
        if window is None:
            everything.append(dims[at])
            dims[at] = _pooled(dims[at])
        else:
            dims[at] = through(dims[at], window)
    fields = call.fields.with_dims(dims)
    return fields.with_context(*everything) if everything else fields


def _over_channels(call: Call, windows: Sequence[Windows]) -> TensorFields:
    """The same, where the dim before them is mixed: nearly always channels."""
    fields = _over_space(call, windows)
    at = len(fields.dims) - len(windows) - 1
    mixed = fields.dims[at]
    return fields if mixed is None else without(fields, at)


def _pooled(dim: Dim) -> Dim:
    return Whole(dim.axis) if isinstance(dim, Lattice | Whole) else None


def _each(value: Any, rank: int) -> tuple[Any, ...]:
    if isinstance(value, tuple | list):
        return tuple(value) * rank if len(value) == 1 else tuple(value)
    return (value,) * rank


def _fraction(scale: float) -> Fraction:
    simple = Fraction(scale).limit_denominator(_MOST_EXACT_RATIO)
    if float(simple) != scale:
        raise LostFieldError
    return simple


def _by_rank(*names: str, rule: Callable[..., TensorFields]) -> dict[str, Rule]:
    return {
        name.format(rank) + suffix: of_one(partial(rule, rank=rank))
        for name in names
        for rank in (1, 2, 3)
        for suffix in ("", "_with_indices")
    }


RULES: dict[str, Rule] = {
    **dict.fromkeys(["conv1d", "conv2d", "conv3d"], of_one(convolution)),
    **dict.fromkeys([f"conv_transpose{rank}d" for rank in (1, 2, 3)], of_one(transposed_convolution)),
    **_by_rank("max_pool{}d", rule=max_pool),
    **_by_rank("avg_pool{}d", rule=average_pool),
    **_by_rank("lp_pool{}d", rule=lp_pool),
    **_by_rank("adaptive_avg_pool{}d", "adaptive_max_pool{}d", rule=adaptive_pool),
    "interpolate": of_one(interpolate),
    **dict.fromkeys(["pad", "constant_pad_nd"], of_one(pad)),
    "pixel_shuffle": of_one(pixel_shuffle),
    "pixel_unshuffle": of_one(pixel_unshuffle),
}
