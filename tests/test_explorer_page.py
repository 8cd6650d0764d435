"""The explorer's page in a browser: each number against the network itself."""

from __future__ import annotations

import random
from pathlib import Path

import explorer_nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from explorer_browser import chromium
from firefox import firefox
from torch import nn

import viztool
from viztool.inspect import receptive_fields

ACTIVATIONS = {
    "relu": F.relu,
    "hardtanh": lambda total: total.clamp(0, 6),
    "leaky_relu": F.leaky_relu,
    "silu": F.silu,
    "": lambda total: total,
}
NETWORKS = {
    "embedded": (viztool.load_model, None),
    "mixed": (explorer_nets.mixed, ["stem.0", "stem", "wide", "down", "side", "up", "join", "head"]),
    "transformer": (explorer_nets.transformer, ["patch_embed", "blocks.0", "blocks.3", "head"]),
}


@pytest.fixture(scope="module")
def tab():
    with chromium() as tab:
        yield tab


@pytest.fixture(scope="module")
def fox():
    with firefox() as tab:
        yield tab


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (30, 40, 3), np.uint8)
    return np.kron(coarse, np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="module", params=NETWORKS)
def made(request, photo, tmp_path_factory):
    build, layers = NETWORKS[request.param]
    model = build()
    page = viztool.explore(model, photo, layers, source="photo.png")
    path = page.save(tmp_path_factory.mktemp("page") / f"{request.param}.html")
    return model, page, path


def places(page, count):
    rng = random.Random(5)
    layers = [layer.of for layer in page.looks[0].layers]
    for turn in range(count):
        layer = layers[turn % len(layers)]
        yield (layer.name, *(rng.randrange(side) for side in layer.maps.shape))


def captured(model, photo, names):
    """As `capture` gives it, as maps."""
    with torch.no_grad(), viztool.capture(model.net, names, maps=False) as acts:
        model.net(model.preprocess(photo))
    return {name: acts[name] for name in names}


def as_maps(tensor, shape):
    if tensor.dim() == 3:
        tensor = tensor[:, tensor.shape[1] - shape[1] * shape[2] :].transpose(1, 2)
    return tensor.reshape(shape).numpy()


def clipped(field, place, size):
    spans = []
    for (first, end), extent in zip(field.spans(place), size, strict=True):
        first, end = max(0, first), min(extent, end)
        spans.append((first, end) if first < end else (0, extent))
    return spans


def test_two_hundred_units_say_what_the_network_says(tab, made, photo):
    model, page, path = made
    tab.open(path)
    chosen = list(places(page, 200))
    told = tab.units(chosen)
    shapes = {layer.of.name: layer.of.maps.shape for layer in page.looks[0].layers}
    own = {name: as_maps(each, shapes[name]) for name, each in captured(model, photo, list(shapes)).items()}
    fields = receptive_fields(model, model.preprocess(photo))
    scales = {layer.of.name: float(layer.sum.total.abs().max()) for layer in page.looks[0].layers}
    for (name, *unit), said in zip(chosen, told, strict=True):
        assert said["unit"]["layer"] == name
        value = float(said["unit"]["value"])
        assert np.float32(value) == own[name][tuple(unit)]
        field = fields[name]
        box = [int(said["field"][side]) for side in ("top", "bottom", "left", "right")]
        if field is None or len(field.size) != 2:
            assert box == [0, model.size[0], 0, model.size[1]]
        else:
            assert box == [end for span in clipped(field, unit[1:], model.size) for end in span]
        total, bias, rest = (float(said["sum"][key]) for key in ("total", "bias", "rest"))
        assert said["terms"]
        assert bias + sum(said["terms"]) + rest == pytest.approx(total, abs=1e-4 * scales[name])
        activation = page.looks[0].layers[list(shapes).index(name)].sum.activation
        assert float(ACTIVATIONS[activation](torch.tensor(total))) == pytest.approx(value, abs=1e-4 * scales[name])
    assert tab.errors == []
    assert [request for request in tab.requests if not request.startswith(("file:", "about:"))] == []


class Scaled(nn.Sequential):
    """What stands in it, times two."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_it_says_that_norms_are_in_the_kernels_where_they_are(tab, photo, tmp_path):
    torch.manual_seed(2)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2),
        nn.Sequential(nn.Conv2d(4, 4, 3, 2), nn.BatchNorm2d(4)),
        Scaled(nn.Conv2d(4, 4, 3, 2)),
        nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.ReLU()),
    )
    model = viztool.wrap_model(net.eval(), size=(40, 40), mean=0.5, std=0.25)
    page = viztool.explore(model, photo, ["0", "1", "2", "3"]).save(tmp_path / "page.html")
    norms, scale = (
        f" {what} in the kernels and the bias." for what in ("Norms that follow are", "A scale that follows is")
    )
    for layer, words in (("0", []), ("1", [norms]), ("2", [scale]), ("3", [])):
        tab.open(page, f"#{layer}/1/0/0")
        said = tab.run("document.getElementById('kernel-note').textContent")
        assert said.startswith("Adds up: kernels of 3 × 3 (stride ")
        assert [each for each in (norms, scale) if each in said] == words


def test_firefox_says_the_same(tab, fox, made):
    _, page, path = made
    chosen = list(places(page, 60))
    tab.open(path)
    fox.open(path)
    assert fox.units(chosen) == tab.units(chosen)
    assert fox.errors == []


def test_the_page_in_the_gallery_says_what_the_network_says_today(tab):
    tab.open(Path(__file__).parents[1] / "gallery" / "explorer" / "cat.html")
    photo = viztool.read_image("gallery/inputs/cat.jpg")
    maps = viztool.feature_maps(viztool.load_model(), photo)
    chosen = [(layer.name, 7, side // 2, side // 3) for layer in maps.layers for side in [layer.maps.shape[1]]]
    for (name, *unit), said in zip(chosen, tab.units(chosen), strict=True):
        assert float(said["unit"]["value"]) == pytest.approx(maps[name].maps[tuple(unit)], abs=1e-3)
