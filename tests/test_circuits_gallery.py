"""What the gallery says in words about circuits, held to its committed numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from viztool.gallery.circuit_pieces import CIRCUIT_PIECES

GALLERY = Path(__file__).parents[1] / "gallery"
PIECES = {piece.name: piece for piece in CIRCUIT_PIECES}


def edges(name: str, side: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = PIECES[name].read(GALLERY)[side]["edges"]
    return found


@pytest.mark.parametrize("piece", CIRCUIT_PIECES, ids=lambda piece: piece.name)
def test_the_picture_is_the_one_of_the_command(piece: Any) -> None:
    assert piece.read(GALLERY)["command"] == piece.shown_command(Path("gallery"))
    with Image.open(piece.picture(GALLERY)) as picture:
        assert picture.width == 1340


def test_one_walks_from_sheet_to_sheet() -> None:
    assert edges("circuit_early", "outputs")[0]["channel"] == 102
    assert edges("circuit_middle", "inputs")[0]["channel"] == 15
    assert edges("circuit_middle", "outputs")[0]["channel"] == 119
    assert edges("circuit_late", "inputs")[1]["channel"] == 102


def test_strong_edges_are_far_from_chance() -> None:
    for name in PIECES:
        for side in ("inputs", "outputs"):
            strongest = edges(name, side)[0]
            assert strongest["effect"] > 2 * strongest["error"]


def test_eight_stripes_add_up_and_all_do_more() -> None:
    together = {one["count"]: one for one in PIECES["circuit_early"].read(GALLERY)["together"]}
    assert together[8]["effect"] == pytest.approx(together[8]["sum"], rel=0.05)
    assert together[24]["effect"] > 1.1 * together[24]["sum"]


def test_kernels_say_nothing_and_gradients_much_of_the_middle() -> None:
    guesses = PIECES["circuit_middle"].read(GALLERY)["rank correlations"]
    assert abs(guesses["length of the kernel"]) < 0.1
    assert guesses["gradient × change"] > 0.9


def test_the_late_unit_speaks_for_tools_and_is_driven_by_what_its_kernel_would_hold_back() -> None:
    spoken = [edge["class"] for edge in edges("circuit_late", "outputs")[:4]]
    assert spoken == ["revolver", "power drill", "can opener", "joystick"]
    assert all(edge["effect"] > 0 for edge in edges("circuit_late", "outputs")[:4])
    inputs = edges("circuit_late", "inputs")
    assert 8 not in [edge["channel"] for edge in inputs[:6]]
    sums = np.array(PIECES["circuit_late"].read(GALLERY)["kernels"])  # of each kernel's weights
    assert int(sums.argmax()) == 8
    assert sums[102] < 0 < inputs[1]["effect"]
