"""Without photos: what weights say of a unit, and of a layer as a few factors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from circuit_nets import BothEdges
from click.testing import CliRunner
from test_circuits_sheet import drawn, words
from torch import nn

import viztool
from viztool.circuits import overview, wiring
from viztool.circuits.overview import factors_of
from viztool.circuits.patterns import pattern_rows
from viztool.cli import main
from viztool.errors import ChannelError, LayerError, SettingError
from viztool.render.canvas import Image


def edges():
    return viztool.wrap_model(BothEdges(), size=(12, 12), mean=(0,), std=(1,))


class Separable(nn.Sequential):
    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 4, 1, bias=False),
            nn.Sequential(
                nn.Conv2d(4, 6, 1, bias=False),
                nn.ReLU6(),
                nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False),
                nn.SiLU(),
                nn.Conv2d(6, 5, 1, bias=False),
            ),
        )


def test_a_unit_next_to_its_inputs_has_its_kernels_as_they_are():
    found = wiring(edges(), "both", 0)
    assert (found.inputs_layer, found.order) == ("relu", [0, 1, 2, 3])
    assert found.kernels.tolist() == BothEdges().both.weight.detach()[0].tolist()
    assert found.shares.tolist() == [0.5, 0.5, 0, 0]
    said = " ".join(words(found.drawing()))
    assert "The kernels as they are: all is linear between the two layers." in said
    assert "Nothing here was measured: no photos were given." in said
    assert "To measure: viztool circuit PHOTOS -l both -c 0" in said
    assert "of all 2 kernels that are not 0, and the sum of its values. These 2 hold 100 %." in said, (
        "the inputs that it does not read are not drawn"
    )


def test_of_a_separable_block_the_product_of_the_linear_parts_is_drawn_and_said():
    net = Separable().eval()
    found = wiring(viztool.wrap_model(net, size=(9, 9), mean=(0,) * 3, std=(1,) * 3), "1", 3)
    wide, deep, narrow = (net[1][at].weight.detach() for at in (0, 2, 4))
    product = torch.einsum("e,ehw,ei->ihw", narrow[3, :, 0, 0], deep[:, 0], wide[..., 0, 0]).numpy()
    assert np.allclose(found.kernels, product, atol=1e-6)
    energy = np.square(product).sum((1, 2))
    assert found.order == np.argsort(-energy).tolist()
    assert found.shares == pytest.approx(energy / energy.sum(), rel=1e-4)
    assert found.left_out.endswith("what is not linear on the way is left out (relu6, silu).")
    numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
    assert numbers["measured"] is False
    assert [one["channel"] for one in numbers["inputs"]["kernels"]] == found.order
    assert numbers["inputs"]["kernels"][0]["sum"] == pytest.approx(product[found.order[0]].sum(), rel=1e-4)


def test_a_unit_has_its_optimum_and_those_of_its_inputs():
    model = viztool.wrap_model(Separable().eval(), size=(24, 24), mean=(0.5,) * 3, std=(0.5,) * 3)
    plain, found = wiring(model, "1", 3), wiring(model, "1", 3, kernels=True)
    assert set(found.optima) == {("0", 0), ("0", 1), ("0", 2), ("0", 3), ("1", 3)}
    pictures = [len([one for one in drawn(each.drawing()) if isinstance(one, Image)]) for each in (plain, found)]
    assert pictures[1] - pictures[0] == len([one for one in found.optima.values() if one is not None]) > 0


def test_what_is_not_there_is_said():
    with pytest.raises(ChannelError, match=r"^layer 'both' has 2 channels, 0 to 1, and no 2$"):
        wiring(edges(), "both", 2)
    with pytest.raises(LayerError, match=r"^no layer ends before 'edges' begins; its inputs are the picture's own$"):
        wiring(edges(), "edges", 0)
    with pytest.raises(LayerError, match=r"^layer 'relu' does not end after 'both'; nothing leads there$"):
        wiring(edges(), "relu", 0, inputs="both")
    with pytest.raises(SettingError, match=r"^3 factors cannot be: of 2 units there can be 1 to 2$"):
        overview(edges(), "both", 3)


def planted(seed: int = 0):
    """Three factors: two of positive and negative kernels, one that is the first with the other sign.

    kernels: (24, 6, 5, 5); parts: (3, 6, 5, 5), of length 1; amounts: (3, 24).
    """
    rng = np.random.default_rng(seed)
    parts = np.zeros((3, 6, 5, 5), np.float32)
    parts[0, 0, 1, :], parts[0, 1, :, 2] = rng.uniform(0.5, 1, 5), -rng.uniform(0.5, 1, 5)
    parts[1, 3, 2:4, 2:4], parts[1, 4, 0] = rng.uniform(0.5, 1, (2, 2)), rng.uniform(0.5, 1, 5)
    parts[2] = -parts[0]
    parts /= np.sqrt(np.square(parts).sum((1, 2, 3), keepdims=True))
    amounts = np.zeros((3, 24), np.float32)
    amounts[0, :10], amounts[1, 6:18], amounts[2, 16:] = (
        rng.uniform(2, 4, 10),
        rng.uniform(1, 3, 12),
        rng.uniform(1, 2, 8),
    )
    return np.einsum("kn,kihw->nihw", amounts, parts).astype(np.float32), parts, amounts


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_planted_factors_are_found_again(seed):
    kernels, parts, amounts = planted(seed)
    factors, explained = factors_of(kernels, 3, seed)
    cosines = np.einsum("aihw,bihw->ab", np.stack([one.kernels for one in factors]), parts)
    partner = cosines.argmax(1)
    assert sorted(partner) == [0, 1, 2]
    assert (cosines.max(1) > 0.99).all()
    for one, at in zip(factors, partner, strict=True):
        assert np.allclose(one.amounts, amounts[at], atol=0.1)
        assert one.energy == pytest.approx(np.square(amounts[at]).sum() / np.square(kernels).sum(), rel=0.05)
        assert one.stability > 0.99
    assert explained.energy > 0.999
    assert explained.shuffled < 0.8


def test_the_share_is_that_of_the_weights_squared():
    kernels = np.random.default_rng(0).normal(size=(60, 8, 3, 3)).astype(np.float32)
    factors, explained = factors_of(kernels, 4)
    about = sum(np.einsum("n,ihw->nihw", one.amounts, one.kernels) for one in factors)
    whole = np.square(kernels).sum()
    assert explained.energy == pytest.approx(1 - np.square(kernels - about).sum() / whole, abs=1e-5)
    for one in factors:
        alone = np.einsum("n,ihw->nihw", one.amounts, one.kernels)
        assert one.energy == pytest.approx(np.square(alone).sum() / whole, rel=1e-4)
    assert explained.energy == pytest.approx(explained.shuffled, abs=0.05), "in noise units have nothing in common"
    assert [one.energy for one in factors] == sorted([one.energy for one in factors], reverse=True)


def test_the_overview_draws_what_was_found():
    kernels, _, amounts = planted()
    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.Conv2d(6, 24, 5, bias=False)).eval()
    net[1].weight.data = torch.from_numpy(kernels)
    found = overview(viztool.wrap_model(net, size=(16, 16), mean=(0,) * 3, std=(1,) * 3), "1", 3)
    assert (found.inputs_layer, len(found)) == ("0", 3)
    first = found[0]
    assert first.inputs == [0, 1] or first.inputs == [1, 0]
    assert first.outputs == np.argsort(-amounts[0])[:4].tolist()
    said = words(found.drawing())
    assert "factor 1 in reverse" in said
    assert "Factor 3" in said
    assert "together they explain 100 % of" in " ".join(said)
    numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
    assert numbers["explained"] == found.explained.energy
    assert found.arrays["kernels"].shape == (3, 6, 5, 5)


def fed(kernels):
    """A network whose layer "1" has these kernels, (n, C, kh, kw), on the channels of "0"."""
    n, c, *size = kernels.shape
    net = nn.Sequential(nn.Conv2d(3, c, 1), nn.Conv2d(c, n, size, bias=False)).eval()
    net[1].weight.data = torch.as_tensor(kernels)
    return viztool.wrap_model(net, size=(16, 16), mean=(0,) * 3, std=(1,) * 3)


def test_of_a_depthwise_unit_its_own_kernel_alone_is_drawn_and_counted():
    kernels = np.zeros((2, 9, 3, 3), np.float32)
    kernels[0, 5] = np.random.default_rng(0).normal(size=(3, 3))
    found = wiring(fed(kernels), "1", 0)
    assert found.used == [5]
    assert found.in_words == "1/0 has its only kernel from 0: 5 (100.0 %); not measured"
    said = " ".join(words(found.drawing()))
    assert "Its only kernel: 0" in said
    assert "below, the sum of its values. All others are 0." in said
    assert "patterns" not in said
    dead = wiring(fed(kernels), "1", 1)
    assert dead.in_words == "1/1 has only kernels that are 0 from 0; not measured"
    assert "All are 0." in " ".join(words(dead.drawing()))


def test_there_are_no_more_patterns_than_kernels_that_differ_and_zeros_do_not_count():
    rng = np.random.default_rng(0)
    one, other = np.abs(rng.normal(size=(2, 3, 3))).astype(np.float32)
    kernels = np.stack([one, np.zeros_like(one), other, one, np.zeros_like(one), other])
    (row,) = pattern_rows(kernels)
    assert row.note.startswith("All 4 of these kernels that are not 0 as 2 patterns, 100 % of their energy")
    assert len(row.values) == 2
    assert {label for each in row.labels for label in each.split()} == {"+0", "+2", "+3", "+5"}
    (row,) = pattern_rows(rng.normal(size=(6, 3, 3)).astype(np.float32))
    assert row.note.startswith("All 6 of these kernels as 3 patterns")
    assert pattern_rows(kernels[:3]) == []


def test_where_the_lot_changes_nothing_there_is_nothing_to_compare_with():
    rng = np.random.default_rng(0)
    same = np.repeat(rng.normal(size=(1, 1, 3, 3)), 8, 0).astype(np.float32)  # all units alike, of one input
    many = rng.normal(size=(4, 6, 3, 3)).astype(np.float32)
    for kernels, count in ((same, 1), (many, 4)):
        found = overview(fed(kernels), "1", count)
        assert found.explained.shuffled is None
        assert found.numbers["explained, shuffled"] is None
        assert found.in_words.endswith("% of the weights' energy, nothing to compare it with; not measured")
        said = " ".join(words(found.drawing()))
        assert "there is nothing to compare that with" in said
        assert "The nearer the two" not in said
    assert overview(fed(many), "1", 2).explained.shuffled is not None


@pytest.mark.parametrize("count", [2.5, "x", None, True])
def test_a_count_that_is_no_whole_number_is_said(count):
    with pytest.raises(SettingError, match=f"^count is {count!r}; give a whole number of factors, from 1$"):
        overview(edges(), "both", count)


NET = ["-m", "nets.py:build", "--weights", "none", "--size", "24", "--no-kernels"]


@pytest.fixture
def deep(desk: Path) -> Path:
    Path("nets.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), "
        "nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))\n"
    )
    return desk


def test_the_commands_need_no_photos(deep):
    unit = CliRunner().invoke(main, ["circuit", "-l", "2", "-c", "1", "--json", "--npz", *NET])
    assert unit.exit_code == 0, unit.output
    told = json.loads(unit.output)["results"][0]
    assert (told["files"], told["measured"]) == (["2_1_weights.png", "2_1_weights.npz"], False)
    assert np.load("2_1_weights.npz")["kernels"].shape == (4, 3, 3)
    layer = CliRunner().invoke(main, ["circuit", "-l", "2", "--factors", "2", "--json", *NET])
    assert layer.exit_code == 0, layer.output
    told = json.loads(layer.output)["results"][0]
    assert (told["files"], len(told["factors"])) == (["2_overview.png"], 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-l", "2", "-c", "5"], "layer '2' has 5 channels, 0 to 4, and no 5"),
        (["photo.png", "-l", "2", "-c", "5"], "layer '2' has 5 channels, 0 to 4, and no 5"),
        (["-l", "0", "-c", "1"], "no layer ends before '0' begins"),
        (["-l", "2", "--factors", "9"], "9 factors cannot be: of 5 units there can be 1 to 5"),
        (["photo.png", "-l", "2"], "photos are for measuring one unit: name it with -c, or leave the photos out"),
        (["-l", "2", "-c", "1", "--top", "3"], "--top is of what is measured: give PHOTOS, or --atlas"),
        (["-l", "2", "-c", "1", "--factors", "3"], "--factors are of a whole layer: leave -c out"),
        (
            ["photo.png", "-l", "2", "-c", "1", "--outputs", "0"],
            "layer '0' does not end after '2'; nothing leads there",
        ),
        (["photo.png", "-l", "2", "-c", "1", "--replace", "resample"], "takes a channel from another photo"),
    ],
)
def test_wrong_usage_ends_with_2(deep, arguments, message):
    done = CliRunner().invoke(main, ["circuit", *arguments, *NET])
    assert (done.exit_code, message in done.output) == (2, True), done.output
    assert [path.name for path in deep.glob("*.png")] == ["photo.png"]
