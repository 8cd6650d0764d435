"""The explorer's page, before a browser sees it: what adds up to units, how large it is, and where it goes."""

from __future__ import annotations

import gzip

import atlas_helpers
import explorer_nets
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.cli import main
from viztool.errors import LayerError, ModelError
from viztool.explorer.blob import Blob
from viztool.explorer.packing import packed
from viztool.images import read_mark


@pytest.fixture(scope="module")
def photo():
    return np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8)


def layers_of(page):
    return {layer.of.name: layer for layer in page.looks[0].layers}


def test_each_kind_of_layer_is_taken_apart(photo):
    """(kernels that are in the sum, maps that are added, what follows)."""
    page = viztool.explore(explorer_nets.mixed(), photo, ["stem", "wide", "down", "side", "up", "join", "head"])
    found = {
        name: (
            [(tuple(product.weight.shape), product.transposed) for product in layer.sum.products],
            len(layer.sum.operands),
            layer.sum.activation,
        )
        for name, layer in layers_of(page).items()
    }
    assert found == {
        "stem": ([((8, 3, 5, 5), False)], 0, "relu"),
        "wide": ([((12, 4, 3, 3), False)], 0, ""),
        "down": ([((16, 12, 3, 2), False)], 0, ""),
        "side": ([((16, 12, 1, 1), False)], 0, ""),
        "up": ([((16, 5, 4, 4), True)], 0, ""),
        "join": ([((16, 5, 4, 4), True)], 0, "silu"),
        "head": ([((4, 10, 1, 1), False)], 0, ""),
    }


def test_a_residual_sum_has_the_kernels_of_its_own_branches(photo):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.branch, self.gate = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)

        def forward(self, x):
            x = F.gelu(self.first(x))
            return x + self.branch(x) - self.gate(x).sigmoid() + 1

    model = viztool.wrap_model(Block().eval(), size=(24, 24), output="none")
    own = layers_of(viztool.explore(model, photo, ["first", ""]))[""].sum
    assert [tuple(product.weight.shape) for product in own.products] == [(6, 6, 3, 3)]
    assert len(own.operands) == 2
    net, x = model.net, model.preprocess(photo)
    with torch.no_grad():
        inside = F.gelu(net.first(x))
        shortcut, gate = inside[0], net.gate(inside).sigmoid()[0]
    np.testing.assert_allclose(own.operands[0].maps, shortcut, atol=1e-5)
    np.testing.assert_allclose(own.operands[1].maps, -gate, atol=1e-5)
    np.testing.assert_allclose(own.bias, net.branch.bias.detach() + 1, atol=1e-5)


def test_attention_is_taken_apart_up_to_its_own_output(photo):
    page = viztool.explore(explorer_nets.transformer(), photo, ["blocks.0"])
    own = layers_of(page)["blocks.0"].sum
    assert sorted(product.weight.shape[1] for product in own.products) == [48, 192]
    assert len(own.operands) == 1
    assert own.activation == ""


@pytest.mark.parametrize("function", [torch.cummax, lambda x, dim: (x.softmax(dim),), torch.max], ids=str)
def test_what_is_no_sum_is_its_own_term(photo, function):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, 4, 3), nn.Identity()

        def forward(self, x):
            values = function(self.conv(x), 1)[0]
            return self.last(values if values.dim() == 4 else values[:, None])

    model = viztool.wrap_model(Net().eval(), size=(24, 24), output="none")
    shown = layers_of(viztool.explore(model, photo, "last"))["last"]
    assert not shown.sum.products
    np.testing.assert_array_equal(shown.sum.operands[0].maps, shown.of.maps)


def test_arrays_come_back_from_their_planes():
    values = np.array([0, -1, 1.5, 3.14159274, 1e-30, -1e30, np.inf, np.nan], np.float32)
    blob = Blob(bits=11)
    whole, rounded = blob.add(values, "f32", "a"), blob.add(values, "f24", "b")
    content = blob.joined()

    def read(reference, planes):
        raw = np.frombuffer(content, np.uint8)[reference["at"] : reference["at"] + planes * 8].reshape(planes, 8)
        bits = np.zeros(8, np.uint32)
        for place, plane in enumerate(raw):
            bits |= plane.astype(np.uint32) << np.uint32(24 - 8 * place)
        return bits.view(np.float32)

    np.testing.assert_array_equal(read(whole, 4), values)
    np.testing.assert_allclose(read(rounded, 3), values, rtol=2.0**-12)
    assert blob.add(values.copy(), "f32", "c") is whole


@pytest.mark.parametrize("planes", [b"", bytes(1000), np.random.default_rng(0).bytes(100_000)], ids=len)
def test_what_is_packed_is_a_gzip_file(planes):
    text = b"a head, and a head once more" * 40
    assert gzip.decompress(packed(text, planes)) == text + planes
    assert len(packed(text, planes)) < len(planes) + 200


def test_the_embedded_network_fits_into_five_megabytes():
    page = viztool.explore(viztool.load_model(), viztool.read_image("gallery/inputs/cat.jpg"))
    assert len(page.html.encode()) < 5_000_000
    small = viztool.explore(viztool.load_model(), viztool.read_image("gallery/inputs/cat.jpg"), small=True)
    assert len(small.html) < 0.7 * len(page.html)
    assert page.warning == ""


def test_the_network_is_left_as_it_was(photo):
    model = explorer_nets.mixed()
    model.net.train()
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    viztool.explore(model, photo)
    assert model.net.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.net.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.net.modules())


def test_an_atlas_and_optima_are_on_the_page(tmp_path, photo):
    model = atlas_helpers.small_model()
    photos = atlas_helpers.write_photos(tmp_path / "photos", 8)
    atlas = viztool.build_atlas(model, photos, tmp_path / "small.atlas", layers=list(atlas_helpers.SMALL_LAYERS))
    page = viztool.explore(model, photo, ["1", "5"], atlas=atlas.folder)
    unit = page.world.units["5"][3]
    assert sum(unit["counts"]) == atlas["5"][3].histogram.counts.sum()
    assert [place["photo"] for place in unit["top"]] == [place[0] for place in atlas["5"][3].top[:4]]
    assert unit["top"][0]["picture"]
    rarest = atlas.unusual(model, photo, 1)[0]
    order = page.world.unusual[0]
    assert max((order[layer].max(), layer, int(order[layer].argmax())) for layer in order)[1:] == rarest[:2]


def test_an_atlas_of_another_network_is_refused(tmp_path, photo):
    photos = atlas_helpers.write_photos(tmp_path / "photos", 3)
    atlas = viztool.build_atlas(atlas_helpers.small_model(), photos, tmp_path / "small.atlas", layers=["1"])
    with pytest.raises(viztool.ViztoolError, match=r"is not what .*small.atlas is of \(weights: "):
        viztool.explore(explorer_nets.mixed(), photo, atlas=atlas)


def test_what_cannot_be_shown_is_said(photo):
    model = explorer_nets.mixed()
    with pytest.raises(LayerError, match="stm"):
        viztool.explore(model, photo, "stm")
    with pytest.raises(ModelError, match="got 1 photos, 2 names"):
        viztool.explore(model, photo, source=["a", "b"])


def test_the_command_writes_a_marked_page_and_replaces_only_such(desk):
    run = CliRunner().invoke(main, ["explore", "photo.png", "-m", "nets.py:build", "--weights", "none", "--size", "24"])
    assert run.output == "photo_explore.html\n"
    assert run.exit_code == 0
    assert read_mark("photo_explore.html") is not None
    again = ["explore", "photo.png", "-m", "nets.py:build", "--weights", "none", "--size", "24", "-q"]
    assert CliRunner().invoke(main, again).exit_code == 0
    (desk / "photo_explore.html").write_text("<p>mine</p>")
    refused = CliRunner().invoke(main, again)
    assert refused.exit_code == 1
    assert (desk / "photo_explore.html").read_text() == "<p>mine</p>"
