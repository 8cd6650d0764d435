"""Layers, precisions and devices of other kinds."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.ao.quantization as quantization
from capture_nets import GRAD_MODES, Lambda, Net, captured, message_of, small
from capture_oracle import cloned_outputs, retained_gradients, same
from torch import Tensor, nn
from torch.autograd import forward_ad

import viztool
from viztool.errors import TargetError
from viztool.hooks import capture
from viztool.hooks.replay import Replay


def test_a_layer_that_is_called_as_a_function_never_runs() -> None:
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = torch.randn(2, 3, 8)
    for mode in (nullcontext, torch.no_grad):
        with mode():
            net.eval()
            assert message_of(lambda: captured(net, x, ["self_attn.out_proj", "linear1"])) == (
                "selected, but never ran: 'self_attn.out_proj'; leave out what this forward does not use"
            )
            assert message_of(lambda: captured(net, x, "self_attn.out_proj")) == (
                "nothing was captured of 'self_attn.out_proj': "
                "the network did not run inside the block, or not these layers"
            )
            expected = cloned_outputs(net, lambda: net(x))
            acts = captured(net, x)
            assert sorted(acts.layers) == sorted(expected)
            assert all(same(acts[layer], expected[layer][0]) for layer in expected)


def test_keyword_arguments_reach_the_layer() -> None:
    net = Net(lambda net, x: net.layer(x, factor=3), layer=Lambda(lambda x, factor: x.mul_(factor)))
    x = torch.randn(3)
    expected = x * 3
    with capture(net, "layer", grads=True) as acts:
        net(x)
    assert same(acts["layer"], expected)
    assert same(x, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 1, 3)).to(dtype)
    x = torch.randn(2, 1, 7, 7, dtype=dtype)
    expected = cloned_outputs(net, lambda: net(x))
    with capture(net, grads=True) as acts:
        net(x).float().sum().backward()
    wanted = retained_gradients(net, lambda plain: plain(x).float().sum())
    for layer, calls in expected.items():
        assert same(acts[layer], calls[0])
        assert same(acts.grad(layer), wanted[layer][0])
        assert acts.grad(layer).dtype == dtype


def test_autocast() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True)).eval()
    x = torch.randn(2, 1, 7, 7)
    with torch.autocast("cpu", torch.bfloat16):
        expected = cloned_outputs(net, lambda: net(x))
        with capture(net, grads=True) as acts:
            net(x).float().sum().backward()
    assert all(same(acts[layer], calls[0]) for layer, calls in expected.items())
    assert acts["0"].dtype == torch.bfloat16
    assert acts.grad("0").dtype == torch.bfloat16


def test_a_network_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = small()
        for mode in GRAD_MODES:
            with mode(), capture(net) as acts:
                net(torch.empty(2, 1, 7, 7))
            assert [tuple(acts[layer].shape) for layer in acts] == [(2, 2, 5, 5), (2, 2, 5, 5), (2, 1, 3, 3)]


def test_pictures_in_a_list_are_pictures_too() -> None:
    net = Net(
        lambda net, pictures: net.last(net.conv(torch.stack(pictures))),
        conv=nn.Conv2d(3, 5, 1),
        last=Lambda(lambda x: x.permute(0, 2, 3, 1)),
    )
    pictures = [torch.randn(3, 8, 12), torch.randn(3, 8, 12)]
    with capture(net, ["conv", "last"], maps=True) as acts:
        net(pictures)
    assert acts["last"].shape == (2, 5, 8, 12)
    assert same(acts["last"], acts["conv"])


def _pairs() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    return net, torch.randn(5, 3)


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "vmap": lambda net, x: torch.func.vmap(net)(x),
    "jvp": lambda net, x: torch.func.jvp(net, (x,), (torch.ones_like(x),))[1],
    "grad": lambda net, x: torch.func.grad(lambda x: net(x).sum())(x),
}


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"copy": False}, {"detach": True}, {"reduce": torch.mean}])
@pytest.mark.parametrize("how", TRANSFORMS)
def test_what_runs_inside_a_transform_goes_on_and_is_refused_when_it_is_read(how: str, options: dict[str, Any]) -> None:
    net, x = _pairs()
    expected = TRANSFORMS[how](net, x)
    with capture(net, ["0", "1"], **options) as acts:
        found = TRANSFORMS[how](net, x)
    assert same(found, expected)
    assert message_of(lambda: acts["1"]) == (
        "layer '1' ran inside a transform of torch.func (vmap, jvp, grad), and its tensors ended with that; "
        "capture a forward outside of it"
    )


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("grads", [False, True])
def test_forward_mode_derivatives_go_through_a_capture(grads: bool) -> None:
    net, x = _pairs()
    tangent = torch.randn_like(x)
    expected = torch.func.jvp(net, (x,), (tangent,))[1]
    with capture(net, grads=grads) as acts, forward_ad.dual_level():
        found = forward_ad.unpack_dual(net(forward_ad.make_dual(x, tangent))).tangent
    assert same(acts["0"], net[0](x))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("mode", GRAD_MODES)
def test_nested_tensors(layout: torch.layout, mode: Callable[[], Any]) -> None:
    net, _ = _pairs()
    parts = [torch.randn(2, 3), torch.randn(4, 3)]
    with mode(), capture(net, grads=mode is torch.enable_grad) as acts:
        output = net(torch.nested.nested_tensor(parts, layout=layout))
    for index, part in enumerate(parts):
        torch.testing.assert_close(acts["0"].unbind()[index], net[0](part))
        torch.testing.assert_close(acts["1"].unbind()[index], net[0](part).relu())
    if mode is torch.enable_grad:
        sum(part.sum() for part in output.unbind()).backward()
        wanted = (net[0](parts[1]) > 0) * net[2].weight.sum(0)
        torch.testing.assert_close(acts.grad("0").unbind()[1], wanted)
    assert "nested" in repr(acts) or layout is torch.jagged


class Quantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True)
        self.last, self.head = nn.Conv2d(8, 6, 3, stride=2, padding=1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.relu(self.conv(self.quant(x))))
        return self.dequant(self.head(x.mean((2, 3))))


@pytest.fixture(scope="module")
def quantized() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    if "fbgemm" not in torch.backends.quantized.supported_engines:
        pytest.skip("no kernels for quantized layers on this machine")
    net, x = Quantized().eval(), torch.randn(2, 3, 32, 32)
    net.qconfig = quantization.get_default_qconfig("fbgemm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.prepare(net, inplace=True)
        net(x)
        quantization.convert(net, inplace=True)
    return net, x


def test_what_quantized_layers_put_out_is_kept_as_it_is(quantized: tuple[nn.Module, Tensor]) -> None:
    net, x = quantized
    hidden = net.conv(net.quant(x))
    with capture(net, grads=True) as acts:
        output = net(x)
    assert acts.layers == ["quant", "conv", "relu", "last", "head", "dequant"]
    assert torch.equal(acts["conv"].int_repr(), hidden.int_repr())
    assert torch.equal(acts["last"].int_repr(), net.last(net.relu(hidden)).int_repr())
    assert same(acts["dequant"], output)


def test_methods_without_gradients_look_at_quantized_layers_and_the_others_say_so(
    quantized: tuple[nn.Module, Tensor],
) -> None:
    net, x = quantized
    last = net.last(net.relu(net.conv(net.quant(x))))
    values = last.dequantize()
    maps = viztool.feature_maps(net, x, "last")
    assert all(np.array_equal(each.layers[0].maps, value.numpy()) for each, value in zip(maps, values, strict=True))

    def score(changed: Tensor) -> Tensor:
        again = torch.quantize_per_tensor(changed, last.q_scale(), last.q_zero_point(), last.dtype)
        return net.dequant(net.head(again.mean((2, 3))))[:, 1]

    rest = Replay(net, x, "last")
    assert torch.equal(rest(rest.activations), net(x))
    assert torch.equal(rest(torch.cat([values / 2, -values]))[:, 1], torch.cat([score(values / 2), score(-values)]))
    for method in ("ablationcam", "scorecam", "eigencam", "random"):
        assert viztool.class_activation_map(net, x, method, target=1, layer="last").raw.isfinite().all()
    for method in ("gradcam", "layercam", "shapleycam"):
        message = (
            "layer 'last' is quantized and has no gradient; take a method without (eigencam, scorecam, ablationcam) "
            "or the network as it was before"
        )
        look = partial(viztool.class_activation_map, net, x, method, target=1, layer="last")
        assert message_of(look) == message
    with pytest.raises(
        TargetError, match=r"^the score does not depend on the input by a gradient; take method='scorecam'"
    ):
        viztool.class_activation_map(net, x, "fullgrad", target=1)
