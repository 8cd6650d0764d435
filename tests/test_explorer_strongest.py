"""Kernels that are too large for a page: the strongest terms of each unit, and the exact rest."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explorer_browser import chromium
from torch import nn

import viztool
from viztool.explorer.strongest import LARGEST, LISTED, listed, strongest
from viztool.explorer.sums import Product

SETTINGS = {
    "linear": ((50, 1, 1), (7, 50, 1, 1), {}),
    "few": ((5, 4, 4), (7, 5, 3, 3), {"padding": (1, 1)}),
    "grouped": ((80, 9, 8), (6, 40, 3, 2), {"groups": 2, "stride": (2, 1), "dilation": (1, 2), "padding": (1, 1)}),
    "transposed": ((80, 4, 3), (80, 3, 4, 4), {"groups": 2, "stride": (2, 2), "padding": (1, 1), "transposed": True}),
}


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("at_once", [1, 1 << 24])
def test_they_are_the_largest_of_all_terms(name, at_once, monkeypatch):
    monkeypatch.setattr("viztool.explorer.strongest._AT_ONCE", at_once)
    torch.manual_seed(0)
    given, weight, settings = SETTINGS[name]
    product = Product(torch.randn(given), torch.randn(weight), 0, **settings)
    size = {"linear": (1, 1), "few": (4, 4), "grouped": (5, 8), "transposed": (8, 6)}[name]
    whole = product.total(size)
    # A term is what the sum loses without its channel.
    terms = torch.stack(
        [
            whole - Product(product.given * (torch.arange(len(product.given)) != at)[:, None, None], *rest).total(size)
            for at in range(len(product.given))
            for rest in [(product.weight, 0, *(getattr(product, key) for key in ("stride", "padding", "dilation")))]
            for rest in [(*rest, product.groups, product.transposed)]
        ]
    )
    found = strongest(product, size)
    count = min(32, len(product.given) // product.groups)
    assert found.terms.shape == (count, *whole.shape)
    slow = terms.abs().sort(0, descending=True).values[:count]
    torch.testing.assert_close(found.terms.abs(), slow, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(found.terms, terms.gather(0, found.channels), rtol=1e-4, atol=2e-5)


def test_no_more_are_listed_than_a_page_holds():
    kernels = torch.empty(1024, 4096, 2, 2)
    assert listed(Product(kernels[0], kernels, 0), (1, 1)) == LISTED
    assert listed(Product(kernels[0], kernels, 0), (32, 32)) == 8
    assert listed(Product(kernels[0], kernels, 0), (1000, 1000)) == 1


class Large(nn.Module):
    """A block with 9.4 million numbers in a kernel, and a linear layer with as many."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 1024, 3, stride=2), nn.ReLU())
        self.branch, self.norm = nn.Conv2d(1024, 1024, 3, padding=1), nn.BatchNorm2d(1024)
        self.block = nn.ReLU()
        self.pool, self.wide, self.head = nn.AdaptiveAvgPool2d(3), nn.Linear(9216, 1024), nn.Linear(1024, 3)

    def forward(self, x):
        x = self.stem(x)
        x = self.block(self.norm(self.branch(x)) + x.sin())
        return self.head(self.wide(self.pool(x).flatten(1)).relu())


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(6)
    net = Large().eval()
    nn.init.normal_(net.norm.running_mean)
    nn.init.uniform_(net.norm.running_var, 0.5, 2)
    nn.init.normal_(net.norm.weight)
    return viztool.wrap_model(net, size=(15, 13), classes=["a", "b", "c"], output="softmax")


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(2).integers(0, 256, (15, 13, 3), np.uint8)


@pytest.fixture(scope="module")
def made(model, photo, tmp_path_factory):
    page = viztool.explore(model, photo, ["stem", "block", "wide"])
    return page, page.save(tmp_path_factory.mktemp("page") / "large.html")


@pytest.fixture(scope="module")
def tab(made):
    with chromium() as browser:
        browser.open(made[1])
        yield browser
        assert browser.errors == []


@torch.no_grad()
def oracle(model, photo, layer, channel, row, column):
    """(bias and what is added as it is, every term by channel, total) of a unit before its ReLU."""
    net, x = model.net, model.preprocess(photo)
    stem = net.stem(x)
    block = net.norm(net.branch(stem)) + stem.sin()
    if layer == "wide":
        given = net.pool(block.relu()).flatten()
        terms = net.wide.weight[channel] * given
        return float(net.wide.bias[channel]), terms, float(terms.sum() + net.wide.bias[channel])
    scale = net.norm.weight[channel] / (net.norm.running_var[channel] + net.norm.eps).sqrt()
    patch = torch.nn.functional.pad(stem[0], (1, 1, 1, 1))[:, row : row + 3, column : column + 3]
    terms = scale * (net.branch.weight[channel] * patch).sum((1, 2))
    bias = scale * (net.branch.bias[channel] - net.norm.running_mean[channel]) + net.norm.bias[channel]
    return float(bias), terms, float(block[0, channel, row, column])


PLACES = [("block", 5, 0, 3), ("block", 1023, 6, 5), ("block", 300, 3, 2), ("wide", 0, 0, 0), ("wide", 777, 0, 0)]


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_bias_strongest_terms_and_rest_are_the_total(tab, model, photo, place):
    assert model.net.branch.weight.numel() > LARGEST
    assert model.net.wide.weight.numel() > LARGEST
    [said] = tab.units([place])
    tab.run("document.getElementById('more').click()")
    listed = tab.run("[...document.querySelectorAll('#sum [data-term]')].map(each => +each.dataset.term)")
    shown = tab.data("sum")
    bias, terms, total = oracle(model, photo, *place)
    scale = max(abs(total), float(terms.abs().max()))
    strong = terms[terms.abs().topk(32).indices].tolist()
    wanted = strong + ([total - bias - float(terms.sum())] if place[0] == "block" else [])  # the shortcut, as it is
    assert listed == pytest.approx(sorted(wanted, key=abs, reverse=True), rel=5e-4, abs=1e-4 * scale)
    assert float(shown["bias"]) == pytest.approx(bias, abs=1e-4 * scale)
    assert float(shown["total"]) == pytest.approx(total, abs=1e-4 * scale)
    assert float(shown["bias"]) + sum(listed) + float(shown["rest"]) == pytest.approx(total, abs=1e-4 * scale)
    assert float(shown["rest"]) == pytest.approx(float(terms.sum()) - sum(strong), abs=5e-4 * sum(map(abs, listed)))
    assert float(said["sum"]["bias"]) + sum(said["terms"]) + float(said["sum"]["rest"]) == pytest.approx(
        total, abs=1e-4 * scale
    )


def test_the_page_says_what_it_leaves_out(tab, made):
    tab.units([("block", 5, 0, 3)])
    words = tab.run("document.getElementById('kernel-note').textContent")
    assert "are too large for a page: of each unit there are the strongest 32 of 1024 terms" in words
    assert "1001 weaker" in tab.run("document.getElementById('equation').textContent")
    assert tab.run("document.getElementById('more').textContent") == "List the 33 strongest terms"
    tab.run("document.getElementById('more').click()")
    assert "33 terms" in tab.run("document.getElementById('equation').textContent")
    assert "992 weaker" in tab.run("document.getElementById('equation').textContent")
    assert len(made[0].payload.packed) < 20_000_000


def test_one_walks_along_a_listed_term(tab, model, photo):
    tab.units([("block", 5, 4, 3)])
    _, terms, _ = oracle(model, photo, "block", 5, 4, 3)
    channels = terms.abs().argsort(descending=True).tolist()
    rows = "[...document.querySelectorAll('#sum [data-term]')].map(each => each.children[1].textContent.trim())"
    assert [int(text) for text in tab.run(rows) if int(text) != 5][:8] == [one for one in channels if one != 5][:8]
    tab.run("document.querySelector('#terms button').click()")
    assert tab.place() == ("stem", channels[0], 4, 3)
