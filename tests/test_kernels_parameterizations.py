"""Pictures are made from their parameters as the mathematics says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from viztool.kernels.color import correlate, decorrelate
from viztool.kernels.parameterizations import CPPN, MACO, PARAMETERIZATIONS, Fourier, Laplacian, Pixels, Shape
from viztool.kernels.parameterizations.fourier import frequencies
from viztool.kernels.parameterizations.maco import MACOCanvas, magnitude
from viztool.kernels.parameterizations.spectrum import natural_spectrum

CPU = torch.device("cpu")
SIZES = [(16, 16), (15, 16), (16, 17), (9, 21)]


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


class TestColor:
    def test_the_transform_inverts(self) -> None:
        x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
        torch.testing.assert_close(decorrelate(correlate(x)), x)
        torch.testing.assert_close(correlate(decorrelate(x)), x)

    def test_it_is_lucids_matrix_over_its_largest_column_norm(self) -> None:
        root = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.0, -0.05], [0.27, -0.09, 0.03]], dtype=torch.float64)
        expected = root / root.square().sum(0).sqrt().max()
        seen = correlate(torch.eye(3, dtype=torch.float64)[:, :, None])[..., 0]  # row k: what channel k becomes
        torch.testing.assert_close(seen, expected.T)

    @pytest.mark.parametrize("channels", [1, 2, 4])
    def test_other_numbers_of_channels_have_no_colours(self, channels: int) -> None:
        x = torch.randn(2, channels, 4, 4)
        assert correlate(x) is x


class TestFourier:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("decay", [1.0, 0.5])
    def test_round_trip(self, size: tuple[int, int], channels: int, decay: float) -> None:
        images = 0.1 + 0.8 * torch.rand(2, channels, *size)
        shown = Fourier(decay=decay).resume(images).image()
        torch.testing.assert_close(shown, images, atol=1e-4, rtol=0)

    @pytest.mark.parametrize("size", SIZES)
    def test_frequencies_are_those_of_waves(self, size: tuple[int, int]) -> None:
        h, w = size
        table = frequencies(size)
        for row, column in [(0, 0), (1, 0), (0, 1), (h - 1, 2), (h // 2, w // 2)]:
            down = min(row, h - row) / h
            assert table[row, column] == pytest.approx(np.hypot(down, column / w))

    def test_a_coefficient_counts_by_its_wavelength(self) -> None:
        """What one unit of a parameter changes falls with the frequency."""
        shape = Shape(1, (32, 32), CPU)
        amplitudes = []
        for column in (1, 2, 4, 8):
            canvas = Fourier(sd=0).start(shape, generators(0))
            with torch.no_grad():
                canvas.parameters[0][0, 0, 0, column, 0] = 1e-3
            amplitudes.append(float((canvas.image().detach() - 0.5).abs().max()))
        ratios = [first / second for first, second in itertools.pairwise(amplitudes)]
        assert ratios == pytest.approx([2**1.25] * 3, rel=1e-2)


class TestMACO:
    @pytest.mark.parametrize("size", SIZES)
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_whatever_the_phases_the_magnitudes_stay_exactly(self, size: tuple[int, int], channels: int) -> None:
        phases = 30 * torch.randn(2, channels, size[0], size[1] // 2 + 1, dtype=torch.float64)
        wanted = magnitude(channels, size, 1.2).double()
        canvas = MACOCanvas(phases, wanted, size)
        found = torch.fft.rfft2(canvas.plain(), norm="ortho").abs()
        torch.testing.assert_close(found, wanted.expand_as(found), atol=1e-10, rtol=1e-8)

    @pytest.mark.parametrize("size", [(32, 32), (96, 128), (31, 45)])
    def test_the_contrast_is_the_standard_deviation(self, size: tuple[int, int]) -> None:
        canvas = MACO(contrast=0.7).start(Shape(3, size, CPU), generators(0))
        assert isinstance(canvas, MACOCanvas)
        plain = canvas.plain()
        assert plain.square().mean().sqrt().item() == pytest.approx(0.7, rel=1e-4)
        assert plain.mean().item() == pytest.approx(0, abs=1e-5)

    def test_the_spectrum_falls_as_that_of_photos(self) -> None:
        """About 1 / f in every channel, and most in brightness."""
        found = magnitude(3, (128, 128), 1.0)
        table = frequencies((128, 128))
        bands = [(table > low) & (table <= 2 * low) for low in (1 / 64, 1 / 32, 1 / 16, 1 / 8)]
        means = torch.stack([found[:, band].mean(1) for band in bands])
        slopes = (means[1:] / means[:-1]).log2()
        assert bool(((slopes < -0.6) & (slopes > -1.8)).all())
        assert found[0].sum() > found[1].sum() > found[2].sum()

    def test_the_stored_one_is_small_and_positive(self) -> None:
        stored = natural_spectrum()
        assert stored.shape == (3, 64, 33)
        assert (stored > 0).all()


@pytest.mark.parametrize("kind", PARAMETERIZATIONS.values(), ids=list(PARAMETERIZATIONS))
@pytest.mark.parametrize("channels", [1, 3, 4])
class TestAll:
    def test_a_picture_has_random_numbers_of_its_own(self, kind: type, channels: int) -> None:
        shape = Shape(channels, (17, 24), CPU)
        pair, alone = kind().start(shape, generators(1, 2)), kind().start(shape, generators(2))
        assert pair.image().shape == (2, channels, 17, 24)
        torch.testing.assert_close(pair.image()[1], alone.image()[0])
        if kind is not CPPN:  # which starts grey
            assert not torch.equal(pair.image()[0], pair.image()[1])

    def test_gradients_reach_every_parameter_and_keep_to_their_picture(self, kind: type, channels: int) -> None:
        canvas = kind().start(Shape(channels, (12, 12), CPU), generators(1, 2))
        for _ in range(2):  # the last layer of a CPPN begins at zero
            (canvas.image()[0] * torch.rand(channels, 12, 12)).sum().backward()
            with torch.no_grad():
                for parameter in canvas.parameters:
                    parameter += 1e-3 * parameter.grad
        for parameter in canvas.parameters:
            assert parameter.grad is not None
            assert parameter.grad[0].abs().max() > 0
            assert parameter.grad[1].abs().max() == 0

    def test_values_are_those_of_pixels(self, kind: type, channels: int) -> None:
        canvas = kind().start(Shape(channels, (12, 12), CPU), generators(1))
        with torch.no_grad():
            for parameter in canvas.parameters:
                parameter.mul_(100)
        image = canvas.image().detach()
        assert 0 <= float(image.min()) <= float(image.max()) <= 1


def test_pixels_show_the_picture_they_start_from() -> None:
    images = 0.05 + 0.9 * torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(Pixels().resume(images).image(), images)


def test_a_parameterization_that_cannot_start_from_a_picture_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"^laplacian cannot start from a picture$"):
        Laplacian().resume(torch.rand(1, 3, 8, 8))
