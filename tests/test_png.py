"""PNGs of our own making: every reader sees the pixels and the texts that went in."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import viztool
from viztool.images.png import png

rng = np.random.default_rng(0)
CELLS = np.kron(rng.integers(0, 256, (5, 7, 3), np.uint8), np.ones((16, 16, 1), np.uint8))
PICTURES = {
    "noise": rng.integers(0, 256, (37, 53, 3), np.uint8),
    "cells": CELLS,
    "one pixel": np.array([[[1, 2, 3]]], np.uint8),
    "one row": rng.integers(0, 256, (1, 9, 3), np.uint8),
    "one column": rng.integers(0, 256, (9, 1, 3), np.uint8),
    "a view": rng.integers(0, 256, (20, 30, 6), np.uint8)[::2, ::-1, 1:4],
}


@pytest.mark.parametrize("name", PICTURES)
def test_pillow_and_opencv_read_the_pixels_back(name):
    picture = PICTURES[name]
    content = png(picture, {})
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), picture)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decoded[..., ::-1], picture)


def test_texts_stand_before_the_pixels_and_come_back():
    said = {"Software": "viztool", "viztool": '{"command": "caf\\u00e9"}', "Comment": "é"}
    with Image.open(io.BytesIO(png(CELLS, said))) as image:
        assert image.info == said  # before the pixels are decoded
        image.verify()


def test_a_photo_is_at_most_a_fifth_larger_than_pillows():
    photo = viztool.read_image(Path(__file__).parents[1] / "gallery" / "inputs" / "astronaut.jpg")
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "PNG")
    assert len(png(photo, {})) < 1.2 * len(buffer.getvalue())
