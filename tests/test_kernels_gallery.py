"""What the gallery says in words about what kernels look for, held to its committed numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from viztool.gallery.kernel_pieces import KERNEL_PIECES

GALLERY = Path(__file__).parents[1] / "gallery"
PIECES = {piece.name: piece for piece in KERNEL_PIECES}


def sheets(name: str) -> dict[str, list[dict[str, Any]]]:
    """The optima of each sheet of a piece."""
    return {
        sheet["name"]: [kernel["optimum"] for kernel in sheet["kernels"]]
        for sheet in PIECES[name].read(GALLERY)["sheets"]
    }


@pytest.mark.parametrize("piece", KERNEL_PIECES, ids=lambda piece: piece.name)
def test_the_picture_is_the_one_of_the_command(piece: Any) -> None:
    assert piece.read(GALLERY)["command"] == piece.shown_command(Path("gallery"))
    with Image.open(piece.picture(GALLERY)) as picture:
        assert picture.width == (784 if piece.suffix == ".gif" else 1340)


def test_stages_are_drawn_to_the_classes_and_every_picture_keeps_most_of_what_it_does() -> None:
    found = sheets("kernels_stages")
    assert list(found) == [*(f"blocks.{stage}" for stage in range(7)), "classes"]
    for name, optima in found.items():
        assert [optimum["status"] for optimum in optima] == ["ok"] * 8
        if name != "blocks.0":  # of which single units are drawn
            assert min(optimum["robustness"] for optimum in optima) >= 0.75


def test_what_a_picture_is_made_from_decides() -> None:
    found = sheets("kernels_param")
    for unit in range(2):
        activation = {name: optima[unit]["activation"] for name, optima in found.items()}
        assert max(activation, key=lambda name: activation[name]) == "fourier"
        assert 0.4 < activation["pixels"] / activation["fourier"] < 0.6
        assert 0.7 < activation["maco"] / activation["fourier"] < 0.9
        assert 0.7 < activation["laplacian"] / activation["fourier"] < 0.9
        assert activation["cppn"] < 0.15 * activation["fourier"]
        high = {name: optima[unit]["high frequencies"] for name, optima in found.items()}
        assert high["pixels"] > 0.4
        assert max(high["maco"], high["fourier"]) < 0.05


def test_without_transforms_it_is_strongest_and_falls_apart() -> None:
    found = sheets("kernels_transforms")
    usual, *_, none = found.values()
    singles = [name for name in found if name.startswith("without")]
    for unit in range(2):
        assert none[unit]["activation"] == max(optima[unit]["activation"] for optima in found.values())
        assert none[unit]["robustness"] < 0.36
        assert usual[unit]["activation"] == min(optima[unit]["activation"] for optima in found.values())
        least = min(singles, key=lambda name: found[name][unit]["robustness"])
        assert least in ("without turns", "without shifts")


def test_six_units_are_dead_and_all_wake_up() -> None:
    found = sheets("kernels_redirect")
    assert [optimum["status"] for optimum in found["plain gradients"]].count("never responds") == 6
    assert all(optimum["status"] == "ok" for optimum in found["redirected"])
    assert all(optimum["activation"] == pytest.approx(6, abs=0.01) for optimum in found["redirected"])


def test_the_film_ends_in_pictures_that_excite_their_channels() -> None:
    kernels = PIECES["kernels_growth"].read(GALLERY)["kernels"]
    assert len(kernels) == 3
    assert min(kernel["optimum"]["activation"] for kernel in kernels) > 20
    with Image.open(PIECES["kernels_growth"].picture(GALLERY)) as film:
        assert film.n_frames == 23
