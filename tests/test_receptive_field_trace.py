"""Every kind of operation against gradients, and what must be lost rather than guessed."""

from __future__ import annotations

import gc
import weakref
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from receptive_field_oracle import box, windows_averaged
from torch import nn

from viztool.inspect import FieldTracer
from viztool.inspect.lattice import Lattice
from viztool.inspect.rules import RULES
from viztool.inspect.rules.pointwise import _OF_ONE, _OF_SEVERAL

SHAPE = (1, 4, 16, 13)


def traced(fn, *shape, value=None):
    """The tracer and what `fn` made of an input of this shape."""
    x = torch.ones(shape or SHAPE) if value is None else value
    with torch.no_grad(), FieldTracer(nn.Module(), x) as fields:
        y = fn(x)
    return fields, y


def field(fn, *shape):
    fields, y = traced(fn, *shape)
    return fields.of(y)


def weight(*shape):
    return nn.Parameter(torch.full(shape, 0.1))


def pad_same(x, kernel, stride):
    """SAME padding as TensorFlow has it: what is odd goes to the end."""
    sides = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[-2:]]
    return F.pad(x, [sides[1] // 2, sides[1] - sides[1] // 2, sides[0] // 2, sides[0] - sides[0] // 2])


def temporal_buffer(x):
    y = torch.zeros_like(x)
    y[:, :2, 1:] = x[:, :2, :-1]
    y[:, 2:] = x[:, 2:]
    return y


def batch_buffer(x):
    y = x.new_full((2, 4, 20, 20), 0.0)
    y[1, :, 2 : 2 + x.shape[2], : x.shape[3]].copy_(x[0])
    return F.conv2d(y, weight(1, 4, 3, 3), stride=2)[1:]


def channels_last_buffer(x):
    y = torch.zeros(1, 18, 13, 4).permute(0, 3, 1, 2)
    y[:, :, 2:] = F.avg_pool2d(x, 3, 1, 1)
    return y


def view_shuffle(x):
    """Sub-pixel upsampling as one writes it with views: (C·r², H, W) → (C, H·r, W·r)."""
    n, c, h, w = x.shape
    return x.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


def space_to_depth(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w, 1).permute(0, 3, 5, 1, 2, 4).reshape(n, 2 * c, h // 2, w)


def split_and_add(x):
    left, right = x.chunk(2, dim=1)
    return torch.cat([left, F.conv2d(right, weight(2, 2, 3, 3), padding=1)], dim=1)


def halves(x):
    top, bottom = x.split([8, 8], dim=2)
    return top + bottom


def in_place(x):
    y = F.conv2d(x, weight(4, 4, 3, 3), padding=1)
    y += x
    y.add_(F.avg_pool2d(x, (5, 1), 1, (2, 0)))
    return F.relu(y, inplace=True)


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


OPERATIONS = {
    "conv": lambda x: F.conv2d(x, weight(2, 4, 3, 5), stride=(2, 1), padding=(1, 2)),
    "conv, dilated": lambda x: F.conv2d(x, weight(2, 4, 3, 2), dilation=(2, 3), padding=1),
    "conv, depthwise": lambda x: F.conv2d(x, weight(4, 1, 3, 3), groups=4),
    "conv, same": lambda x: F.conv2d(x, weight(2, 4, 4, 3), padding="same", dilation=(1, 2)),
    "conv, valid": lambda x: F.conv2d(x, weight(2, 4, 3, 3), padding="valid"),
    "conv, keyword": lambda x: torch.conv2d(input=x, weight=weight(2, 4, 3, 3), stride=[2]),
    "custom autograd function": lambda x: Twice.apply(F.avg_pool2d(x, 3, 1)),
    "SAME": lambda x: F.conv2d(pad_same(x, 5, 2), weight(1, 4, 5, 5), stride=2),
    "transposed conv": lambda x: F.conv_transpose2d(x, weight(4, 2, 2, 2), stride=2),
    "transposed conv, overlapping": lambda x: F.conv_transpose2d(x, weight(4, 2, 3, 4), stride=2, padding=1),
    "transposed conv, dilated": lambda x: F.conv_transpose2d(x, weight(4, 2, 3, 3), stride=2, padding=2, dilation=2),
    "transposed conv, then conv": lambda x: F.conv2d(
        F.conv_transpose2d(x, weight(4, 2, 3, 3), None, 2, 1, 1), weight(1, 2, 2, 2)
    ),
    "max pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "max pool, ceil": lambda x: F.max_pool2d(x, 3, stride=2, ceil_mode=True),
    "max pool, dilated": lambda x: F.max_pool2d(x, (2, 3), 1, 0, (2, 1)),
    "max pool module": lambda x: nn.MaxPool2d(2)(x),
    "avg pool": lambda x: F.avg_pool2d(x, (2, 3)),
    "lp pool": lambda x: F.lp_pool2d(x, 2.0, 3, 2),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (4, None)),
    "adaptive pool, uneven": lambda x: F.adaptive_avg_pool2d(x, (5, 5)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest, then conv": lambda x: F.conv2d(F.interpolate(x, scale_factor=2), weight(1, 4, 3, 3), padding=1),
    "nearest, down": lambda x: F.interpolate(x, size=(8, 9)),
    "nearest-exact": lambda x: F.interpolate(x, size=(24, 26), mode="nearest-exact"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"),
    "bilinear, uneven": lambda x: F.interpolate(x, size=(24, 26), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, size=(31, 25), mode="bilinear", align_corners=True),
    "bicubic": lambda x: F.interpolate(x, scale_factor=(2, 4), mode="bicubic"),
    "area": lambda x: F.interpolate(x, size=(8, 13), mode="area"),
    "scale that does not fit": lambda x: F.interpolate(x, scale_factor=1.3),
    "scale that is made to fit": lambda x: F.interpolate(x, scale_factor=1.3, recompute_scale_factor=True),
    "upsample module": lambda x: nn.Upsample(scale_factor=3, mode="nearest")(x),
    "down and up": lambda x: F.interpolate(F.avg_pool2d(x, (2, 1)), size=x.shape[2:], mode="bilinear") + x,
    "pad": lambda x: F.conv2d(F.pad(x, (2, 0, 1, 3)), weight(1, 4, 3, 3)),
    "pad module": lambda x: F.avg_pool2d(nn.ZeroPad2d((1, 0, 2, 0))(x), 2),
    "reflection pad": lambda x: F.avg_pool2d(nn.ReflectionPad2d(1)(x), 3, 1),
    "crop": lambda x: x[:, :, 2:-1, 3:],
    "crop, negative pad": lambda x: F.pad(x, (-2, -1, -3, 0)),
    "slices with steps": lambda x: x[..., 1::2, ::3],
    "patch merging": lambda x: torch.cat([x[:, :, 0::2], x[:, :, 1::2]], 1),
    "narrow": lambda x: x.narrow(2, 3, 9),
    "halves": halves,
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel shuffle by views": view_shuffle,
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x[..., :12], 2),
    "space to depth by views": space_to_depth,
    "channel shuffle": lambda x: x.view(1, 2, 2, 16, 13).transpose(1, 2).contiguous().view(1, 4, 16, 13),
    "channel shuffle function": lambda x: F.channel_shuffle(x, 2),
    "channels gathered": lambda x: x[:, [2, 0]] + x[:, torch.tensor([1, 3])] + x.index_select(1, torch.tensor([0, 1])),
    "split, conv, cat": split_and_add,
    "stack": lambda x: torch.stack([x, F.avg_pool2d(x, 3, 1, 1)]).sum(0),
    "unbind": lambda x: sum(x.unbind(1)).unsqueeze(1),
    "iterated": lambda x: torch.stack([one for one in x]),  # noqa: C416
    "channel mean": lambda x: x.mean(1, keepdim=True) + x.sum(dim=1, keepdim=True).expand_as(x),
    "norm of channels": lambda x: x / x.norm(dim=1, keepdim=True) + x,
    "added": lambda x: F.conv2d(x, weight(4, 4, 3, 3), padding=1) + F.conv2d(x, weight(4, 4, 1, 5), padding=(0, 2)),
    "in place": in_place,
    "constants": lambda x: (1 - x) * -2 + torch.ones(4, 1, 1) * x + torch.zeros_like(x),
    "batch norm": lambda x: nn.BatchNorm2d(4).eval()(x),
    "as another": lambda x: F.avg_pool2d(x, 2).flatten(0, 1).view_as(F.avg_pool2d(x, 2)).type_as(x),
    "into a given tensor": lambda x: torch.add(
        x, 1.0, **({} if x.requires_grad else {"out": F.avg_pool2d(x, 3, 1, 1)})
    ),
    "there and back": lambda x: x.flatten(0, 1).unflatten(0, (1, 4)).squeeze(0)[None].movedim(1, 3).movedim(-1, 1),
    "written": temporal_buffer,
    "written into a batch": batch_buffer,
    "written into channels last": channels_last_buffer,
    "functional chain": lambda x: F.dropout(F.gelu(F.leaky_relu(F.hardswish(x))), training=False).clamp(0).float(),
}


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_sees_the_pixels_with_a_gradient(name):
    """Exactly, wherever the field is inside the picture; nothing more, where it reaches over the edge."""
    operation = OPERATIONS[name]
    fields, y = traced(operation)
    axes = fields.axes(y)
    assert fields.of(y) is not None
    assert not fields.of(y).global_context
    x = torch.ones(SHAPE, requires_grad=True)
    with mock.patch("torch.nn.functional.max_pool2d", windows_averaged):
        y = operation(x)
    inside = 0
    for i in range(y.shape[2]):
        for j in range(y.shape[3]):
            (gradient,) = torch.autograd.grad(y[0, :, i, j].sum(), x, retain_graph=True)
            if not gradient.any():
                continue
            for seen, axis, unit, extent in zip(box(gradient[0]), axes, (i, j), SHAPE[2:], strict=True):
                first, end = axis.span(unit)
                if first >= 0 and end <= extent:
                    assert seen == (first, end)
                    inside += 1
                else:
                    assert first <= seen[0]
                    assert seen[1] <= end
    assert inside > 40


CHANNELS_LAST = {
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "layer norm over channels": lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (4,)),
    "linear": lambda x: F.gelu(F.linear(x.permute(0, 2, 3, 1), weight(6, 4))),
    "matmul": lambda x: torch.permute(x, (0, 2, 3, 1)) @ torch.ones(4, 2),
    "transposes": lambda x: x.transpose(1, 2).swapaxes(-1, -2),
}


@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_axes_are_followed_wherever_they_go(name):
    found = field(lambda x: CHANNELS_LAST[name](F.conv2d(x, weight(4, 4, 3, 5), stride=(2, 1))))
    assert (found.size, found.stride, found.offset) == ((3, 5), (2, 1), (0, 0))
    assert not found.global_context


CONTEXT = {
    "squeeze and excitation": lambda x: x * F.adaptive_avg_pool2d(x, 1).sigmoid(),
    "excitation by linear": lambda x: x * F.linear(x.mean((2, 3)), weight(4, 4)).view(1, 4, 1, 1),
    "excitation by views": lambda x: x * x.view(1, 4, -1).mean(2)[:, :, None, None].expand_as(x),
    "excitation by a pooling as large as the map": lambda x: x * F.avg_pool2d(x, x.shape[2:]),
    "the same by views": lambda x: x * F.avg_pool2d(x, x.shape[2:]).flatten(1).view(1, 4, 1, 1),
    "a row for all": lambda x: x + x[:, :, 3, None],
    "excitation of channels by conv1d": lambda x: (
        x * F.conv1d(x.mean((2, 3)).unsqueeze(1), weight(1, 1, 3), padding=1).view(1, 4, 1, 1)
    ),
    "pooled branch": lambda x: torch.cat([x, F.interpolate(F.adaptive_avg_pool2d(x, 1), size=x.shape[2:])], 1),
    "global response norm": lambda x: x * (x.norm(dim=(2, 3), keepdim=True) / 4) + x,
    "maximum": lambda x: x - x.amax((2, 3), keepdim=True),
    "group norm": lambda x: F.group_norm(x, 2),
    "instance norm": lambda x: F.instance_norm(x),
    "layer norm over space": lambda x: F.layer_norm(x, x.shape[1:]),
    "layer norm over rows": lambda x: F.layer_norm(x.transpose(1, 3), (x.shape[2], 4)),
    "batch norm in training mode": lambda x: nn.BatchNorm2d(4)(x),
    "softmax over rows": lambda x: x.softmax(2),
    "dynamic conv": lambda x: F.conv2d(x, weight(4, 4, 1, 1) * x.mean()),
    "circular padding": lambda x: nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular")(x)[..., 1:-1, 1:-1],
}


@pytest.mark.parametrize("name", CONTEXT)
def test_global_context_is_told_and_does_not_widen_the_field(name):
    found = field(lambda x: CONTEXT[name](F.conv2d(x, weight(4, 4, 5, 3))))
    assert found.global_context
    assert not found.everything
    grown = 2 if name == "circular padding" else 0
    assert found.size == (5 + grown, 3 + grown)
    assert found.stride == (1, 1)


@pytest.mark.parametrize(
    "pooled",
    [
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: F.adaptive_max_pool2d(x, (1, 1)),
        lambda x: x.mean((-1, -2), keepdim=True),
        lambda x: F.conv2d(x.mean([2, 3], True), weight(2, 4, 1, 1)),
        lambda x: F.layer_norm(F.adaptive_avg_pool2d(x, 1).permute(0, 2, 3, 1), (4,)),
        lambda x: F.adaptive_avg_pool2d(x, 1).view(1, 2, 2, 1, 1).transpose(1, 2).reshape(1, 4, 1, 1),
    ],
)
def test_behind_global_pooling_a_unit_sees_everything(pooled):
    found = field(pooled)
    assert (found.size, found.stride, found.offset) == ((16, 13), (16, 13), (0, 0))
    assert found.everything
    assert found.global_context
    assert str(found) == "everything"


def test_pooled_along_one_axis_only():
    found = field(lambda x: F.avg_pool2d(x, (1, 3)).mean(2, keepdim=True))
    assert (found.size, found.stride) == ((16, 3), (16, 3))
    assert found.global_context
    assert not found.everything


def through_numpy(x):
    return x + torch.from_numpy(x.numpy()[..., ::-1].copy())


def through_a_list(x):
    return x + torch.tensor(x.tolist()).roll(5, 3)


def stale_view(x):
    """The view was taken before its base was overwritten by something that sees more."""
    base = x.clone()
    view = base[:, :, 2:]
    base.copy_(F.avg_pool2d(x, 5, 1, 2))
    return view


def stale_base(x):
    base = x.clone()
    base[:, :, ::2].add_(F.avg_pool2d(x, 5, 1, 2)[:, :, ::2])
    return base


def masked_by_neighbours(x):
    y = x.clone()
    y[F.avg_pool2d(x, 3, 1, 1) > 0.7] = 0
    return y


def scattered(x):
    y = torch.zeros_like(x)
    y[torch.ones(SHAPE) > 0] = x.flatten()
    return y


def rows_scattered(x):
    y = torch.zeros_like(x)
    y[:, :, [5, 2]] = x[:, :, :2]
    return y


def interleaved(x):
    y = torch.zeros_like(x)
    y[:, :, ::2] = F.avg_pool2d(x, 5, 1, 2)[:, :, ::2]
    return y + x


def unknown_in_place(x):
    base = x.clone()
    base[:, :, 2:].cumprod_(2)
    return base


library = torch.library.Library("somebody", "FRAGMENT")
library.define("relu(Tensor x) -> Tensor")
library.impl("relu", lambda x: x.roll(1, 2), "CompositeExplicitAutograd")

LOST = {
    "attention": lambda x: (x.flatten(2).transpose(1, 2) @ x.flatten(2)).softmax(-1),
    "fused attention": lambda x: F.scaled_dot_product_attention(x, x, x),
    "multi-head attention": lambda x: nn.MultiheadAttention(4, 2)(*[x.flatten(2).permute(2, 0, 1)] * 3)[0],
    "einsum": lambda x: torch.einsum("nchw,nchv->ncwv", x, x),
    "tokens": lambda x: x.flatten(2),
    "tokens, and back": lambda x: x.flatten(2).reshape(x.shape),
    "flattened": lambda x: F.linear(x.flatten(1), weight(5, 832)),
    "windows": lambda x: x.view(1, 4, 4, 4, 13, 1).permute(0, 2, 1, 3, 4, 5).reshape(4, 4, 4, 13),
    "unfold": lambda x: F.fold(F.unfold(x, 3, padding=1), (16, 13), 3, padding=1),
    "grid sample": lambda x: F.grid_sample(
        x, F.affine_grid(torch.eye(2, 3)[None], x.shape, False), align_corners=False
    ),
    "roll": lambda x: x.roll(3, 2),
    "flip": lambda x: x.flip(-1),
    "sort": lambda x: x.sort(2).values,
    "gathered rows": lambda x: x[:, :, [4, 2, 1]],
    "mask": lambda x: x[x > 0].view(x.shape),
    "joined along space": lambda x: torch.cat([x, x], 3),
    "turned and added": lambda x: x[..., :13, :13] + x[..., :13, :13].mT,
    "strides that do not fit": lambda x: x[:, :, ::2] + x[:, :, 4:12],
    "half of a block": lambda x: x.view(1, 4, 8, 2, 13)[:, :, :, 0],
    "first of a block": lambda x: x.view(1, 4, 8, 2, 13)[:, :, :, :1].squeeze(3),
    "halves of blocks": lambda x: x.view(1, 4, 8, 2, 13).chunk(2, 3)[0].flatten(1, 1)[:, :, :, 0],
    "rolled as one": lambda x: x.roll(3, ()),
    "half of a block by pooling": lambda x: F.avg_pool3d(x.view(1, 4, 8, 2, 13), 1, (1, 2, 1)).squeeze(3),
    "two gathers": lambda x: x[:, [0, 1], [2, 3]],
    "rows as channels": lambda x: F.conv2d(x.transpose(1, 2), weight(16, 16, 1, 1)),
    "a scale that never fits": lambda x: F.interpolate(x, scale_factor=2**0.5),
    "one row enlarged to its corners": lambda x: F.interpolate(
        x[:, :, :1], size=(4, 13), mode="bilinear", align_corners=True
    ),
    "kernels from the picture": lambda x: F.conv2d(x, x[:, :, :3, :3]),
    "antialiased": lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True),
    "one row": lambda x: x[:, :, 3],
    "scripted": lambda x: x + torch.jit.trace(lambda t: t.roll(3, 2), x, check_trace=False)(x),
    "numpy": through_numpy,
    "a list": through_a_list,
    "masked by neighbours": masked_by_neighbours,
    "scattered": scattered,
    "rows scattered": rows_scattered,
    "interleaved": interleaved,
    "unknown, in place, through a view": unknown_in_place,
    "somebody's relu": lambda x: torch.ops.somebody.relu(x),
    "kernels from the picture alone": lambda x: F.conv2d(torch.ones(SHAPE), x[:, :, :3, :3]),
    "matrix from the left": lambda x: torch.ones(16, 16) @ x,
    "stale view": stale_view,
    "stale base": stale_base,
    "data": lambda x: setattr(y := x.clone(), "data", x.roll(1, 2)) or y,
    "unregistered": lambda x: x + OUTSIDE,
}
OUTSIDE = torch.zeros(SHAPE)


@pytest.mark.filterwarnings("ignore:.torch.jit")
@pytest.mark.parametrize("name", LOST)
def test_lost_rather_than_guessed(name):
    fields, y = traced(lambda x: LOST[name](F.relu(x)))
    assert fields.of(y) is None


@pytest.mark.parametrize("name", ["fused attention", "roll", "numpy", "grid sample"])
def test_what_is_made_from_the_lost_is_lost(name):
    assert field(lambda x: F.conv2d(x + LOST[name](x), weight(1, 4, 3, 3))) is None


def test_constants_have_no_field():
    fields, y = traced(lambda x: torch.zeros_like(x) + weight(4, 1, 1))
    assert fields.of(y) is None


def call(name, *tensors):
    """Call the function of torch, torch.nn.functional or Tensor that a rule is for."""
    home = next(home for home in (torch.Tensor, F, torch, torch._C._nn) if hasattr(home, name))
    return getattr(home, name)(*tensors)


SHAPES = {"dropout1d": (5, 7, 3), "dropout3d": (2, 5, 7, 3, 2)}
MORE = {
    "prelu": (torch.ones(1),),
    "type": (torch.float64,),
    **dict.fromkeys(["threshold", "_threshold"], (0.1, 0.2)),
    **dict.fromkeys([name for name in _OF_ONE.split() if "dropout" in name], (0.5, False)),
}


@pytest.mark.parametrize("name", sorted(set(_OF_ONE.split()) - {"data.get", "cuda"}))
def test_every_function_that_is_called_pointwise_is(name):
    """It commutes with any change of places."""
    x = torch.rand(SHAPES.get(name, (2, 5, 7, 3)))
    if "not" in name or "invert" in name:
        x = x > 0.5
    order = torch.randperm(x.numel())

    def apply(value):
        return call(name, value, *MORE.get(name, ()))

    torch.testing.assert_close(apply(x.flatten()[order].view(x.shape)), apply(x).flatten()[order].view(x.shape))


def arguments(name, x, y):
    if name == "where":
        return x, x > 0.5, y
    if name == "masked_fill":
        return x, y > 0.5, 0.0
    if name in ("lerp", "addcmul", "addcdiv"):
        return x, y, y
    if name.startswith(("logical", "bitwise")) or name.strip("_").removeprefix("r") in ("and", "or", "xor"):
        return x > 0.5, y > 0.5
    return x, y


@pytest.mark.parametrize("name", sorted(set(_OF_SEVERAL.split()) - {"__itruediv__", "__idiv__"}))
def test_every_function_that_is_called_pointwise_of_two_is(name):
    x, y = torch.rand(2, 4, 6, 5), torch.rand(2, 4, 6, 5)
    order = torch.randperm(x.numel())
    moved = arguments(name, *(tensor.flatten()[order].view(x.shape) for tensor in (x, y)))
    plain = call(name, *arguments(name, x, y))
    torch.testing.assert_close(call(name, *moved), plain.flatten()[order].view(x.shape))


def test_every_rule_is_for_a_function_that_exists():
    homes = (torch.Tensor, F, torch, torch._C._nn, torch._C._linalg)
    missing = {
        name
        for name in RULES
        if not any(hasattr(home, name.removesuffix(".get")) for home in homes) and name.rstrip("_") not in RULES
    }
    assert missing == set()


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.rand(4, 1, 1))

    def forward(self, x):
        x = self.norm(self.first(x))
        return F.relu(x * self.scale + x, inplace=True)


def test_looking_changes_no_number():
    net, x = Branches().eval(), torch.rand(2, 3, 9, 9)
    with torch.no_grad():
        plain = net(x)
        with FieldTracer(net, x) as fields:
            looked = net(x)
    assert torch.equal(plain, looked)
    assert fields.of(looked).size == (3, 3)


def test_gradients_flow_as_without_it():
    net, x = Branches().eval(), torch.rand(2, 3, 9, 9)
    net(x).sum().backward()
    expected = net.first.weight.grad.clone()
    net.zero_grad()
    with FieldTracer(net, x) as fields:
        y = net(x)
        y.sum().backward()
    assert torch.equal(net.first.weight.grad, expected)
    assert fields.of(y).size == (3, 3)


def test_buffers_are_constants_and_other_tensors_are_not():
    net = Branches().eval()
    x = torch.rand(1, 3, 9, 9)
    with torch.no_grad(), FieldTracer(net, x) as fields:
        known = net(x)
        net.scale.copy_(torch.ones(4, 1, 1))
        still = net(x)
        net.scale.copy_(F.conv2d(x, weight(4, 3, 1, 1)).mean((0, 2, 3)).view(4, 1, 1))
        gated = net(x)
    assert fields.of(known) == fields.of(still) is not None
    assert not fields.of(still).global_context
    assert fields.of(gated).global_context


def test_no_tensor_is_kept_alive():
    x = torch.rand(1, 4, 8, 8)
    with torch.no_grad(), FieldTracer(nn.Module(), x) as fields:
        y = F.relu(x)
        gone = weakref.ref(y)
        del y
        gc.collect()
        assert gone() is None
        assert len(fields._known) == 1


def test_an_exception_of_the_network_comes_through_and_ends_the_block():
    x = torch.rand(1, 4, 8, 8)
    with pytest.raises(RuntimeError, match="size of tensor a"), FieldTracer(nn.Module(), x) as fields:
        x + torch.rand(1, 4, 8, 7)
    y = F.relu(x)
    assert fields.of(y) is None


def test_a_rule_that_fails_only_loses_the_field(monkeypatch):
    def broken(call, *args, **kwargs):
        raise ZeroDivisionError

    monkeypatch.setitem(RULES, "relu", broken)
    assert field(F.relu) is None


def test_clips_and_sound():
    clip = field(lambda x: F.max_pool3d(F.conv3d(x, weight(1, 2, 3, 5, 5), padding=1), 2), 1, 2, 8, 16, 16)
    assert (clip.size, clip.stride, clip.offset) == ((4, 6, 6), (2, 2, 2), (-1, -1, -1))
    sound = field(lambda x: F.avg_pool1d(F.conv1d(x, weight(1, 2, 3)), 4), 1, 2, 64)
    assert (sound.size, sound.stride, sound.offset) == ((6,), (4,), (0,))


def test_a_list_of_pictures():
    """As detection networks take them: (C, H, W) each, collected into a batch inside."""
    pictures = [torch.rand(3, 20, 30), torch.rand(3, 24, 28)]
    with torch.no_grad(), FieldTracer(nn.Module(), pictures) as fields:
        batch = pictures[0].new_zeros(2, 3, 32, 32)
        for place, picture in zip(batch, pictures, strict=True):
            place[:, : picture.shape[1], : picture.shape[2]].copy_(picture)
        y = F.conv2d(batch, weight(1, 3, 7, 7), stride=2, padding=3)
    assert (fields.of(y).size, fields.of(y).stride, fields.of(y).offset) == ((7, 7), (2, 2), (-3, -3))


def test_lines():
    found = field(lambda x: F.interpolate(F.group_norm(F.conv2d(x, weight(4, 4, 3, 3), padding=1), 2), scale_factor=2))
    assert str(found) == "3 × 3, stride 0.5 × 0.5, from −1.25, −1.25 + context"
    assert found.numbers == {
        "size": [3, 3],
        "stride": [0.5, 0.5],
        "offset": [-1.25, -1.25],
        "global_context": True,
        "everything": False,
    }


def test_lattice_of_each_axis():
    fields, y = traced(lambda x: F.max_pool2d(x, (3, 2)))
    assert fields.axes(y) == (Lattice(0, (0,), (3,), 3), Lattice(1, (0,), (2,), 2))
