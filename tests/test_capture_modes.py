"""evaluating(): each layer in evaluation mode inside, and in its own former mode afterwards."""

from __future__ import annotations

import pytest
from torch import nn

from viztool.hooks.evaluating import evaluating


class Stubborn(nn.Module):
    """Never leaves training mode by itself, as layers with a `train()` of their own may."""

    def train(self, mode: bool = True) -> Stubborn:
        raise AssertionError("train() must not be called")


@pytest.mark.parametrize("fails", [False, True])
def test_each_layer_gets_its_own_mode_back(fails: bool) -> None:
    net = nn.Sequential(nn.Sequential(nn.BatchNorm2d(2), nn.Dropout()), Stubborn(), nn.ReLU())
    net[0][0].training = False
    net[0].training = False
    before = [layer.training for layer in net.modules()]
    assert before == [True, False, False, True, True, True]
    try:
        with evaluating(net):
            assert not any(layer.training for layer in net.modules())
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert [layer.training for layer in net.modules()] == before
