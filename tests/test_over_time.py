"""Inputs with a time, (N, C, T, H, W): maps of each moment, and their sum."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.attribution import METHODS as ATTRIBUTIONS
from viztool.cam import METHODS
from viztool.errors import LayerError, ModelError
from viztool.render.canvas import Image, Text
from viztool.render.colormaps import overlay

T = 4


class Film(nn.Module):
    """Sees one moment after the other, and takes their mean; or pictures, (N, C, H, W), in the same way."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 5, (1, 3, 3), padding=(0, 1, 1))
        self.act = nn.ReLU()
        self.last = nn.Conv3d(5, 6, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.relu = nn.ReLU()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu(self.last(self.act(self.conv(x))))
        return self.fc(x.mean((2, 3, 4)))


class Picture(Film):
    def forward(self, x):
        x = F.relu(F.conv2d(x, self.conv.weight[:, :, 0], self.conv.bias, padding=1))
        x = self.relu(F.conv2d(x, self.last.weight[:, :, 0], self.last.bias, 2, 1))
        return self.fc(x.mean((2, 3)))


def nets():
    torch.manual_seed(0)
    film, picture = Film().eval(), Picture().eval()
    picture.load_state_dict(film.state_dict())
    return film, picture


@pytest.fixture
def x():
    return torch.randn(2, 3, T, 10, 12, generator=torch.Generator().manual_seed(3))


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam", "elementwise"])
def test_a_moments_map_is_that_of_its_picture(method, x):
    film, picture = nets()
    found = viztool.class_activation_map(film, x, method, 1, "relu")
    for moment in range(T):
        alone = viztool.class_activation_map(picture, x[:, :, moment], method, 1, "relu").raw
        close(found.over_time[:, moment], alone / T)  # the score is the mean over moments
    close(found.raw, found.over_time.sum(1))


@pytest.mark.parametrize("method", ["gradient", "gradient_x_input", "integrated_gradients", "lrp_epsilon"])
def test_a_moments_attribution_is_that_of_its_picture(method, x):
    film, picture = nets()
    found = viztool.attribute(film, x, method, 1)
    assert found.over_time.shape == (2, T, 10, 12)
    for moment in range(T):
        close(found.over_time[:, moment], viztool.attribute(picture, x[:, :, moment], method, 1).raw / T)
    close(found.raw, found.over_time.sum(1))


def test_score_cam_weighs_by_the_score_behind_masks_over_time(x):
    film, _ = nets()
    x = x[:1]
    found = viztool.class_activation_map(film, x, "scorecam", 1, "relu")
    with torch.no_grad():
        maps = film.relu(film.last(film.act(film.conv(x))))
        large = F.interpolate(maps, x.shape[2:], mode="trilinear")[0]
        masks = [(one - one.min()) / (one.max() - one.min()) if one.max() > one.min() else one * 0 for one in large]
        weights = torch.stack([film(x * mask)[0, 1] for mask in masks]).softmax(0)
    close(found.over_time, torch.einsum("c,ncthw->nthw", weights, maps).relu())


def test_ablation_cam_weighs_by_what_is_lost_without_the_channel(x):
    film, _ = nets()
    found = viztool.class_activation_map(film, x, "ablationcam", 1, "relu")
    with torch.no_grad():
        maps, score = film.relu(film.last(film.act(film.conv(x)))), film(x)[:, 1]
        without = torch.stack([score - film.fc.weight[1, c] * maps[:, c].mean((1, 2, 3)) for c in range(6)], 1)
        weights = (score[:, None] - without) / score.abs()[:, None]
    close(found.over_time, torch.einsum("nc,ncthw->nthw", weights, maps).relu())


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"fullgrad"}))
def test_every_map_has_its_moments_and_is_their_sum(method, x):
    film, _ = nets()
    layer = "relu" if method == "cam" else None
    found = viztool.class_activation_map(film, x, method, 1, layer)
    assert found.layer == ("relu",)
    assert found.over_time.shape == (2, T, 5, 6)
    close(found.raw, found.over_time.sum(1))
    assert found.map.shape == (2, 10, 12)


@pytest.mark.parametrize("method", sorted(set(ATTRIBUTIONS) - {"guided_gradcam"}))
def test_every_attribution_is_of_the_input(method, x):
    film, _ = nets()
    found = viztool.attribute(film, x, method, 1, **({"samples": 8} if method == "rise" else {}))
    assert found.raw.shape == (2, 10, 12)
    # Occlusion and RISE cover a place at all moments.
    assert (found.over_time is None) == (method in ("occlusion", "rise"))


def test_the_strip_shows_each_moment_over_its_frame(x):
    film, _ = nets()
    found = viztool.class_activation_map(film, x[:1], "gradcam", 1, "relu")
    assert found.over_time.any()
    subject = found.subjects[0]
    assert len(subject.frames) == T
    assert (subject.view == subject.frames[T // 2]).all()
    strip = found.drawing().drawn[1].canvas.drawn
    assert [mark.text for mark in strip if isinstance(mark, Text)][2::2] == [f"frame {moment}" for moment in range(T)]
    pictures = [mark for mark in strip if isinstance(mark, Image)]
    limit = float(found.over_time.max())
    for moment, drawn in enumerate(pictures):
        expected = overlay(found.over_time[0, moment].numpy(), limit, subject.frames[moment], heat=True)
        assert (drawn.draw(drawn.own) == expected).all()
    numbers = found.numbers["images"][0]
    assert numbers["over_time"] == pytest.approx(found.over_time[0].sum((1, 2)).tolist())
    assert found.arrays["over_time"].shape == (1, T, 5, 6)


def test_an_evaluation_takes_pixels_out_at_all_moments(x):
    film, _ = nets()
    found = viztool.class_activation_map(film, x[:1], "gradcam", 1, "relu")
    evaluation = viztool.evaluate_heatmap(film, x[:1], found, steps=4, draws=2)
    with torch.no_grad():
        ends = [film(each)[0, 1] for each in (x[:1], torch.zeros_like(x[:1]))]
    curve = evaluation.curves["deletion"].values[0]
    close(torch.stack([curve[0], curve[-1]]), torch.stack(ends))


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            ({"method": "fullgrad"}, LayerError, "fullgrad is of pictures, and the input has a time"),
            ({"layer": ["act", "relu"]}, LayerError, "2 layers were picked; of an input with a time the map is of one"),
            ({"layer": "fc"}, LayerError, "layer 'fc' puts out no maps over time"),
            ({"smooth_flips": True}, ModelError, "smooth_flips and smooth_scales are of pictures"),
        ],
    )
    def test_what_cannot_be(self, arguments, kind, message, x):
        with pytest.raises(kind, match=message):
            viztool.class_activation_map(nets()[0], x, target=1, **arguments)

    def test_a_tensor_of_another_form(self):
        with pytest.raises(ModelError, match=r"^a tensor to look at is \(N, C, H, W\), or \(N, C, T, H, W\), not "):
            viztool.attribute(nets()[0], torch.randn(3, 8, 8))
