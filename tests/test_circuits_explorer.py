"""Circuits and relevance on the explorer's page: the numbers are those that were measured, and edges lead on."""

import numpy as np
import pytest
import torch
from circuit_nets import outputs, rebuilt
from explorer_browser import chromium
from torch import nn

import viztool
from viztool.attribution.arriving import arriving
from viztool.circuits.matrix import effects_on


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    return viztool.wrap_model(net.eval(), size=(32, 40), mean=0.5, std=0.25)


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(1)
    return np.kron(rng.integers(0, 256, (8, 10, 3), np.uint8), np.ones((5, 5, 1), np.uint8))


def test_all_edges_are_those_of_the_rebuilt_network(model, photo):
    x = model.preprocess(photo)
    found = effects_on(model, x, ["1", "3"])
    assert [(one.source, one.later, one.effects.shape) for one in found] == [("1", "3", (5, 6))]
    means = outputs(model.net, x, "1").mean((2, 3))[0]
    before = outputs(model.net, x, "3")[0].flatten(1)
    at = before.argmax(1)
    for channel in range(5):
        after = outputs(rebuilt(model.net, "1", [channel], means), x, "3")[0].flatten(1)
        slow = (before - after)[torch.arange(6), at]
        assert found[0].effects[channel] == pytest.approx(slow.tolist(), abs=1e-5 * float(before.max()))


@pytest.fixture(scope="module")
def tab(model, photo, tmp_path_factory):
    page = viztool.explore(model, photo, ["1", "3"], circuits=True)
    path = page.save(tmp_path_factory.mktemp("page") / "page.html")
    with chromium() as browser:
        browser.open(path, "#3/2/0/0")
        yield browser
        assert browser.errors == []


def edges(tab, kind):
    return tab.run(
        "kind => [...document.querySelectorAll('#circuit [data-edge]')].map(each => "
        "[each.dataset.edge, +each.dataset.effect]).filter(each => each[0].startsWith(kind))",
        f"{kind}/",
    )


def test_the_page_shows_them_and_one_walks_along(tab, model, photo):
    x = model.preprocess(photo)
    effects = effects_on(model, x, ["1", "3"])[0].effects
    order = np.argsort(-np.abs(effects[:, 2]), kind="stable")[:5]
    shown = edges(tab, "1")
    assert [name for name, _ in shown] == [f"1/{channel}" for channel in order]
    assert [effect for _, effect in shown] == pytest.approx([effects[at, 2] for at in order], rel=1e-3)
    relevance = arriving(model, x, ["3"])["3"][0].double().sum((1, 2))
    own = tab.run("() => ({...document.getElementById('relevance').dataset})")
    assert float(own["value"]) == pytest.approx(float(relevance[2]), rel=1e-3)
    assert int(own["rank"]) == 1 + int((relevance > relevance[2]).sum())

    tab.run("() => document.querySelector('#circuit [data-edge]').click()")
    layer, channel, row, column = tab.place()
    assert (layer, channel) == ("1", order[0])
    maps = outputs(model.net, x, "1")[0, channel]
    assert divmod(int(maps.argmax()), maps.shape[1]) == (row, column)  # where it is largest
    back = edges(tab, "3")
    assert [name for name, _ in back] == [f"3/{at}" for at in np.argsort(-np.abs(effects[channel]), kind="stable")[:5]]


def test_a_page_without_has_none_of_it(model, photo):
    page = viztool.explore(model, photo, ["1", "3"])
    assert page.world.units == {}
