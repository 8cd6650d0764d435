"""Multiply-adds against their formulas; what has none is named, and never a silent zero."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from viztool import layer_table
from viztool.inspect import LayerTable
from viztool.inspect.macs import MacCounter

B, T, F, H = 4, 5, 6, 7
x = torch.rand(B, T, F)
vector = torch.rand(F)


class Layer(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def table(net: nn.Module, *inputs: Tensor) -> LayerTable:
    return layer_table(net, inputs[0] if len(inputs) == 1 else inputs)


RECURRENT = [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)]


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("kind", "gates"), RECURRENT)
def test_recurrent_layers(kind: type[nn.RNNBase], gates: int, device: str) -> None:
    """In each direction of each layer a step multiplies what comes in and the state by a matrix for each gate."""
    net = kind(F, H, num_layers=2, bidirectional=True, batch_first=True, device=device)
    found = table(net, x.to(device))
    assert found.macs == B * T * 2 * gates * H * ((F + H) + (2 * H + H))
    assert found.rows[0].macs == found.macs
    assert not found.uncounted


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projected_state() -> None:
    assert table(nn.LSTM(F, H, proj_size=3), x).macs == B * T * (4 * H * (F + 3) + 3 * H)


@pytest.mark.parametrize("lengths", [[5, 5, 5, 5], [5, 3, 2, 1]])
@pytest.mark.parametrize(("kind", "gates"), RECURRENT)
def test_packed_sequences_cost_their_steps(kind: type[nn.RNNBase], gates: int, lengths: list[int]) -> None:
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), batch_first=True)
    with torch.no_grad(), MacCounter() as macs:
        kind(F, H)(packed)
    assert macs.total == sum(lengths) * gates * H * (F + H)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_recurrent_cells(kind: type[nn.RNNCellBase], gates: int) -> None:
    assert table(kind(F, H), x[0]).macs == T * gates * H * (F + H)


def test_a_bilinear_layer() -> None:
    """For each output x W, and that times the other input."""
    with torch.no_grad(), MacCounter() as macs:
        nn.Bilinear(F, H, 3)(x, torch.rand(B, T, H))
    assert macs.total == B * T * 3 * (F * H + H)


@pytest.mark.parametrize(
    ("function", "products"),
    [
        (lambda x: x @ vector, B * T * F),
        (lambda x: torch.mv(x[0], vector), T * F),
        (lambda x: torch.addmv(x[0, :, 0], x[0], vector), T * F),
        (lambda x: vector @ vector, F),
        (lambda x: torch.vdot(vector, vector), F),
        (lambda x: torch.inner(x, vector), B * T * F),
        (lambda x: torch.baddbmm(x[..., :1], x, x.mT), B * T * T * F),
        (lambda x: torch.addbmm(x[0, :, :1], x, x.mT), B * T * T * F),
        (lambda x: torch.einsum("bij,bkj->bik", x, x), B * T * T * F),
        (lambda x: torch.einsum("bij,j->bi", x, vector), B * T * F),
        (lambda x: torch.einsum("bij,bij->", x, x), B * T * F),
        (lambda x: torch.tensordot(x, x, dims=([0, 1], [0, 1])), F * F * B * T),
        (lambda x: torch.nn.functional.scaled_dot_product_attention(x, x, x), 2 * B * T * T * F),
    ],
)
@pytest.mark.parametrize("grad", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_products(function: Callable[[Tensor], Tensor], products: int, grad: type[torch.no_grad]) -> None:
    with grad():
        found = table(Layer(function), x)
    assert (found.macs, found.uncounted) == (products, ())


def test_dynamically_quantised_layers() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it will go, and where to
        net = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(F, H)), {nn.Linear})
    assert table(net, x).macs == B * T * F * H


def test_a_deformable_convolution() -> None:
    with torch.no_grad(), MacCounter() as macs:
        DeformConv2d(4, 6, 3, groups=2)(torch.rand(1, 4, 8, 8), torch.rand(1, 18, 6, 6))
    assert macs.total == 6 * 36 * 2 * 9


def test_what_is_not_counted_is_named_in_every_layer_around_it() -> None:
    fourier = Layer(lambda x: torch.fft.rfft(x).abs())
    net = nn.Sequential(nn.Linear(F, F), nn.Sequential(fourier, nn.ReLU()), nn.ModuleList([nn.Tanh()]))
    net.forward = lambda x: net[1](net[0](x))
    found = table(net, x)
    named = {row.name: (row.macs, row.uncounted) for row in found.rows}
    lost = ("aten::_fft_r2c",)
    products = B * T * F * F
    assert named["0"] == (products, ())
    assert named["1"] == named["1.0"] == (0, lost)
    assert named["1.1"] == (0, ())
    assert (found.macs, found.uncounted) == (products, lost)
    assert found.numbers["uncounted"] == list(lost)
    lines = str(found).splitlines()
    assert lines[-1].split("  ")[-1] == "not counted: aten::_fft_r2c"
    assert f"more than {products}" in lines[-1]
    assert "more than 0" in lines[2]


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (lambda x: torch.cdist(x, x), "aten::_cdist_forward"),
        (lambda x: torch.linalg.inv(x[:, :4, :4]), "aten::linalg_inv_ex"),
        (lambda x: torch.sparse.mm(x[0].to_sparse(), x[0].T), "aten::_sparse_addmm"),
    ],
)
def test_other_products_without_a_formula(function: Callable[[Tensor], Tensor], operation: str) -> None:
    assert table(Layer(function), x).uncounted == (operation,)


def test_a_strangers_operation_is_not_taken_for_free() -> None:
    library = torch.library.Library("viztool_tests", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
    found = table(Layer(torch.ops.viztool_tests.twice), x)
    assert found.uncounted == ("viztool_tests::twice",)


def test_what_is_no_product_by_custom() -> None:
    unit = Layer(lambda x: nn.functional.normalize(x, dim=-1))
    layers = [nn.BatchNorm1d(T), nn.GELU(), nn.Softmax(-1), nn.AvgPool1d(2), nn.LayerNorm(3), unit]
    found = table(nn.Sequential(*layers, nn.Upsample(scale_factor=2)), x)
    assert (found.macs, found.uncounted) == (0, ())
