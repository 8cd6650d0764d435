"""An atlas is what a plain loop with hooks gives that keeps everything and sorts it."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import timm
import torch
from atlas_helpers import SMALL_LAYERS, photo, small_model, write_photos
from torch import nn

import viztool
from viztool.atlas import bins
from viztool.atlas.build import build_atlas
from viztool.atlas.ranges import BATCH

COPIES = {9: 4, 17: 4, 20: 2}


def dilated():
    """Dilation, transposition and a side branch."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.front = nn.Conv2d(3, 5, 5, stride=2, padding=2)
            self.wide = nn.Conv2d(5, 6, 3, padding=3, dilation=3)
            self.up = nn.ConvTranspose2d(6, 4, 4, stride=2, padding=1)
            self.head = nn.Linear(4, 3)

        def forward(self, x):
            x = self.front(x).relu_()
            x = x + self.wide(x).tanh().mean(1, keepdim=True)
            return self.head(self.up(self.wide(x).relu()).mean((2, 3)))

    torch.manual_seed(5)
    return viztool.wrap_model(Net().eval(), size=(36, 40)), ("front", "wide", "up")


def tokens():
    torch.manual_seed(6)
    net = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, patch_size=8, depth=3, embed_dim=24, num_heads=2, num_classes=4
    )
    return viztool.wrap_model(net.eval(), size=48), ("blocks.0", "blocks.2")


NETWORKS = {"own": lambda: (small_model(), SMALL_LAYERS), "dilated": dilated, "tokens": tokens}


def everything(model, layers, paths):
    """{layer: (N, C, h, w)} float32, in the batches that are promised; captured by plain hooks."""
    named = dict(model.net.named_modules())
    found = {name: [] for name in layers}
    calls = {}
    handles = [
        named[name].register_forward_hook(lambda _m, _i, out, name=name: calls.__setitem__(name, out.clone()))
        for name in layers
    ]
    x = torch.cat([model.preprocess(viztool.read_image(path)) for path in paths])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for start in range(0, len(x), BATCH):
                part = x[start : start + BATCH]
                model.net(torch.cat([part, *[part[-1:]] * (BATCH - len(part))]))
                for name in layers:
                    found[name].append(as_maps(calls[name][: len(part)]).numpy())
    finally:
        torch.set_num_threads(threads)
        for handle in handles:
            handle.remove()
    return {name: np.concatenate(parts) for name, parts in found.items()}


def as_maps(output):
    if output.dim() == 4:
        return output
    side = int((output.shape[1] - 1) ** 0.5)  # a class token stands before the patches
    return output[:, 1:].transpose(1, 2).reshape(len(output), -1, side, side)


@pytest.fixture(scope="module", params=list(NETWORKS))
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    photos = write_photos(folder / "photos", 21, COPIES)
    model, layers = NETWORKS[request.param]()
    atlas = build_atlas(model, photos, folder / "atlas", layers=layers, keep=5)
    paths = sorted(photos.rglob("*.png"), key=lambda path: path.relative_to(photos).as_posix())
    ids = [path.relative_to(photos).as_posix() for path in paths]
    return atlas, everything(model, layers, paths), ids, model, paths


def test_layers_and_photos(case):
    atlas, maps, ids, *_ = case
    assert atlas.layers == {name: values.shape[1] for name, values in maps.items()}
    assert (atlas.photos, atlas.failed, atlas.ids) == (len(ids), [], ids)


@pytest.mark.parametrize("kind", ["top", "least"])
def test_the_best_places_with_ties(case, kind):
    atlas, maps, ids, *_ = case
    sign = -1 if kind == "top" else 1
    ties = 0
    for name, values in maps.items():
        width = values.shape[3]
        for channel in range(values.shape[1]):
            rows = []
            for number, own in enumerate(values[:, channel]):
                flat = (sign * own).reshape(-1)
                at = min(range(len(flat)), key=lambda place: (flat[place], place))
                rows.append((flat[at], number, divmod(at, width), float(own.reshape(-1)[at])))
            rows.sort(key=lambda row: row[:2])
            ties += any(a[0] == b[0] for a, b in pairwise(rows))
            found = [(best, value, place) for best, value, place, _ in getattr(atlas[name][channel], kind)]
            assert found == [(ids[number], value, place) for _, number, place, value in rows[:5]]
    assert ties  # the copies did their part


def test_moments_and_counts(case):
    atlas, maps, *_ = case
    for name, values in maps.items():
        highest = values.reshape(*values.shape[:2], -1).max(2).astype(np.float64)
        for channel, unit in enumerate(atlas[name]):
            own = highest[:, channel]
            assert unit.mean == pytest.approx(own.mean(), rel=1e-12, abs=1e-12)
            assert unit.sd == pytest.approx(own.std(), rel=1e-6, abs=1e-9)
            assert unit.maximum == own.max()
            assert unit.active == (own > 0).mean()
            means = values[:, channel].reshape(len(values), -1).mean(1, dtype=np.float64)
            table = atlas[name].unit_numbers
            found = [table[f"mean_{kind}"][channel] for kind in ("mean", "sd", "low", "high")]
            assert found == pytest.approx([means.mean(), means.std(), means.min(), means.max()], rel=1e-4, abs=1e-6)
            counts = unit.histogram.counts
            assert counts.sum() == values[:, channel].size
            exact, _ = np.histogram(values[:, channel].astype(np.float64), unit.histogram.edges)
            # A value on an edge may be in the bin on either side of it; nothing else may differ.
            on_edges = np.isin(values[:, channel], unit.histogram.edges.astype(np.float32)).sum()
            assert np.abs(exact - counts).sum() <= 2 * on_edges
            for share in (0.1, 0.5, 0.99):
                sorted_values = np.sort(values[:, channel].reshape(-1))
                wanted = sorted_values[max(0, int(np.ceil(Fraction(share) * len(sorted_values))) - 1)]
                assert unit.quantile(share) == pytest.approx(wanted, rel=bins.RELATIVE_ERROR, abs=2.0**-16)


@pytest.mark.parametrize("share", [1.5, -0.1, float("nan")])
def test_a_quantile_is_of_a_share(case, share):
    atlas, maps, *_ = case
    unit = atlas[next(iter(maps))][0]
    with pytest.raises(viztool.errors.SettingError) as raised:
        unit.quantile(share)
    assert str(raised.value) == f"a quantile is of a share from 0 to 1, not of {share}"


def test_the_maxima_of_each_photo(case):
    atlas, maps, *_ = case
    for name, values in maps.items():
        assert np.array_equal(atlas.maxima(name), values.reshape(*values.shape[:2], -1).max(2))


def test_who_goes_with_whom(case):
    atlas, maps, *_ = case
    for name, values in maps.items():
        highest = values.reshape(*values.shape[:2], -1).max(2).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            wanted = np.corrcoef(highest.T)
        for channel, unit in enumerate(atlas[name]):
            found = unit.alike
            others = [other for other in range(len(wanted)) if other != channel]
            alive = [other for other in others if np.isfinite(wanted[channel, other])]
            assert len(found) == min(16, len(alive))
            for other, correlation in found:
                assert correlation == pytest.approx(wanted[channel, other], abs=1e-9)
            assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)


def test_boxes_are_where_the_gradient_comes_from(case):
    """Of each unit's best place: pixels outside the box have no gradient, and on each side one at the edge has."""
    atlas, maps, _, model, paths = case
    named = dict(model.net.named_modules())
    by_id = dict(zip(atlas.ids, paths, strict=True))
    for name in maps:
        if atlas.field(name) is None or len(atlas.field(name)) != 2:
            continue
        for unit in list(atlas[name])[:3]:
            best, _, (row, column), box = unit.top[0]
            photo = viztool.read_image(by_id[best])
            x = model.preprocess(photo).requires_grad_()
            held = {}
            handle = named[name].register_forward_hook(lambda _m, _i, out, held=held: held.update(out=out))
            model.net(x.clone())
            handle.remove()
            as_maps(held["out"])[0, unit.channel, row, column].backward()
            support = x.grad[0].abs().sum(0) > 0
            rows, columns = np.nonzero(support.any(1).numpy())[0], np.nonzero(support.any(0).numpy())[0]
            if not len(rows):
                continue  # a ReLU that is off here
            top, left, bottom, right = model.crop_box(photo.shape)
            down, across = (bottom - top) / x.shape[2], (right - left) / x.shape[3]
            seen = (top + rows[0] * down, left + columns[0] * across, top + (rows[-1] + 1) * down)
            seen = (*seen, left + (columns[-1] + 1) * across)
            seen = [min(max(edge, 0), photo.shape[at % 2]) for at, edge in enumerate(seen)]
            assert box[0] <= seen[0] + 1e-6 and box[1] <= seen[1] + 1e-6
            assert box[2] >= seen[2] - 1e-6 and box[3] >= seen[3] - 1e-6


def test_what_is_unusual_in_a_photo(case):
    atlas, maps, _, model, paths = case
    found = atlas.unusual(model, viztool.read_image(paths[3]), count=7)
    assert len(found) == 7
    reached = []
    for name, channel, value, share in found:
        highest = maps[name][:, channel].reshape(len(paths), -1).max(1)
        reached.append((bins.codes(highest) >= bins.codes(highest)[3]).mean())
        assert value == pytest.approx(float(highest[3]), rel=1e-4, abs=1e-6)
        codes = bins.codes(highest)
        assert share == (codes > codes[3]).mean()
    assert reached == sorted(reached)


def test_dead_and_saturated_units_are_not_unusual(tmp_path):
    """None of the photos exceed their values, and yet all of them, or nine of ten, come as far."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU6()).eval()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([0.0, 100.0, 1.0]).view(3, 1, 1, 1).expand(3, 3, 1, 1))
        net[0].bias.copy_(torch.tensor([-1.0, -12.0, 0.0]))
    model = viztool.wrap_model(net, size=8, mean=0.0, std=1.0)
    photos = [np.full((8, 8, 3), 20 * grey, np.uint8) for grey in range(10)]
    found = build_atlas(model, photos, tmp_path / "a", layers=["1"]).unusual(model, photos[8])
    assert [(channel, share) for _, channel, _, share in found] == [(2, 0.1), (1, 0.0), (0, 0.0)]


def test_a_photo_itself_is_not_unusual_to_a_unit_that_answers_to_all(case):
    atlas, maps, _, model, paths = case
    count = sum(values.shape[1] for values in maps.values())
    found = atlas.unusual(model, viztool.read_image(paths[0]), count=10**6)
    assert len(found) == count


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"mean": 0.1}, "preprocessing: mean 0.5, now mean 0.1"),
        (
            {"size": (64, 64)},
            "preprocessing: resize 32 × 36 bilinear and crop 32 × 36, now resize 64 bilinear and crop 64",
        ),
    ],
)
def test_values_that_cannot_be_compared_are_refused(tmp_path, changed, says):
    own, seen = small_model(), photo(0)
    atlas = build_atlas(own, [seen], tmp_path / "a", layers=["1"])
    settings = {"size": (32, 36), "mean": 0.5, "std": 0.25}
    other = viztool.wrap_model(own.net, **{**settings, **changed})
    with pytest.raises(viztool.ViztoolError, match=rf"is not what .* is of \({says}\)$"):
        atlas.unusual(other, seen)
    double = viztool.wrap_model(small_model().net.double(), **settings)
    with pytest.raises(viztool.ViztoolError, match=r"is of \(weights: .*; precision: float32, now float64\)$"):
        atlas.unusual(double, seen)


def test_beside_an_atlas_of_halves_a_photo_is_looked_at_in_halves(tmp_path):
    photos = [photo(number) for number in range(3)]
    atlas = build_atlas(small_model(), photos, tmp_path / "a", layers=["1"], half=True)
    for _, channel, value, _ in atlas.unusual(small_model(), photos[0]):
        assert value == float(torch.tensor(value).bfloat16())
        assert value == pytest.approx({name: value for name, value, *_ in atlas["1"][channel].top}["0"], rel=0.01)


def test_labels_by_folder(case):
    atlas, maps, ids, *_ = case
    labels = np.array([one.partition("/")[0] for one in ids])
    for name, values in maps.items():
        highest = np.ascontiguousarray(values.reshape(*values.shape[:2], -1).max(2))
        codes = bins.codes(highest)
        for channel, unit in enumerate(atlas[name]):
            ranked = np.sort(codes[:, channel])
            over = codes[:, channel] > ranked[int(np.ceil(0.95 * len(ranked))) - 1]
            wanted = {label: over[labels == label].mean() for label in ("cat", "dog")}
            assert dict(unit.labels) == pytest.approx(wanted)
