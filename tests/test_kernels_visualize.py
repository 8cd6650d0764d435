"""The sheet of what kernels look for: which, with what numbers, and what is said of those that show nothing."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
from kernel_nets import shared
from PIL import Image
from torch import nn

import viztool
from viztool.errors import LayerError, ModelError, TargetError, ViztoolError
from viztool.kernels import Beside, KernelSheet, Recipe, Run, visualize_kernels
from viztool.kernels.ascent import Optima, Progress
from viztool.kernels.examine import measures, natural
from viztool.kernels.photos import selectivity
from viztool.kernels.units import noise_means
from viztool.models.model import Model, wrap_model
from viztool.render.kernel_sheet import Card, KernelPage, Picked, draw_color_kernel, draw_slices, kernel_page
from viztool.render.raster import raster

rng = np.random.default_rng(0)
PHOTOS = [rng.integers(0, 256, (24, 24, 3), np.uint8) for _ in range(5)]


def named() -> Model:
    model = shared()
    return wrap_model(model.net, size=24, mean=0.5, std=1.0, classes=["ant", "bee", "cat", "dog"])


def look(
    model: Model | None = None, layer: str | None = "second", channels: object = (1, 4), **options: object
) -> KernelSheet:
    return visualize_kernels(model or named(), layer, channels, **{"steps": 4, "size": 24, **options})


class MemoryStore:
    def __init__(self) -> None:
        self.parts: dict[int, Optima] = {}
        self.identity: Mapping[str, object] = {}

    def open(self, identity: Mapping[str, object]) -> None:
        if identity != self.identity:
            self.parts.clear()
        self.identity = identity

    def load(self, part: int) -> Optima | None:
        return self.parts.get(part)

    def save(self, part: int, optima: Optima) -> None:
        assert part not in self.parts
        self.parts[part] = optima


class TestNumbers:
    def test_the_activation_is_the_networks_own_for_the_picture_that_is_kept(self) -> None:
        model = named()
        sheet = look(model)
        for kernel in sheet.kernels:
            assert kernel.negative is not None
            for drawn in (kernel.optimum, kernel.negative):
                x = torch.from_numpy(drawn.pixels).permute(2, 0, 1)[None] / 255 - 0.5
                with torch.no_grad(), viztool.capture(model.net, "second") as acts:
                    model.net(x)
                own = acts["second"][0, kernel.unit].mean().item()
                assert drawn.numbers["activation"] == pytest.approx(own, abs=5e-3)  # eight bits
            assert kernel.optimum.numbers["activation"] > kernel.negative.numbers["activation"]

    def test_beside_photos(self) -> None:
        sheet = look(photos=Beside(PHOTOS, keep=2, spread=True))
        for kernel in sheet.kernels:
            assert {kind: len(found) for kind, found in kernel.excerpts.items()} == {"top": 2, "least": 2, "random": 2}
            natural = kernel.natural
            assert natural["mean"] <= natural["p99"] <= natural["max"]
            if natural["max"] > 0:
                ratio = kernel.optimum.numbers["activation"] / natural["max"]
                assert kernel.optimum.numbers["to photos' max"] == pytest.approx(ratio)
        assert "Photos: the best of 5, cut at a unit's receptive field; under each the unit's own value." in sheet.notes

    def test_they_fit_in_json_and_say_how(self) -> None:
        numbers = json.loads(json.dumps(look(photos=PHOTOS).numbers, allow_nan=False))
        assert numbers["settings"]["steps"] == 4
        assert numbers["settings"]["parameterization"] == "fourier"
        assert [kernel["unit"] for kernel in numbers["kernels"]] == [1, 4]
        assert numbers["kernels"][0]["weights"]["shape"] == [8, 3, 3]

    def test_a_second_network_judges_classes(self) -> None:
        model = named()
        sheet = visualize_kernels(model, targets=["cat", 0], steps=4, size=24, judge=model)
        assert [kernel.label for kernel in sheet.kernels] == ["cat", "ant"]
        assert all(kernel.negative is None for kernel in sheet.kernels)
        x = torch.from_numpy(sheet.kernels[0].optimum.pixels).permute(2, 0, 1)[None] / 255 - 0.5
        with torch.no_grad():
            own = model.net(x).softmax(1)[0, 2].item()
        assert sheet.kernels[0].optimum.numbers["judged"] == pytest.approx(own, abs=5e-3)


class TestWhich:
    def test_by_default_the_most_selective_over_the_photos(self) -> None:
        sheet = look(channels=None, photos=PHOTOS, negative=False)
        assert len(sheet) == 6
        z = [kernel.natural["z"] for kernel in sheet.kernels]
        assert z == sorted(z, reverse=True)
        assert sheet.chosen == "the 6 most selective, by (max − mean) / sd over the photos"

    def test_or_over_noise_and_it_says_so(self) -> None:
        model = named()
        sheet = look(model, channels=None, negative=False)
        expected = np.argsort(-selectivity(noise_means(model, "second", (24, 24), 0)), kind="stable")
        assert [kernel.unit for kernel in sheet.kernels] == expected.tolist()
        assert "over noise with the spectrum of photos (64; photos choose better)" in sheet.chosen

    def test_the_size_is_128_and_for_classes_that_of_the_networks_photos(self) -> None:
        model = named()
        deep = nn.Sequential(*(nn.Conv2d(3, 3, 3, stride=2) for _ in range(4)))  # whose units see 31 pixels
        assert visualize_kernels(deep, "3", [0], 1).kernels[0].optimum.pixels.shape == (128, 128, 3)
        assert visualize_kernels(model, targets=[0], steps=1).kernels[0].optimum.pixels.shape == (24, 24, 3)

    def test_a_network_that_takes_no_other_size_gets_its_own(self) -> None:
        net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1).eval()
        sheet = visualize_kernels(net, "blocks.0", [3], 1)
        assert sheet.kernels[0].optimum.pixels.shape == (32, 32, 3)
        with pytest.raises(ModelError, match=r"^VisionTransformer cannot run on pictures of 48 × 48: .*; try its own"):
            visualize_kernels(net, "blocks.0", [3], 1, 48)

    def test_a_picture_is_the_same_whichever_others_are_drawn(self) -> None:
        alone, among = look(channels=[4, 2]), look(channels=[1, 4])
        np.testing.assert_array_equal(alone.kernels[0].optimum.pixels, among.kernels[1].optimum.pixels)

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"channels": [6]}, LayerError, r"^layer 'second' has 6 channels, 0 to 5, and no 6$"),
            ({"channels": []}, LayerError, r"^no channel is named; name at least one, or leave them out"),
            ({"layer": "secnd"}, LayerError, r"^no layer matches 'secnd'; nearest: second$"),
            ({"layer": "*"}, LayerError, r"^'\*' picks 5 layers, 'first' and others; name one$"),
            ({"layer": None}, LayerError, r"^name either a layer, or targets \(classes\)$"),
            ({"layer": None, "targets": ["cow"]}, TargetError, r"^no class is called 'cow'"),
            (
                {"recipe": Recipe("fft")},
                ViztoolError,
                r"^no parameterization is called 'fft'; there are pixels, ",
            ),
        ],
    )
    def test_what_is_not_there(self, wrong: dict[str, object], error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            look(**wrong)


class TestResuming:
    def test_an_interrupted_run_goes_on_without_losing_or_repeating_a_tile(self) -> None:
        channels = list(range(6))
        whole = look(channels=channels)
        store, seen = MemoryStore(), []

        def stop(progress: Progress) -> None:
            if progress.indices.start == 8 and progress.step == 2:
                raise KeyboardInterrupt

        def note(progress: Progress) -> None:
            seen.append((progress.indices, progress.total))

        partial = look(channels=channels, run=Run(store, stop))
        assert [kernel.optimum.status for kernel in partial.kernels] == [""] * 4 + ["interrupted"] * 2
        assert list(store.parts) == [0]
        resumed = look(channels=channels, run=Run(store, note))
        assert set(seen) == {(range(8, 12), 12)}
        np.testing.assert_array_equal(resumed.arrays["optimum"], whole.arrays["optimum"])
        np.testing.assert_array_equal(resumed.arrays["negative"], whole.arrays["negative"])
        assert resumed.numbers == whole.numbers

    @pytest.mark.parametrize("change", ["photos", "mean", "weight", "buffer", "no change"])
    def test_a_run_is_known_by_what_its_options_come_to(self, change: str) -> None:
        """Half a run, something else is not as it was, the rest of the run: as if all of it were of then."""
        model, photos = named(), PHOTOS[:2]
        store, begun = MemoryStore(), []
        which = {"channels": None, "negative": False, "recipe": Recipe("maco"), "size": 16}

        def stop(progress: Progress) -> None:
            if progress.indices.start == 4:
                raise KeyboardInterrupt

        look(model, photos=photos, run=Run(store, stop), **which)
        assert list(store.parts) == [0]
        if change == "photos":
            photos = PHOTOS
        elif change == "mean":
            model = wrap_model(model.net, size=24, mean=0.3, std=1.0, classes=model.classes)
        elif change == "weight":
            with torch.no_grad():
                model.net.first.weight[0, 0, 0, 0] += 1
        elif change == "buffer":
            model.net.norm.running_mean += 0.5
        store.save = lambda part, optima: begun.append(part)  # type: ignore[method-assign]
        resumed = look(model, photos=photos, run=Run(store), **which)
        assert begun == ([1] if change == "no change" else [0, 1])
        whole = look(model, photos=photos, **which)
        assert resumed.numbers == whole.numbers
        np.testing.assert_array_equal(resumed.arrays["optimum"], whole.arrays["optimum"])

    def test_and_by_its_layers_and_all_their_tensors(self) -> None:
        def identity(net: nn.Module, **options: object) -> object:
            store = MemoryStore()
            look(wrap_model(net, size=24, mean=0.5, std=1.0), run=Run(store), **{"steps": 1, **options})
            return store.identity

        net = shared().net
        same = identity(net)
        assert identity(copy.deepcopy(net)) == same
        assert json.loads(json.dumps(same)) == same
        other = copy.deepcopy(net)
        other.second.stride = (1, 1)
        unsaved = copy.deepcopy(net)
        unsaved.register_buffer("offset", torch.ones(1), persistent=False)
        later = copy.deepcopy(unsaved)
        later.offset += 1
        found = [same, *(identity(each) for each in (other, unsaved, later))]
        ways: list[dict[str, object]] = [{"steps": 2}, {"seed": 1}, {"size": 16}, {"channels": (4, 1)}]
        ways += [{"negative": False}, {"layer": "first"}, {"recipe": Recipe("pixels")}, {"recipe": Recipe(redirect=0)}]
        ways += [{"recipe": Recipe(without=("turns",))}]
        found += [identity(net, **way) for way in ways]
        assert all(one != two for at, one in enumerate(found) for two in found[:at])


class TestBesidePhotos:
    def test_of_a_maximum_near_zero_nothing_is_a_multiple(self) -> None:
        """Of photos' maxima that are above zero by a hair: how many times as much says nothing."""
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 6, 3)).eval()
        model = wrap_model(net, size=24, mean=0.5, std=1.0)
        with torch.no_grad():
            means = net(torch.cat([model.preprocess(photo) for photo in PHOTOS])).mean((2, 3))
            net[0].bias -= means.amax(0) - 0.1 * means.std(0)
        sheet = look(model, "0", range(6), photos=PHOTOS, negative=False, steps=40)
        for kernel in sheet.kernels:
            assert 0 < kernel.natural["max"] < kernel.natural["sd"]
            assert kernel.optimum.numbers["activation"] > 2 * kernel.natural["max"]
            assert kernel.optimum.numbers["to photos' max"] is None
            assert "photos' max" not in sheet._card(kernel).rows[0][1].lines[0]

    def test_of_values_that_are_never_negative_the_maximum_is_a_measure(self) -> None:
        for share in (0.01, 0.3, 0.9):
            means = np.where(rng.random((50, 4)) < share, rng.random((50, 4)), 0).astype(np.float32)
            means[0] += 0.01
            activity = SimpleNamespace(means=means)
            for unit in range(4):
                assert measures(activity, unit)["max"] == natural(activity, unit)["max"]


class TestPicture:
    def test_a_relu_rests_at_zero_and_is_not_said_to_never_respond(self) -> None:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval()
        with torch.no_grad():
            net[0].bias.fill_(-0.05)
            net[0].weight[1] = 0
        sheet = look(wrap_model(net, size=24, mean=0.5, std=1.0), "1", [0, 1], steps=20)
        responds, dead = sheet.kernels
        assert responds.optimum.status == ""
        assert responds.optimum.numbers["activation"] > 0
        assert responds.negative.status == "nothing lower found"
        assert responds.negative.numbers["activation"] == 0
        assert (dead.optimum.status, dead.negative.status) == ("never responds", "never responds")

    def test_what_shows_nothing_is_marked(self) -> None:
        model = named()
        with torch.no_grad():
            model.net.second.weight[1] = float("nan")
            model.net.second.weight[4] = 0
        sheet = look(model, channels=[0, 1, 4], photos=PHOTOS)
        assert [kernel.optimum.status for kernel in sheet.kernels] == ["", "not finite", "never responds"]
        tiles = [sheet._card(kernel).rows[0][1] for kernel in sheet.kernels]
        assert [tile.mark for tile in tiles] == ["", "not finite", "never responds"]
        assert tiles[0].picture is not None
        assert sheet.picture().shape[1:] == (1340, 3)
        json.dumps(sheet.numbers, allow_nan=False)

    def test_a_kernel_of_next_to_nothing_is_not_stretched(self) -> None:
        model = named()
        with torch.no_grad():
            model.net.first.weight[2] *= 1e-7
        sheet = look(model, "first", [1, 2])
        assert [kernel.optimum.status for kernel in sheet.kernels] == ["", "never responds"]
        assert [sheet._card(kernel).rows[0][0].mark for kernel in sheet.kernels] == ["", "nearly zero"]
        assert sheet.notes[-1].startswith("These are plain filters of the picture")

    def test_each_by_itself_with_alpha(self, tmp_path: Path) -> None:
        sheet = look(recipe=Recipe("maco"))
        paths = sheet.save_each(tmp_path, alpha=True)
        assert [path.name for path in paths] == ["second_0001.png", "second_0004.png"]
        with Image.open(paths[0]) as image:
            rgba = np.asarray(image)
        np.testing.assert_array_equal(rgba[..., :3], sheet.kernels[0].optimum.pixels)
        # Clipped at the 80th percentile: a fifth is opaque.
        assert 0.15 < (rgba[..., 3] == 255).mean() < 0.25
        plain = sheet.save_each(tmp_path, force=True)
        np.testing.assert_array_equal(viztool.read_image(plain[1]), sheet.kernels[1].optimum.pixels)

    def test_tiles_stand_where_the_page_says_and_fill_it(self) -> None:
        red = np.full((10, 10, 3), (255, 0, 0), np.uint8)
        for count, across in ((1, 6), (3, 2), (7, 1)):
            cards = [Card("a", "", [], [[Picked(red)] * count])] * across
            drawn = raster(kernel_page(KernelPage("t", "", [], cards, "")))
            columns = (drawn == (255, 0, 0)).all(2).any(0)
            runs = np.flatnonzero(np.diff(columns.astype(int)) == 1)
            assert len(runs) == count * across
            assert columns.nonzero()[0].min() in range(40, 43)
            assert columns.nonzero()[0].max() > 1340 - 40 - 12

    def test_colours_of_a_kernel_are_grey_at_zero(self) -> None:
        values = np.zeros((3, 2, 2), np.float32)
        values[0, 0, 0], values[2, 1, 1] = 2, -2
        drawn = draw_color_kernel(values)
        assert drawn[0, 0].tolist() == [255, 128, 128]
        assert drawn[1, 1].tolist() == [128, 128, 0]
        assert drawn[0, 1].tolist() == [128, 128, 128]

    def test_slices_share_a_scale_with_white_zero(self) -> None:
        values = np.zeros((4, 3, 3), np.float32)
        values[0, 0, 0], values[3, 2, 2] = 1.0, -0.5
        drawn = draw_slices(values).astype(int)
        assert drawn[4, 4, 0] > drawn[4, 4, 2] + 50  # red
        assert drawn[-5, -5, 2] > drawn[-5, -5, 0]  # blue, and paler
        assert drawn[-5, -5].sum() > drawn[4, 4].sum()
        middle = drawn.shape[0] // 4
        assert drawn[middle, middle].tolist() == [255, 255, 255]
