"""Layers, precisions and devices of other kinds."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from capture_nets import GRAD_MODES, Lambda, Net, captured, message_of, small
from capture_oracle import cloned_outputs, retained_gradients, same
from torch import nn

from viztool.hooks import capture


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
