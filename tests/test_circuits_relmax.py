"""Photos ranked by relevance in the atlas: against a plain reckoning, photo by photo."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from atlas_helpers import SMALL_LAYERS, digests, small_model, write_photos
from click.testing import CliRunner
from test_circuits_sheet import words

from viztool import build_atlas, open_atlas, read_image
from viztool.atlas.crops import Album
from viztool.atlas.sheet import AtlasSheet
from viztool.cli import main
from viztool.errors import ViztoolError


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relmax")
    write_photos(folder / "photos", 14)
    atlas = build_atlas(
        small_model(), folder / "photos", folder / "a.atlas", layers=SMALL_LAYERS, keep=5, relevance=True
    )
    return folder, atlas


def slow_relevances(model, photo):
    """R of each unit of the layers by z⁺ in convolutions and ε = 0 behind, written out for this one network.

    The classifier and the mean share in proportion, norms are folded, ReLUs hand on, max pools give the winner all.
    """
    net, x = model.net, model.preprocess(photo)
    with torch.no_grad():
        acts = [x]
        for layer in net:
            acts.append(layer(acts[-1]))
    scores = acts[-1][0]
    target = int(scores.argmax())
    weight = net[9].weight[target]
    deep = acts[7]
    arrives = deep[0] * weight[:, None, None] / deep[0, 0].numel()
    found = {"6": arrives}
    # z⁺ through the last convolution, tap by tap.
    given, kernel = acts[6][0], net[6].weight
    before = torch.zeros_like(given)
    for out in range(kernel.shape[0]):
        for i in range(deep.shape[2]):
            for j in range(deep.shape[3]):
                patch = given[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
                parts = (patch * kernel[out]).clamp(min=0)
                total = parts.sum()
                if total > 0:
                    before[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += parts / total * arrives[out, i, j]
    found["5"] = before
    return {name: maps.detach() for name, maps in found.items()}


def test_the_most_relevant_places_are_those_of_a_plain_reckoning(built):
    folder, atlas = built
    model = small_model()
    relevances = {name: slow_relevances(model, read_image(folder / "photos" / name)) for name in atlas.ids}
    for layer in ("5", "6"):
        for unit in atlas[layer]:
            expected = []
            for name in atlas.ids:
                maps = relevances[name][layer][unit.channel]
                at = int(maps.argmax())
                expected.append((float(maps.max()), name, divmod(at, maps.shape[1])))
            expected = sorted((one for one in expected if one[0] != 0), key=lambda one: -one[0])
            scale = max((abs(value) for value, *_ in expected), default=1.0)
            assert [value for _, value, *_ in unit.relevant] == pytest.approx(
                [value for value, *_ in expected[:5]], abs=1e-4 * scale
            )
            gaps = [one[0] - two[0] for one, two in itertools.pairwise(expected)]
            if min(gaps[:5]) > 1e-4 * scale:  # else their order is chance
                assert [name for name, *_ in unit.relevant] == [name for _, name, _ in expected[:5]]
                assert [place[2] for place in unit.relevant] == [at for *_, at in expected[:5]]


def test_overlap_is_the_share_of_the_best_photos_that_matter_most(built):
    _, atlas = built
    unit = atlas["6"][3]
    tops, relevant = [place[0] for place in unit.top], [place[0] for place in unit.relevant]
    assert unit.overlap(4) == len(set(tops[:4]) & set(relevant[:4])) / 4
    assert unit.numbers["overlap"] == {"4": unit.overlap(4)}
    assert [place["photo"] for place in unit.numbers["relevant"]] == relevant


def test_all_else_is_as_without_and_the_other_tables_are_the_same_bytes(built, tmp_path):
    folder, atlas = built
    plain = build_atlas(small_model(), folder / "photos", tmp_path / "b.atlas", layers=SMALL_LAYERS, keep=5)
    with_, without = digests(atlas.folder), digests(plain.folder)
    assert {name for name in with_ if with_[name] != without.get(name)} == {"places.parquet"}
    assert plain["5"][0].top == atlas["5"][0].top
    assert plain["5"][0].relevant == []
    assert math.isnan(plain["5"][0].overlap(4))
    assert "relevant" not in plain["5"][0].numbers


def test_two_processes_and_a_resumed_build_give_the_same_bytes(built, tmp_path):
    folder, atlas = built
    again = build_atlas(
        small_model(), folder / "photos", tmp_path / "c.atlas", layers=SMALL_LAYERS, keep=5, relevance=True, workers=2
    )
    assert digests(again.folder) == digests(atlas.folder)
    next((again.folder / "parts").glob("*.part")).unlink()
    resumed = build_atlas(small_model(), folder / "photos", again.folder, layers=SMALL_LAYERS, keep=5, relevance=True)
    assert digests(resumed.folder) == digests(atlas.folder)


def test_an_atlas_without_is_another_one(built):
    folder, atlas = built
    with pytest.raises(ViztoolError, match=r"holds another atlas \(relevance: lrp_zplus of.*, now none\)"):
        build_atlas(small_model(), folder / "photos", atlas.folder, layers=SMALL_LAYERS, keep=5)


def test_the_sheet_shows_and_says_it(built):
    _, atlas = built
    done = CliRunner().invoke(
        main, ["atlas", "show", str(atlas.folder), "-l", "5", "-o", str(Path(atlas.folder).parent / "s.svg")]
    )
    assert done.exit_code == 0, done.output
    text = (Path(atlas.folder).parent / "s.svg").read_text()
    assert "most relevant" in text
    assert "overlap with relevance: " in text


def test_the_command_asks_for_it(desk):
    for at in range(2):
        (desk / "photos").mkdir(exist_ok=True)
        from viztool.images import write_image

        write_image(f"photos/{at}.png", np.random.default_rng(at).integers(0, 256, (40, 50, 3), np.uint8))
    asked = ["atlas", "build", "photos", "-o", "x.atlas", "-l", "1", "--relevance"]
    asked += ["-m", "nets.py:build", "--weights", "none", "--size", "24"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    units = list(open_atlas("x.atlas")["1"])
    assert {len(unit.relevant) + unit.irrelevant for unit in units} == {2}
    assert max(len(unit.relevant) for unit in units) == 2


def test_photos_on_which_a_unit_does_not_matter_are_left_out_and_counted(tmp_path):
    """Of a unit that the classes do not read: it answers to photos and matters on none."""
    write_photos(tmp_path / "photos", 6)
    model = small_model()
    with torch.no_grad():
        model.net[9].weight[:, 2] = 0
    atlas = build_atlas(model, tmp_path / "photos", tmp_path / "a.atlas", layers=["6"], keep=4, relevance=True)
    unread, other = atlas["6"][2], next(unit for unit in atlas["6"] if unit.relevant)
    assert len(unread.top) == 4
    assert (unread.relevant, unread.irrelevant, unread.overlap(4)) == ([], 4, 0)
    assert unread.numbers["irrelevant"] == 4
    assert all(value != 0 for _, value, *_ in other.relevant)
    assert other.irrelevant + len(other.relevant) == 4
    said = " ".join(words(AtlasSheet(atlas, "6", [2], Album(atlas), named=True).drawing()))
    assert "left out: 4 photos of relevance 0" in said
    assert "overlap with relevance: 0 of 4" in said
