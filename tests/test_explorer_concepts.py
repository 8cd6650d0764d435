"""Concepts and relevance on the explorer's page: the numbers are those that were found, and channels lead on."""

from __future__ import annotations

import json

import atlas_helpers
import numpy as np
import pytest
import torch
from circuit_nets import outputs
from click.testing import CliRunner
from explorer_browser import chromium
from test_explorer_use import HOSTILE
from torch import nn

import viztool
from viztool.atlas.made_with import weights_digest
from viztool.cli import main
from viztool.errors import ModelError, ViztoolError
from viztool.images import write_image

pytest.importorskip("sklearn.decomposition")
optimize = pytest.importorskip("scipy.optimize")


def network(name="Sequential", target="cat", last=None):
    torch.manual_seed(4)
    net = nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2),
        nn.ReLU(),
        nn.Conv2d(5, 6, 3, stride=2),
        last or nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    return viztool.wrap_model(net.eval(), size=(32, 40), mean=0.5, std=0.25, classes=["a", target, "c"], name=name)


def many(count):
    rng = np.random.default_rng(1)
    return [
        np.kron(rng.integers(0, 256, (8, 10, 3), np.uint8), np.ones((5, 5, 1), np.uint8))[:32, :40]
        for _ in range(count)
    ]


@pytest.fixture(scope="module", params=["one sign", "both signs"])
def made(request, tmp_path_factory):
    model = network(last=nn.Identity() if request.param == "both signs" else None)
    found = viztool.concepts(model, many(12), 1, "3", 3)
    assert found.parts.signed == (request.param == "both signs")
    folder = tmp_path_factory.mktemp("page")
    page = viztool.explore(model, many(14)[12:], ["1"], concepts=found.save_npz(folder / "cat.npz"), source=["x", "y"])
    return model, found, page.save(folder / "page.html")


@pytest.fixture(scope="module")
def browser():
    with chromium() as tab:
        yield tab


@pytest.fixture
def tab(browser, made):
    browser.errors.clear()
    browser.open(made[2], "#3/2/0/0")
    yield browser
    assert browser.errors == []


CARDS = "[...document.querySelectorAll('[data-concept]')].map(each => ({...each.dataset}))"


def test_a_concept_is_where_it_is_in_this_photo(tab, made):
    model, found, _ = made
    for which, photo in enumerate(many(14)[12:]):
        if which:
            tab.page.keyboard.press("p")
        maps = outputs(model.net, model.preprocess(photo), "3")[0].detach()
        columns = maps.flatten(1).double().numpy()
        rows = found.parts.rows.double().numpy()
        given = np.concatenate([columns, -columns]).clip(0) if found.parts.signed else columns
        slow = np.stack([optimize.nnls(rows.T, column)[0] for column in given.T])
        said = tab.run(CARDS)
        assert [int(each["concept"]) for each in said] == [1, 2, 3]
        np.testing.assert_allclose([float(each["most"]) for each in said], slow.max(0), rtol=1e-3, atol=1e-5)
        assert [float(each["importance"]) for each in said] == [one.importance for one in found]
        assert [float(each["error"]) for each in said] == [one.importance_error for one in found]


def test_a_unit_names_its_concepts_and_one_walks_on(tab, made):
    model, found, _ = made
    directions = np.stack([one.direction.numpy() for one in found])
    first = int(np.abs(directions[:, 2]).argmax())
    rank = 1 + int((np.abs(directions[first]) > abs(directions[first, 2])).sum())
    words = tab.run("document.getElementById('weights').textContent")
    assert words.startswith(f"This channel weighs most in concept {first + 1} (")
    assert f", number {rank} of its 6 channels)" in words.split("then")[0]
    for concept in (2, 1):
        tab.page.click(f"[data-concept='{concept}']")
        assert tab.run("document.activeElement.dataset.concept") == str(concept)
        parts = tab.run(
            "[...document.querySelectorAll('[data-part]')].map(each => [+each.dataset.part, +each.dataset.weight])"
        )
        own = directions[concept - 1]
        order = [int(channel) for channel in np.argsort(-np.abs(own), kind="stable") if own[channel]]
        assert [channel for channel, _ in parts] == order
        assert [weight for _, weight in parts] == pytest.approx(own[order].tolist(), rel=1e-6)
        tab.page.click(f"[data-part='{order[0]}']")
        maps = outputs(model.net, model.preprocess(many(13)[12]), "3")[0, order[0]].detach()
        assert tab.place() == ("3", order[0], *divmod(int(maps.argmax()), maps.shape[1]))
        pressed = "[...document.querySelectorAll('[data-concept][aria-pressed=true]')].map(one => one.dataset.concept)"
        assert tab.run(pressed) == [str(concept)]


def test_from_another_layer_a_button_leads_to_them(tab, made):
    tab.open(made[2], "#1/0/0/0")
    assert tab.run(CARDS) == []
    tab.page.click("#concepts-there")
    assert tab.place()[0] == "3"
    assert len(tab.run(CARDS)) == 3


def test_neither_axe_nor_a_phone_has_anything_against_it(tab, made):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    tab.run(axe.axe_script)
    found = tab.run("axe.run().then(found => found.violations.map(one => [one.id, one.nodes.map(node => node.html)]))")
    assert found == []
    tab.page.set_viewport_size({"width": 360, "height": 740})
    assert tab.run("document.documentElement.scrollWidth") <= 360
    tab.page.set_viewport_size({"width": 1280, "height": 900})


def test_a_page_without_has_none_of_it(browser, tmp_path):
    browser.open(viztool.explore(network(), many(1)[0], ["1", "3"]).save(tmp_path / "page.html"), "#3/2/0/0")
    assert browser.run("document.getElementById('concepts').checkVisibility()") is False


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_never_markup(browser, tmp_path, name):
    model = network(name, name)
    found = viztool.concepts(model, many(4), 1, "3", 2)
    page = viztool.explore(model, many(1)[0], ["1"], concepts=found, source=name)
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page.save(tmp_path / "page.html"), "#3/2/0/0")
    assert browser.run("document.getElementById('concepts-title').textContent") == f"Concepts of {name}"
    assert browser.run("document.title") != "run"
    assert browser.run("document.querySelectorAll('script, iframe, svg, base, style').length") == 2
    assert browser.errors == []
    assert [each for each in browser.requests if not each.startswith(("file:", "about:", "data:"))] == []


def test_those_of_another_network_and_other_files_are_refused(tmp_path):
    model, photo = network(), many(1)[0]
    path = viztool.concepts(model, many(4), 1, "3", 2).save_npz(tmp_path / "cat.npz")
    with pytest.raises(ModelError, match=r"cat.npz is of Sequential · .*, and this is other · "):
        viztool.explore(network("other"), photo, concepts=path)
    np.savez(tmp_path / "else.npz", directions=np.zeros(3))
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "empty.npz").write_bytes(b"")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / f"cut {share}.npz").write_bytes(whole[: int(share * len(whole))])
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 255
    (tmp_path / "flipped.npz").write_bytes(flipped)
    np.savez(tmp_path / "short.npz", **{**held(path), "parts": held(path)["parts"][:1]})
    for name in ("else", "text", "empty", "cut 0.1", "cut 0.5", "cut 0.9", "flipped", "short"):
        with pytest.raises(
            ViztoolError, match=rf"{name}.npz holds no concepts, or is damaged: `viztool concepts --npz` writes such"
        ):
            viztool.explore(model, photo, concepts=tmp_path / f"{name}.npz")
    for name in ("none.npz", "."):
        with pytest.raises(ViztoolError, match=r"cannot read .*: (No such file|Is a directory)"):
            viztool.explore(model, photo, concepts=tmp_path / name)


def held(path):
    with np.load(path) as found:
        return dict(found)


@pytest.mark.parametrize("name", ["parts", "directions", "map 1"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, name):
    arrays = held(viztool.concepts(network(), many(4), 1, "3", 2).save_npz(tmp_path / "cat.npz"))
    arrays[name].flat[0] = np.nan
    np.savez(tmp_path / "cat.npz", **arrays)
    with pytest.raises(ViztoolError, match=rf"cat.npz is damaged: '{name}' holds numbers that are not finite"):
        viztool.explore(network(), many(1)[0], concepts=tmp_path / "cat.npz")


def test_other_weights_and_another_preprocessing_are_refused_with_what_differs(tmp_path):
    model, photo = network(), many(1)[0]
    path = viztool.concepts(model, many(4), 1, "3", 2).save_npz(tmp_path / "cat.npz")
    other = network()
    with torch.no_grad():
        other.net[0].weight.view(-1)[0] += 1e-3
    with pytest.raises(ModelError) as said:
        viztool.explore(other, photo, concepts=path)
    digest, now = (weights_digest(each.net)[:12] for each in (model, other))
    assert str(said.value) == (
        f"Sequential is not what {path} is of (weights: {digest}…, now {now}…): "
        "find the concepts with this one, with `viztool concepts --npz`"
    )
    larger = viztool.wrap_model(model.net, size=(40, 40), mean=0.5, std=0.25, classes=["a", "cat", "c"])
    with pytest.raises(ModelError, match=r"is of \(preprocessing: .*32 × 40.*, now .*40"):
        viztool.explore(larger, photo, concepts=path)
    x = model.preprocess(photo)  # what became of a tensor before is not known
    viztool.explore(model, x, concepts=path)
    viztool.explore(model, photo, concepts=viztool.concepts(model, x.repeat(4, 1, 1, 1), 1, "3", 1))


def test_a_file_from_before_files_said_their_weights_is_refused(tmp_path):
    arrays = held(viztool.concepts(network(), many(4), 1, "3", 2).save_npz(tmp_path / "cat.npz"))
    numbers = json.loads(str(arrays["numbers"]))
    del numbers["fingerprint"]
    np.savez(tmp_path / "cat.npz", **{**arrays, "numbers": np.array(json.dumps(numbers))})
    with pytest.raises(ViztoolError, match=r"cat.npz does not say which weights it is of, .*: make it again, with"):
        viztool.explore(network(), many(1)[0], concepts=tmp_path / "cat.npz")


def test_of_a_network_whose_layers_have_other_names_it_is_said_first(tmp_path):
    path = viztool.concepts(network(), many(4), 1, "3", 2).save_npz(tmp_path / "cat.npz")
    other = viztool.wrap_model(nn.Sequential(nn.Sequential(network().net)), size=(32, 40), name="other")
    with pytest.raises(ModelError, match=r"cat.npz is of Sequential · .*, and this is other · "):
        viztool.explore(other, many(1)[0], concepts=path)


def test_what_a_concept_is_measured_by_is_the_most_in_all_photos(tmp_path, tab):
    model, photos = network(), many(12)
    found = viztool.concepts(model, photos, 1, "3", 3)
    most = torch.stack([maps.amax((1, 2)) for maps in found.maps(model, photos)]).amax(0)
    assert [one.maximum for one in found] == pytest.approx(most.tolist(), rel=1e-4)
    assert any(one.maximum > 1.01 * float(one.map.max()) for one in found)
    page = viztool.explore(model, photos[0], ["1"], concepts=found)
    tab.open(page.save(tmp_path / "page.html"), "#3/2/0/0")
    for at, text in enumerate(
        tab.run("[...document.querySelectorAll('[data-concept]')].map(each => each.textContent)")
    ):
        share = float(text.split(", ")[1].split(" %")[0])
        here = float(found.maps(model, photos[0])[0][at].max())
        assert share == pytest.approx(100 * here / float(most[at]), rel=0.06)
        assert share <= 100
        assert "% of the most in the photos that it was found in" in text


def test_the_command_takes_what_the_other_saves(desk):
    (desk / "cats").mkdir()
    for at, photo in enumerate(many(4)):
        write_image(desk / "cats" / f"{at}.png", photo)
    own = ["-m", "nets.py:build", "--weights", "none", "--size", "24"]
    run = CliRunner().invoke(main, ["concepts", "cats", *own, "--target", "0", "--count", "2", "--npz"])
    assert run.exit_code == 0, run.output
    run = CliRunner().invoke(main, ["explore", "photo.png", *own, "--concepts", "cats_concepts.npz"])
    assert run.output == "photo_explore.html\n"
    (desk / "folder").mkdir()
    (desk / "text.npz").write_text("text")
    for name in ("none.npz", "folder", "text.npz"):
        run = CliRunner().invoke(main, ["explore", "photo.png", *own, "--concepts", name])
        assert (run.exit_code, run.output.count("\n")) == (2, 1), run.output
        assert name in run.output


def test_how_far_activation_and_relevance_agree_is_said(browser, tmp_path):
    model = atlas_helpers.small_model()
    photos = atlas_helpers.write_photos(tmp_path / "photos", 14)
    atlas = viztool.build_atlas(
        model, photos, tmp_path / "a.atlas", layers=list(atlas_helpers.SMALL_LAYERS), keep=5, relevance=True
    )
    photo = np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8)
    path = viztool.explore(model, photo, ["5"], atlas=atlas).save(tmp_path / "page.html")
    for channel in range(3):
        browser.open(path, f"#5/{channel}/0/0")
        unit = atlas["5"][channel]
        same = len({place[0] for place in unit.top} & {place[0] for place in unit.relevant})
        said = browser.run("() => ({...document.getElementById('overlap').dataset})")
        assert (int(said["same"]), int(said["of"])) == (same, len(unit.top))
        captions = browser.run("[...document.querySelectorAll('#world figcaption')].map(each => each.textContent)")
        relevant = [f"{place[0]}: " for place in unit.relevant[:4]]
        assert [text for text in captions[-len(relevant) :] if not text.startswith(tuple(relevant))] == []
    assert browser.errors == []
