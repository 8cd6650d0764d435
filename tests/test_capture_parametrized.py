"""A layer whose weight is made anew at each call is a layer: what makes the weight is not."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.ao.quantization as quantization
from capture_oracle import cloned_outputs, equal_states, same, state_of
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, remove_spectral_norm, remove_weight_norm, spectral_norm

import viztool
from viztool.hooks import capture
from viztool.hooks.naming import kind_of, leaf_names, named_layers
from viztool.hooks.tail import TailPass
from viztool.models.folding import folded


def old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return torch.nn.utils.weight_norm(layer)


WAYS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "the older weight_norm": old_weight_norm,
    "the older spectral_norm": spectral_norm,
}
LEAVES = ["0", "1", "2", "3", "4", "5", "6", "7"]


def network(way: str) -> nn.Sequential:
    torch.manual_seed(0)
    norm = WAYS[way]
    net = nn.Sequential(
        norm(nn.Conv2d(3, 4, 3)),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        norm(nn.Conv2d(4, 5, 3)),
        nn.BatchNorm2d(5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        norm(nn.Linear(5, 3)),
    )
    for layer in (net[1], net[4]):
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2)
    return net.eval()


def plain(net: nn.Sequential) -> nn.Sequential:
    """The same network with weights that are simply there, as torch itself makes it."""
    twin = network(next(way for way in WAYS if way == net.way))
    twin.load_state_dict(net.state_dict())
    twin.eval()(torch.zeros(1, 3, 8, 8))
    for layer in twin:
        if parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
        elif "weight_g" in layer._parameters:
            remove_weight_norm(layer)
        elif "weight_orig" in layer._parameters:
            remove_spectral_norm(layer)
    return twin


@pytest.fixture(params=WAYS)
def net(request: pytest.FixtureRequest) -> nn.Sequential:
    found = network(request.param)
    found.way = request.param
    return found


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_the_layers_are_captured_and_not_what_makes_their_weights(net: nn.Sequential) -> None:
    twin = plain(net)
    expected = cloned_outputs(twin, lambda: twin(X))
    with capture(net) as acts:
        net(X)
    assert acts.layers == LEAVES == leaf_names(named_layers(net))
    for name in LEAVES:
        torch.testing.assert_close(acts[name], expected[name][0][0])
    with capture(net, "type:Conv2d") as convolutions:
        net(X)
    assert convolutions.layers == ["0", "3"]


def test_gradients_at_them_and_their_own_stay_as_they_were(net: nn.Sequential) -> None:
    weights = list(net.parameters())
    wanted = torch.autograd.grad(net(X)[:, 1].sum(), weights)
    with capture(net, "3", grads=True) as acts:
        found = torch.autograd.grad(net(X)[:, 1].sum(), [acts["3"], *weights])
    assert same(list(found[1:]), list(wanted))
    tail = TailPass(net, X, "3")
    torch.testing.assert_close(tail.gradients(tail.output[:, 1])["3"], acts.grad("3"))


def test_looks_at_one_in_training_say_what_the_plain_network_says_and_leave_it(net: nn.Sequential) -> None:
    net.train()
    net(X)  # a forward with grad leaves results in the network, which cannot be copied as they are
    twin = plain(net.eval())
    before = state_of(net.train())
    for method in ("gradcam", "scorecam", "ablationcam", "fullgrad"):
        mine, theirs = (viztool.class_activation_map(each, X, method, target=1) for each in (net, twin))
        torch.testing.assert_close(mine.raw, theirs.raw)
    assert [(row.name, row.type) for row in viztool.layer_table(net, X).rows] == [
        (row.name, row.type) for row in viztool.layer_table(twin, X).rows
    ]
    drawn = [
        viztool.visualize_kernels(viztool.wrap_model(each, size=16, mean=0.5, std=0.5), "3", [0], steps=2, size=16)
        for each in (net, twin)
    ]
    assert drawn[0].kernels[0].optimum.status == drawn[1].kernels[0].optimum.status
    if "older" not in net.way:  # these write the weight that they make at each forward, whoever runs it
        assert equal_states(state_of(net), before)


def test_batch_norms_are_folded_into_what_is_plain_and_the_network_keeps_its_weights(net: nn.Sequential) -> None:
    both = nn.Sequential(net, nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4)).eval()
    both[2].running_mean.normal_()
    net[6], net[7] = nn.Identity(), nn.Conv2d(5, 3, 1)
    before = state_of(both)
    with torch.no_grad():
        private = folded(both, X)
        assert isinstance(private[2], nn.Sequential)
        assert isinstance(private[0][1], nn.BatchNorm2d)
        torch.testing.assert_close(private(X), both(X))
    if "older" not in net.way:
        assert equal_states(state_of(both), before)


@pytest.mark.filterwarnings("ignore:.*torch.ao.quantization:DeprecationWarning")
def test_a_network_prepared_for_training_in_integers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).train()
    net.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.prepare_qat(net, inplace=True)
    net(X)
    net.eval()
    with capture(net) as acts:
        output = net(X)
    assert acts.layers == ["0", "1", "2"]
    assert same(acts["2"], output)


def test_the_kind_of_a_parametrized_layer_is_that_of_the_layer() -> None:
    assert kind_of(parametrizations.weight_norm(nn.Conv2d(1, 1, 1))) == "Conv2d"
    assert kind_of(nn.Conv2d(1, 1, 1)) == "Conv2d"
    twice = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(2, 2)))
    assert kind_of(twice) == "Linear"


def test_a_weight_that_the_network_itself_asks_for() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.code = parametrizations.orthogonal(nn.Linear(3, 3, bias=False))

        def forward(self, x: Tensor) -> Tensor:
            return self.code(x) @ self.code.weight

    net, x = Tied().eval(), torch.randn(2, 3)
    with capture(net) as acts:
        output = net(x)
    assert acts.layers == ["code"]
    torch.testing.assert_close(output, x)
