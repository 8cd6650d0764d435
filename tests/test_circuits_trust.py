"""Whether an optimum takes the path that photos take: by an oracle, and at both ends of its scale."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.cli import main
from viztool.images import write_image
from viztool.kernels import Beside
from viztool.kernels.trust import Guide, scrambled
from viztool.render.canvas import Placed, Text


def photo(seed: int) -> np.ndarray:
    """Stripes of its own direction and colour."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :48]
    wave = np.sin(0.4 * (rows * np.cos(seed) + columns * np.sin(seed)))
    return (127 + 120 * wave[..., None] * rng.uniform(0.4, 1, 3)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def model():
    torch.manual_seed(5)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 5, stride=2), nn.ReLU(), nn.Conv2d(12, 16, 3), nn.ReLU(), nn.Conv2d(16, 20, 3), nn.ReLU()
    )
    return viztool.wrap_model(net, size=(48, 48), mean=0.5, std=0.25)


def slow_means(model, picture):
    x = (torch.tensor(picture).permute(2, 0, 1)[None] / 255 - 0.5) / 0.25
    found = []
    with torch.no_grad():
        for layer in model.net[:3]:
            x = layer(x)
            if isinstance(layer, nn.Conv2d):
                found.append(x.mean((2, 3))[0].double().numpy())
    return found


def spearman(one, other):
    return np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1]


def test_the_curves_are_mean_rank_correlations_of_channel_means(model):
    guide = Guide(model, "3")
    assert guide.layers == ("0", "2")  # those on the way, and none behind
    photos, optimum = [photo(at) for at in range(3)], photo(9)
    found = guide.compare(optimum, photos, seed=4)
    own, seen = slow_means(model, optimum), [slow_means(model, one) for one in photos]
    noisy = [slow_means(model, scrambled(one, 4 + at)) for at, one in enumerate(photos)]
    for layer in range(2):
        assert found.optimum[layer] == pytest.approx(np.mean([spearman(own[layer], one[layer]) for one in seen]))
        pairs = [(0, 1), (0, 2), (1, 2)]
        assert found.photos[layer] == pytest.approx(
            np.mean([spearman(seen[a][layer], seen[b][layer]) for a, b in pairs])
        )
        crossed = [(0, 1), (1, 2), (2, 0)]
        assert found.noise[layer] == pytest.approx(
            np.mean([spearman(noisy[a][layer], seen[b][layer]) for a, b in crossed])
        )
    room = found.photos.mean() - found.noise.mean()
    assert found.likeness == pytest.approx((found.optimum.mean() - found.noise.mean()) / room)


def test_noise_keeps_the_spectrum_and_nothing_else():
    given = np.random.default_rng(1).integers(100, 156, (48, 48, 3), np.uint8)
    noise = scrambled(given, 0)
    spectra = [np.abs(np.fft.fft2(one.astype(float).mean(2)))[1:8, 1:8] for one in (given, noise)]
    assert np.corrcoef(spectra[0].ravel(), spectra[1].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(given.ravel(), noise.ravel())[0, 1]) < 0.1
    assert noise.mean() == pytest.approx(given.mean(), abs=2)


def test_one_photo_is_too_few(model):
    assert Guide(model, "3").compare(photo(0), [photo(1)]) is None


def test_it_is_on_the_sheet_and_in_the_numbers(model):
    photos = [photo(at) for at in range(6)]
    sheet = viztool.visualize_kernels(
        model, "5", [2], steps=4, size=48, negative=False, photos=Beside(photos, keep=3, check=True)
    )
    kernel = sheet.kernels[0]
    top = [model.view(photos[at]) for at in np.argsort(-_maxima(model, photos)[:, 2], kind="stable")[:3]]
    again = Guide(model, "5").compare(kernel.optimum.pixels, top)
    assert sheet.numbers["kernels"][0]["paths"] == again.numbers
    said = [one.text for one in drawn(sheet.drawing()) if isinstance(one, Text)]
    assert any(text.startswith("path ") for text in said)
    assert "its path through the network" in said
    plain = viztool.visualize_kernels(model, "5", [2], steps=4, size=48, negative=False, photos=Beside(photos, keep=3))
    assert "paths" not in plain.numbers["kernels"][0]


def drawn(canvas):
    for one in canvas.drawn:
        yield from drawn(one.canvas) if isinstance(one, Placed) else [one]


def _maxima(model, photos):
    with torch.no_grad():
        return torch.cat([model.net(model.preprocess(one)).amax((2, 3)) for one in photos]).numpy()


def test_the_command_says_it_and_needs_photos(desk):
    for at in range(4):
        write_image(f"photos/{at}.png", photo(at))
    network = ["-m", "nets.py:build", "--weights", "none"]
    asked = ["kernels", "-l", "1", "-c", "0", "--steps", "2", "--size", "32", "--no-negative", *network, "-o", "x.svg"]
    refused = CliRunner().invoke(main, [*asked, "--check"])
    assert refused.exit_code == 2
    assert "--check compares with photos: give --photos, and at least two of them" in refused.output
