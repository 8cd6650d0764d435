"""Layouts are followed once for each size of input, and remembered: also those of a forward that was cut short."""

from __future__ import annotations

import pytest
import torch
from atlas_helpers import small_net

from viztool.hooks import capture
from viztool.hooks.layout_memory import following
from viztool.hooks.layouts import Layouts
from viztool.tensors.layout import SECOND


@pytest.fixture
def begun(monkeypatch):
    """The layers that were followed."""
    names, enter = [], Layouts.enter

    def noted(self, *given):
        names.append(given[0])
        enter(self, *given)

    monkeypatch.setattr(Layouts, "enter", noted)
    return names


def forward(net, layers, size=(32, 36)):
    """One that ends with these layers."""
    x = torch.zeros(2, 3, *size)
    with torch.no_grad(), following(net, x, until=layers) as layouts, capture(net, layers, stop=True):
        net(x)
    return layouts


def test_one_that_is_cut_short_is_remembered_for_who_asks_for_the_same(begun):
    net = small_net()
    layouts = forward(net, ["1", "3"])
    assert begun == ["", "0", "1", "2", "3"]
    assert layouts.of("1") is SECOND
    assert forward(net, ["3", "1"]) is layouts
    assert len(begun) == 5
    assert forward(net, ["1", "5"]) is not layouts
    assert begun[5:] == ["", "0", "1", "2", "3", "4", "5"]
    assert forward(net, ["1", "3"], size=(36, 32)) is not layouts
    assert len(begun) == 17


def test_one_that_ran_to_its_end_does_for_all(begun):
    net, x = small_net(), torch.zeros(2, 3, 32, 36)
    with torch.no_grad(), following(net, x, until=["1"]) as layouts:
        net(x)
    count = len(begun)
    assert forward(net, ["1", "6"]) is layouts
    with following(net, x) as again:
        assert again is layouts
    assert len(begun) == count


def test_one_that_did_not_come_as_far_is_not_remembered(begun):
    net, x = small_net(), torch.zeros(2, 3, 32, 36)
    with torch.no_grad(), following(net, x, until=["6"]), capture(net, "1", stop=True):
        net(x)
    forward(net, ["6"])
    assert begun.count("") == 2
