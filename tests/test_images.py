"""Pictures in and out: every kind of file against what was put into it, exact errors, whole files or none."""

from __future__ import annotations

import errno
import io
import os
import re
import resource
import stat
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from viztool.errors import ImageError
from viztool.images import MAX_PIXELS, atomic_write, find_images, png_bytes, read_image, write_image
from viztool.results import Result

# ---------------------------------------------------------------- pictures made here


def gradient(height: int = 24, width: int = 40) -> np.ndarray:
    """Smooth, not symmetric in any way, with a noisy patch."""
    ramp = np.add.outer(np.arange(height) * 5, np.arange(width) * 3)[:, :, None] + np.array([0, 30, 60])
    picture = ramp.clip(0, 255).astype(np.uint8)
    picture[5:15, 5:15] = np.random.default_rng(0).integers(0, 256, (10, 10, 3))
    return picture


RGB = gradient()
GREY = RGB[:, :, 1].copy()
DEEP = np.random.default_rng(1).integers(0, 65536, (6, 9), dtype=np.uint16)
DEEP.flat[:8] = [0, 1, 128, 129, 255, 256, 65406, 65535]  # on both sides of the steps
DEEP_AS_8_BITS = np.rint(DEEP / 257).astype(np.uint8)


def encoded(picture: Image.Image | np.ndarray, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, format, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: `rows` start with a filter byte each; `chunks` stand before the data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def tiff(width: int, height: int, data: bytes, **changes: tuple[int, ...]) -> bytes:
    """A little-endian TIFF by hand, one strip, 16-bit grey unless `changes` says otherwise."""
    tags = {"bits": (16,), "photometric": (1,), "samples": (1,), "extra": (), "format": (1,)} | changes
    numbers = {"bits": 258, "photometric": 262, "samples": 277, "extra": 338, "format": 339}
    entries = {256: (width,), 257: (height,), 259: (1,), 273: (8,), 278: (height,), 279: (len(data),)}
    entries |= {numbers[name]: values for name, values in tags.items() if values}
    directory, beyond = struct.pack("<H", len(entries)), b""
    start_beyond = 8 + len(data) + 2 + 12 * len(entries) + 4
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, beyond = struct.pack("<I", start_beyond + len(beyond)), beyond + packed
        directory += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory + bytes(4) + beyond


def on_white(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    a = alpha[:, :, None] / 255
    return np.rint(colour * a + 255 * (1 - a)).astype(np.uint8)


def three(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey] * 3, axis=2)


def error_of(call, *arguments, **options) -> str:
    with pytest.raises(ImageError) as caught:
        call(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# ---------------------------------------------------------------- reading: every kind of file


@pytest.mark.parametrize(
    ("format", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ],
)
def test_lossless_files_give_back_what_was_put_in(format: str, options: dict) -> None:
    picture = read_image(encoded(RGB, format, **options))
    np.testing.assert_array_equal(picture, RGB)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous and picture.flags.writeable and picture.flags.owndata


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 60, "subsampling": 2}, {"progressive": True}])
@pytest.mark.parametrize("source", [RGB, GREY], ids=["colour", "grey"])
def test_jpeg_agrees_with_opencv(source: np.ndarray, options: dict) -> None:
    data = encoded(source, "JPEG", **options)
    oracle = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert np.abs(read_image(data).astype(int) - oracle).max() <= 2


def test_grey_one_bit_and_palette() -> None:
    np.testing.assert_array_equal(read_image(encoded(GREY, "PNG")), three(GREY))
    bits = GREY > 128
    for kind, options in [("PNG", {}), ("TIFF", {"compression": "group4"}), ("BMP", {})]:
        data = encoded(Image.fromarray(bits), kind, **options)
        np.testing.assert_array_equal(read_image(data), three(bits * np.uint8(255)))
    palette = Image.fromarray((GREY // 16).astype(np.uint8)).convert("P")
    palette.putpalette([level for i in range(256) for level in (i, 255 - i, 7 * i % 256)])
    index = (GREY // 16).astype(int)
    for kind in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(
            read_image(encoded(palette, kind)), np.stack([index, 255 - index, 7 * index % 256], axis=2)
        )


def test_alpha_is_composited_on_white() -> None:
    alpha = np.arange(GREY.size, dtype=np.uint32).reshape(GREY.shape).astype(np.uint8)
    rgba = np.dstack([RGB, alpha])
    for kind, options in [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]:
        np.testing.assert_array_equal(read_image(encoded(rgba, kind, **options)), on_white(RGB, alpha))
    grey_alpha = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    np.testing.assert_array_equal(read_image(encoded(grey_alpha, "PNG")), on_white(three(GREY), alpha))


def test_alpha_of_16_bits() -> None:
    deep = np.random.default_rng(2).integers(0, 65536, (7, 5, 4), dtype=np.uint16)
    data = cv2.imencode(".png", deep[:, :, [2, 1, 0, 3]])[1].tobytes()
    high = deep >> 8  # of 16-bit colours Pillow keeps the high byte
    np.testing.assert_array_equal(read_image(data), on_white(high[:, :, :3], high[:, :, 3]))


@pytest.mark.parametrize("samples", [2, 4])
def test_premultiplied_alpha_of_tiff(samples: int) -> None:
    if samples == 2 and "La" not in {mode for mode, _ in TiffImagePlugin.OPEN_INFO.values()}:
        pytest.skip("this Pillow does not open grey with premultiplied alpha")
    # associated alpha (ExtraSamples 1): stored colour is colour × alpha, so white shows with 1 − alpha
    stored = np.array([[0] * (samples - 1) + [0], [100] * (samples - 1) + [100], [50] * (samples - 1) + [100]])
    data = tiff(
        3,
        1,
        stored.astype(np.uint8).tobytes(),
        bits=(8,) * samples,
        samples=(samples,),
        photometric=(2 if samples == 4 else 1,),
        extra=(1,),
    )
    assert read_image(data)[0, :, 0].tolist() == [255, 255, 205]


def test_transparent_palette_entries_and_colours() -> None:
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert read_image(encoded(palette, "PNG", transparency=1))[0].tolist() == [[10, 20, 30], [255] * 3, [70, 80, 90]]
    half = read_image(encoded(palette, "PNG", transparency=bytes([255, 0, 128])))[0].tolist()
    assert half == [[10, 20, 30], [255] * 3, [162, 167, 172]]  # 70·128/255 + 127 = 162.1, and so on
    assert read_image(encoded(palette, "GIF", transparency=2))[0].tolist() == [[10, 20, 30], [40, 50, 60], [255] * 3]

    colour_key = (b"tRNS", struct.pack(">HHH", 1, 2, 3))
    assert read_image(png(2, 1, 8, 2, b"\0" + bytes([1, 2, 3, 1, 2, 4]), colour_key))[0].tolist() == [
        [255] * 3,
        [1, 2, 4],
    ]
    grey_key = (b"tRNS", struct.pack(">H", 7))
    assert read_image(png(2, 1, 8, 0, b"\0" + bytes([7, 8]), grey_key))[0].tolist() == [[255] * 3, [8] * 3]
    deep_grey = b"\0" + struct.pack(">HH", 7, 8 * 257)
    assert read_image(png(2, 1, 16, 0, deep_grey, grey_key))[0].tolist() == [[255] * 3, [8] * 3]
    deep_key = (b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC))
    deep_colour = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0x1134, 0x5678, 0x9ABC)
    assert read_image(png(2, 1, 16, 2, deep_colour, deep_key))[0].tolist() == [[255] * 3, [0x11, 0x56, 0x9A]]


def test_cmyk_jpeg() -> None:
    cyan, magenta, yellow, black = 200, 40, 90, 60
    expected = [(255 - ink) * (255 - black) / 255 for ink in (cyan, magenta, yellow)]

    plain = Image.new("CMYK", (16, 16), (cyan, magenta, yellow, black))
    data = encoded(plain, "JPEG", quality=100)  # inverted, with Adobe's marker, as Photoshop writes it
    luma = 0.299 * cyan + 0.587 * magenta + 0.114 * yellow
    ycc = [luma, 128 + (yellow - luma) / 1.772, 128 + (cyan - luma) / 1.402]
    ycck = Image.new("CMYK", (16, 16), (*(255 - round(value) for value in ycc), black))
    marked = bytearray(encoded(ycck, "JPEG", quality=100))
    marked[marked.index(b"Adobe") + 11] = 2  # the transform flag: the inks are stored as luma and chroma

    for file in (data, bytes(marked)):
        picture = read_image(file)
        assert np.abs(picture - np.array(expected)).max() <= 3
        oracle = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.abs(picture.astype(int) - oracle).max() <= 3


@pytest.mark.parametrize(
    "data",
    [
        cv2.imencode(".png", DEEP)[1].tobytes(),
        cv2.imencode(".tiff", DEEP)[1].tobytes(),
        encoded(Image.frombytes("I;16B", (9, 6), DEEP.astype(">u2").tobytes()), "TIFF"),
        tiff(9, 6, DEEP.tobytes()),
        tiff(9, 6, (65535 - DEEP).tobytes(), photometric=(0,)),
        b"P5 9 6 65535\n" + DEEP.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff-lzw", "tiff-big-endian", "tiff", "tiff-white-is-zero", "pgm"],
)
def test_16_bit_grey_is_scaled_not_clipped(data: bytes) -> None:
    np.testing.assert_array_equal(read_image(data), three(DEEP_AS_8_BITS))


def test_12_bit_grey() -> None:
    values = np.array([0, 8, 9, 2047, 2048, 4095])
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.reshape(-1, 2).astype(int).tolist()
    )
    expected = np.rint(values * 255 / 4095)
    np.testing.assert_array_equal(read_image(tiff(6, 1, packed, bits=(12,)))[0, :, 0], expected)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_colour(suffix: str) -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (7, 5, 3), dtype=np.uint16)
    data = cv2.imencode(suffix, deep[:, :, ::-1])[1].tobytes()
    np.testing.assert_array_equal(read_image(data), deep >> 8)


def test_floats() -> None:
    values = np.linspace(0, 1, 511, dtype=np.float32).reshape(7, 73)
    np.testing.assert_array_equal(read_image(encoded(values, "TIFF")), three(np.rint(values * 255).astype(np.uint8)))
    assert error_of(read_image, encoded(values * 1500, "TIFF")) == (
        "<bytes> holds floats from 0 to 1500, and white is not known; scale them to [0, 1]"
    )
    values[3, 3] = np.nan
    assert error_of(read_image, encoded(values, "TIFF")) == (
        "<bytes> holds floats from nan to nan, and white is not known; scale them to [0, 1]"
    )


def test_integers_without_a_known_white() -> None:
    assert error_of(read_image, tiff(2, 1, struct.pack("<II", 3, 70000), bits=(32,), format=(2,))) == (
        "<bytes> holds integers of 32 bits or with a sign, and white is not known; save it with 8 or 16 bits"
    )


# Exif 2.3, tag 0x0112: which side of the upright picture the stored 0th row and 0th column are.
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def stored_as(upright: np.ndarray, orientation: int) -> np.ndarray:
    height, width, _ = upright.shape
    of_row, of_column = SIDES[orientation]
    swap = of_row in ("left", "right")
    stored = np.zeros((width, height, 3) if swap else (height, width, 3), np.uint8)
    for row, column in np.ndindex(stored.shape[:2]):
        place = {"top": row, "left": row, "bottom": height - 1 - row, "right": width - 1 - row}[of_row]
        other = {"top": column, "left": column, "bottom": height - 1 - column, "right": width - 1 - column}[of_column]
        y, x = (other, place) if swap else (place, other)
        stored[row, column] = upright[y, x]
    return stored


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize(
    ("format", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("JPEG", {})],
)
def test_exif_orientation(format: str, options: dict, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored_as(RGB, orientation), format, exif=exif, **options)
    picture = read_image(data)
    if format != "JPEG":
        np.testing.assert_array_equal(picture, RGB)
    else:
        oracle = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.abs(picture.astype(int) - oracle).max() <= 2
    assert picture.flags.c_contiguous and picture.flags.writeable and picture.flags.owndata


def test_unknown_orientation_and_damaged_exif_leave_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 9
    np.testing.assert_array_equal(read_image(encoded(RGB, "PNG", exif=exif)), RGB)
    np.testing.assert_array_equal(read_image(encoded(RGB, "PNG", exif=b"Exif\0\0garbage")), RGB)
    np.testing.assert_array_equal(read_image(encoded(RGB, "PNG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")), RGB)


@pytest.mark.parametrize(
    ("format", "options"),
    [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})],
    ids=["gif", "webp", "apng", "pages"],
)
def test_first_frame(format: str, options: dict) -> None:
    frames = [Image.fromarray(np.full((8, 6, 3), colour, np.uint8)) for colour in ((250, 5, 5), (5, 250, 5))]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    np.testing.assert_array_equal(read_image(data), np.asarray(frames[0]))


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow has no AVIF")
def test_avif() -> None:
    picture = read_image(encoded(RGB[16:, 16:], "AVIF", quality=100, subsampling="4:4:4"))
    assert np.abs(picture.astype(int) - RGB[16:, 16:]).max() <= 4


def test_colour_profile_is_not_applied() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(read_image(encoded(RGB, "PNG", icc_profile=profile)), RGB)


# ---------------------------------------------------------------- reading: where from


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "really-a-png.jpg").write_bytes(encoded(RGB, "PNG"))
    (tmp_path / "no-suffix").write_bytes(encoded(RGB, "BMP"))
    np.testing.assert_array_equal(read_image(tmp_path / "really-a-png.jpg"), RGB)
    np.testing.assert_array_equal(read_image(str(tmp_path / "no-suffix")), RGB)


def test_streams(tmp_path: Path) -> None:
    data = encoded(RGB, "PNG")
    written = io.BytesIO()
    written.write(data)  # the position is at the end
    np.testing.assert_array_equal(read_image(written), RGB)
    assert not written.closed
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as tap:
        tap.write(data)
    with os.fdopen(read_end, "rb") as pipe:
        np.testing.assert_array_equal(read_image(pipe), RGB)
    (tmp_path / "cat.png").write_bytes(data)
    with (tmp_path / "cat.png").open() as text:
        assert error_of(read_image, text) == f"{tmp_path}/cat.png is open as text; open it in binary mode, 'rb'"
    assert error_of(read_image, io.BytesIO()) == "<stream> is empty"
    assert error_of(read_image, RGB) == "a picture is read from a path, bytes or a binary stream, not from ndarray"


def test_named_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(encoded(RGB, "TIFF", compression="tiff_lzw"),))
    writer.start()
    np.testing.assert_array_equal(read_image(fifo), RGB)
    writer.join()


# ---------------------------------------------------------------- reading: what cannot be read

WHOLE = {
    "jpeg": encoded(RGB, "JPEG"),
    "progressive": encoded(RGB, "JPEG", progressive=True),
    "cmyk": encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "png": encoded(RGB, "PNG"),
    "webp": encoded(RGB, "WEBP"),
    "webp-lossless": encoded(RGB, "WEBP", lossless=True),
    "bmp": encoded(RGB, "BMP"),
    "gif": encoded(RGB, "GIF"),
    "ppm": encoded(RGB, "PPM"),
    "tiff": encoded(RGB, "TIFF"),
    "tiff-16": tiff(9, 6, DEEP.tobytes()),
}


@pytest.mark.parametrize("tolerant", [False, True], ids=["", "LOAD_TRUNCATED_IMAGES"])
@pytest.mark.parametrize("kind", WHOLE)
def test_every_beginning_of_a_file_is_an_error_or_the_whole_picture(
    kind: str, tolerant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", tolerant)
    data = WHOLE[kind]
    whole = read_image(data)
    errors = 0
    for end in range(len(data)):
        try:
            picture = read_image(data[:end])
        except ImageError as error:
            assert str(error).startswith("<bytes> ") and "\n" not in str(error)
            errors += 1
        else:
            np.testing.assert_array_equal(picture, whole)
    assert errors > 0.75 * len(data)
    assert tolerant == ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize("kind", WHOLE)
def test_damaged_files_give_a_picture_or_one_line(kind: str) -> None:
    random = np.random.default_rng(4)
    for _ in range(150):
        damaged = bytearray(WHOLE[kind])
        for place in random.integers(0, len(damaged), random.integers(1, 5)):
            damaged[place] = random.integers(0, 256)
        try:
            picture = read_image(bytes(damaged), max_pixels=1_000_000)
        except ImageError as error:
            assert str(error).startswith("<bytes> ") and "\n" not in str(error)
        else:
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    path.write_bytes(WHOLE["jpeg"][:700])
    assert re.fullmatch(
        rf"{path} is truncated or damaged \(image file is truncated \(\d+ bytes not processed\)\); "
        "copy or download it again",
        error_of(read_image, path),
    )
    path.write_bytes(WHOLE["jpeg"][:30])
    assert error_of(read_image, path) == (
        f"{path} cannot be opened as JPEG (Truncated File Read): it is truncated, damaged or of a rare kind; "
        "copy it again, or save it as PNG"
    )


def test_rare_kind() -> None:
    floats = tiff(1, 1, bytes(12), bits=(32, 32, 32), samples=(3,), photometric=(2,), format=(3, 3, 3))
    assert error_of(read_image, floats) == (
        "<bytes> cannot be opened as TIFF (unknown pixel mode): it is truncated, damaged or of a rare kind; "
        "copy it again, or save it as PNG"
    )


def test_decompression_bomb(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(50_000, 50_000, 8, 2, bytes(100)))
    assert error_of(read_image, path) == (
        f"{path} has 50000 × 50000 = 2,500,000,000 pixels, more than the limit of 150,000,000; "
        "shrink it, or raise max_pixels if you trust it"
    )
    assert MAX_PIXELS == 150_000_000


def test_the_limit_is_the_callers_and_not_pillows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, "PNG")
    assert read_image(data, max_pixels=24 * 40).shape == (24, 40, 3)
    assert error_of(read_image, data, max_pixels=24 * 40 - 1).startswith(
        "<bytes> has 40 × 24 = 960 pixels, more than the limit of 959;"
    )
    for limit in (10, 900):  # above one of them Pillow raises, above the other it warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(data).shape == (24, 40, 3)
        assert limit == Image.MAX_IMAGE_PIXELS


def test_no_pixels() -> None:
    for data in (png(0, 5, 8, 2, bytes(5)), tiff(3, 0, b"")):
        assert re.fullmatch(
            r"<bytes> cannot be opened as (PNG|TIFF) \(its header gives no size\): "
            "it is truncated, damaged or of a rare kind; copy it again, or save it as PNG",
            error_of(read_image, data),
        )


def test_too_large_for_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(self: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", no_memory)
    assert error_of(read_image, encoded(RGB, "BMP")) == "<bytes> has 40 × 24 pixels, too many for the memory; shrink it"


def test_missing_files(tmp_path: Path) -> None:
    write_image(tmp_path / "Cat_07.png", RGB)
    (tmp_path / "notes.txt").write_text("x")
    assert error_of(read_image, tmp_path / "cat_7.png") == (
        f"no such file: {tmp_path}/cat_7.png; did you mean {tmp_path}/Cat_07.png?"
    )
    assert error_of(read_image, tmp_path / "zebra.webp") == f"no such file: {tmp_path}/zebra.webp"
    assert error_of(read_image, tmp_path / "there" / "cat.png") == (
        f"no such file: {tmp_path}/there/cat.png (there is no folder {tmp_path}/there)"
    )
    assert error_of(read_image, tmp_path / "notes.txt" / "cat.png") == (
        f"no such file: {tmp_path}/notes.txt/cat.png (there is no folder {tmp_path}/notes.txt)"
    )
    (tmp_path / "link.png").symlink_to("gone.png")
    assert error_of(read_image, tmp_path / "link.png") == f"{tmp_path}/link.png is a link to a file that is not there"
    assert error_of(read_image, f"{tmp_path}/*.jpg") == f"no picture matches {tmp_path}/*.jpg"
    assert error_of(read_image, "https://example.org/cat.jpg") == (
        "https://example.org/cat.jpg is a web address; download the picture and give its file"
    )


def test_folders(tmp_path: Path) -> None:
    assert error_of(read_image, tmp_path) == (
        f"{tmp_path} is a folder with no picture in it; use JPEG, PNG, WebP, BMP, TIFF or GIF"
    )
    write_image(tmp_path / "cat.png", RGB)
    assert error_of(read_image, tmp_path) == f"{tmp_path} is a folder; name a picture in it"


def test_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert error_of(read_image, "cat\0.png") == "'cat\\x00.png' cannot be read: embedded null byte"
    (tmp_path / "cat.png").write_bytes(b"")
    assert error_of(read_image, tmp_path / "cat.png") == f"{tmp_path}/cat.png is empty"

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # whoever runs the tests may read everything
    assert error_of(read_image, tmp_path / "cat.png") == f"{tmp_path}/cat.png cannot be read: Permission denied"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"Dear diary,\nno picture today \xe2\x98\xba\n" * 20, "text"),
        ("☺".encode() * 200, "text"),  # its first 512 bytes end inside a letter
        (b"P6: the sixth point of the agenda", "text"),
        (b"BMW is not a bitmap", "text"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'<?xml version="1.0"?><svg width="5"/>', "an SVG drawing"),
        (b"%PDF-1.7 \x80", "a PDF document"),
        (b"\0\0\0\x18ftypheic", "a HEIC photo"),
        (b"\0\0\0\x18ftypisom", "a video"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x93NUMPY\x01", "a NumPy array"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer in place of the file (`git lfs pull` fetches it)",
        ),
    ],
)
def test_other_files(content: bytes, kind: str, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(content)
    assert error_of(read_image, tmp_path / "cat.jpg") == (
        f"{tmp_path}/cat.jpg is {kind}; use JPEG, PNG, WebP, BMP, TIFF or GIF"
    )


def test_unknown_bytes() -> None:
    assert error_of(read_image, bytes(range(128, 256)) * 5) == (
        "<bytes> is not a picture that viztool can read; use JPEG, PNG, WebP, BMP, TIFF or GIF"
    )
    assert error_of(read_image, b"RIFF\x10\0\0\0WAVEfmt \x80").startswith("<bytes> is not a picture that viztool")
    # PostScript is a format of Pillow's, which would start Ghostscript
    assert error_of(read_image, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").startswith("<bytes> is a PostSc")


def test_a_format_that_this_pillow_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, "WEBP")
    factory, _ = Image.OPEN["WEBP"]
    monkeypatch.setitem(Image.OPEN, "WEBP", (factory, lambda prefix: "WebP support is not installed"))
    assert error_of(read_image, data).startswith("<bytes> is not a picture that viztool can read;")


def test_pillow_keeps_its_warnings_to_itself() -> None:
    no_frames = (b"acTL", struct.pack(">II", 0, 0))
    data = png(1, 1, 8, 2, bytes([0, 1, 2, 3]), no_frames)
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(data))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        assert read_image(data).tolist() == [[[1, 2, 3]]]
        assert warnings.filters == filters
    assert caught == []


def test_reading_in_threads_is_strict_and_leaves_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    filters = list(warnings.filters)
    cut = WHOLE["jpeg"][:700]

    def both(_: int) -> bool:
        whole = read_image(WHOLE["png"])
        return np.array_equal(whole, RGB) and "truncated" in error_of(read_image, cut)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(both, range(200)))
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True
    assert warnings.filters == filters


def test_no_torch() -> None:
    code = "import sys, viztool.images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---------------------------------------------------------------- writing


def test_written_pictures_come_back(tmp_path: Path) -> None:
    assert write_image(tmp_path / "new" / "deep" / "cat.png", RGB) == tmp_path / "new" / "deep" / "cat.png"
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new/deep/cat.png"))[:, :, ::-1], RGB)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png_bytes(RGB), np.uint8), -1)[:, :, ::-1], RGB)
    turned = RGB.transpose(1, 0, 2)[::-1]
    write_image(str(tmp_path / "TURNED.PNG"), turned)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "TURNED.PNG"))[:, :, ::-1], turned)


def test_jpeg_keeps_fine_colour(tmp_path: Path) -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    for suffix in (".jpg", ".jpeg"):
        path = write_image(tmp_path / f"stripes{suffix}", stripes)
        with Image.open(path) as written:
            assert written.format == "JPEG" and JpegImagePlugin.get_sampling(written) == 0  # 4:4:4
            # libjpeg scales Annex K, whose longest step is 121: at quality 92, (121 · (200 − 2 · 92) + 50) // 100
            assert max(written.quantization[0]) == 19
        assert np.abs(cv2.imread(str(path))[:, :, ::-1].astype(int) - stripes).mean() < 4


def test_webp(tmp_path: Path) -> None:
    smooth = gradient(64, 64)[16:]
    path = write_image(tmp_path / "cat.webp", smooth)
    assert path.read_bytes()[8:12] == b"WEBP"
    assert np.abs(cv2.imread(str(path))[:, :, ::-1].astype(int) - smooth).mean() < 2


def test_suffixes(tmp_path: Path) -> None:
    assert error_of(write_image, tmp_path / "cat.xyz", RGB) == (
        f"{tmp_path}/cat.xyz has the suffix .xyz; a picture is written as .png, .jpg, .jpeg, .webp"
    )
    assert error_of(write_image, tmp_path / "cat", RGB) == (
        f"{tmp_path}/cat has no suffix; a picture is written as .png, .jpg, .jpeg, .webp"
    )


@pytest.mark.parametrize(
    ("picture", "got"),
    [
        (RGB.astype(np.float32), "float32 (24, 40, 3)"),
        (GREY, "uint8 (24, 40)"),
        (RGB.transpose(2, 0, 1), "uint8 (3, 24, 40)"),
        (RGB[:0], "uint8 (0, 40, 3)"),
        ([[1, 2]], "list"),
    ],
)
def test_arrays_that_are_no_picture(picture: object, got: str, tmp_path: Path) -> None:
    message = f"a picture to write is an array of uint8 (H, W, 3), RGB, not {got}"
    assert error_of(write_image, tmp_path / "cat.png", picture) == message
    assert error_of(png_bytes, picture) == message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "longest"), [(".jpg", 65_500), (".webp", 16_383)])
def test_longest_side(suffix: str, longest: int, tmp_path: Path) -> None:
    write_image(tmp_path / f"fits{suffix}", np.zeros((1, longest, 3), np.uint8))
    assert error_of(write_image, tmp_path / f"long{suffix}", np.zeros((longest + 1, 1, 3), np.uint8)) == (
        f"{tmp_path}/long{suffix} would be 1 × {longest + 1}, "
        f"and a {suffix} has at most {longest} pixels a side; write .png"
    )
    write_image(tmp_path / "long.png", np.zeros((longest + 1, 1, 3), np.uint8))


class Stop(BaseException):
    """As Ctrl-C is, no Exception."""


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("failure", [Stop, ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_everything_as_it_was(failure: type[BaseException], force: bool, tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    if force:
        path.write_bytes(b"old")
    with pytest.raises(failure), atomic_write(path, force=force) as file:
        file.write(b"half of the n")
        file.flush()
        raise failure
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == (
        [("numbers.json", b"old")] if force else []
    )


def test_no_room(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(b"old")
    noise = np.random.default_rng(5).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        message = error_of(write_image, path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message == f"{path} cannot be written (File too large); write elsewhere with -o"
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("cat.png", b"old")]


def test_nothing_is_at_the_path_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "maps.npz"
    with atomic_write(path) as file:
        np.savez(file, maps=RGB)
        assert not path.exists()
    with np.load(path) as content:
        np.testing.assert_array_equal(content["maps"], RGB)


def test_an_error_about_another_file_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "copy") as file:
        file.write((tmp_path / "original").read_bytes())
    assert list(tmp_path.iterdir()) == []


def test_without_force_nothing_is_replaced(tmp_path: Path) -> None:
    path = write_image(tmp_path / "cat.png", RGB, force=False)
    np.testing.assert_array_equal(read_image(path), RGB)
    message = f"{path} exists; use --force to replace it or -o to write elsewhere"
    assert error_of(write_image, path, 255 - RGB, force=False) == message
    np.testing.assert_array_equal(read_image(path), RGB)
    with pytest.raises(ImageError), atomic_write(path, force=False):
        pytest.fail("the work that makes the content was begun for nothing")
    write_image(path, 255 - RGB)
    np.testing.assert_array_equal(read_image(path), 255 - RGB)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("hard_links", [True, False])
def test_without_force_a_file_that_appears_meanwhile_is_kept(
    hard_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted", str(self))

    if not hard_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "cat.json"
    with atomic_write(path, force=False) as file:
        file.write(b"first")
    path.unlink()

    def write() -> None:
        with atomic_write(path, force=False) as file:
            file.write(b"mine")
            path.write_bytes(b"another's")

    assert error_of(write) == f"{path} exists; use --force to replace it or -o to write elsewhere"
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("cat.json", b"another's")]


def test_of_many_writers_without_force_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "one"
    together = threading.Barrier(8)

    def write(number: int) -> bool:
        together.wait()
        try:
            with atomic_write(path, force=False) as file:
                file.write(b"%d" % number)
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert sum(won) == 1
    assert path.read_bytes() == b"%d" % won.index(True)
    assert list(tmp_path.iterdir()) == [path]


def test_a_reader_sees_only_whole_files(tmp_path: Path) -> None:
    path = write_image(tmp_path / "cat.png", RGB)
    versions = [RGB, 255 - RGB]

    def write(version: int) -> None:
        for _ in range(50):
            write_image(path, versions[version])

    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, version) for version in (0, 1)]
        while not all(writer.done() for writer in writers):
            picture = read_image(path)
            assert any(np.array_equal(picture, version) for version in versions)
        assert [writer.result() for writer in writers] == [None, None]
    assert list(tmp_path.iterdir()) == [path]


def test_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = write_image(tmp_path / "new.png", RGB)
        assert stat.S_IMODE(path.stat().st_mode) == 0o640  # as any new file
        path.chmod(0o600)
        write_image(path, RGB)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600  # a replaced one keeps its own
    finally:
        os.umask(before)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = write_image(tmp_path / "elsewhere" / "real.png", RGB)
    link = tmp_path / "link.png"
    link.symlink_to(Path("elsewhere", "real.png"))
    write_image(link, 255 - RGB)
    assert link.is_symlink()
    np.testing.assert_array_equal(read_image(target), 255 - RGB)
    assert "exists; use --force" in error_of(write_image, link, RGB, force=False)


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with ThreadPoolExecutor(1) as pool:
        got = pool.submit(fifo.read_bytes)
        with atomic_write(fifo, force=False) as file:
            file.write(b"numbers")
        assert got.result() == b"numbers"
    assert fifo.is_fifo()


def test_a_file_that_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(self), None, str(target))

    path = write_image(tmp_path / "mounted.png", RGB)
    monkeypatch.setattr(Path, "replace", refuse)
    assert error_of(write_image, path, 255 - RGB) == (
        f"{path} cannot be written (Device or resource busy); write elsewhere with -o"
    )
    np.testing.assert_array_equal(read_image(path), RGB)
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    assert error_of(write_image, tmp_path / "folder.png", RGB) == (
        f"{tmp_path}/folder.png is a folder; name a file in it"
    )
    (tmp_path / "file").write_bytes(b"")
    assert error_of(write_image, tmp_path / "file" / "cat.png", RGB) == (
        f"{tmp_path}/file/cat.png cannot be written ({tmp_path}/file is not a folder); write elsewhere with -o"
    )
    long = tmp_path / f"{'x' * 300}.png"
    assert error_of(write_image, long, RGB) == f"{long} cannot be written (File name too long); write elsewhere with -o"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.png"]


# ---------------------------------------------------------------- finding


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        "img10.png",
        "img2.JPG",
        "Img1.webp",
        ".hidden.png",
        "notes.txt",
        "b/c2.tif",
        "b/c10.tif",
        "b/d/e.gif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["notes.txt", "img10.png"], ["notes.txt", "img10.png"]),
        (["."], ["Img1.webp", "img2.JPG", "img10.png"]),
        (["b/"], ["b/c2.tif", "b/c10.tif"]),
        (["*"], ["Img1.webp", "img2.JPG", "img10.png"]),
        (["*.txt"], ["notes.txt"]),
        (["**/*.tif"], ["b/c2.tif", "b/c10.tif"]),
        (["**"], ["b/c2.tif", "b/c10.tif", "b/d/e.gif", "Img1.webp", "img2.JPG", "img10.png"]),
        (["img10.png", ".", "./img2.JPG"], ["img10.png", "Img1.webp", "img2.JPG"]),
        (["-", "img2.JPG"], ["-", "img2.JPG"]),
        (["missing.png", "empty", "*.bmp", "img2.JPG"], ["missing.png", "empty", "*.bmp", "img2.JPG"]),
        (["empt*", "bad\0*", "\0/**", "img2.JPG"], ["empt*", "bad\0*", "\0/**", "img2.JPG"]),
        (["bad\0name", "img2.JPG"], ["bad\0name", "img2.JPG"]),
        ([""], ["."]),
        ([], []),
        ("img2.JPG", ["img2.JPG"]),
    ],
)
def test_find_images(given: list[str], found: list[str], album: Path) -> None:
    assert find_images(given) == [Path(name) for name in found]
    if isinstance(given, list) and "" not in given:
        assert find_images(map(Path, given)) == [Path(name) for name in found]


def test_duplicates_under_another_spelling(album: Path) -> None:
    assert find_images(["img2.JPG", album / "img2.JPG"]) == [Path("img2.JPG")]


def test_folders_inside_are_looked_into_when_asked(tmp_path: Path) -> None:
    for name in ("p/a.png", "p/x2/b.png", "p/x10/c.png", "p/x10/deep/d.png", "p/.hidden/e.png", "p/words/f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "p/x2/loop").symlink_to(tmp_path / "p")
    for name in ("gone1.png", "gone2.png"):
        (tmp_path / "p/x2" / name).symlink_to("nothing")
    told: list[str] = []
    found = find_images([tmp_path / "p"], recursive=True, note=told.append)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *("p/a.png", "p/x2/b.png", "p/x10/c.png", "p/x10/deep/d.png")
    ]
    assert told == [f"{tmp_path}/p/x2: left out 2 links that lead to nothing: gone1.png, gone2.png"]
    told.clear()
    assert find_images([tmp_path / "p"], note=told.append) == [tmp_path / "p/a.png"]
    assert told == [f"{tmp_path}/p: left out the 3 folders inside; -r takes the pictures in there, too"]


def test_a_name_that_looks_like_a_glob(album: Path) -> None:
    for name in ("photo[1].png", "photo1.png"):
        (album / name).write_bytes(b"")
    assert find_images(["photo[1].png"]) == [Path("photo[1].png")]


def test_what_leads_to_no_picture_is_named_when_it_is_read(album: Path) -> None:
    assert [error_of(read_image, path) for path in find_images(["img20.png", "empty", "x*.png"])] == [
        "no such file: img20.png; did you mean img10.png?",
        "empty is a folder with no picture in it; use JPEG, PNG, WebP, BMP, TIFF or GIF",
        "no picture matches x*.png",
    ]


def test_a_folder_does_not_give_the_sheets_that_were_drawn_into_it(tmp_path: Path) -> None:
    class Sheet(Result):
        numbers: ClassVar = {}

        def picture(self) -> NDArray[np.uint8]:
            return np.zeros((4, 5, 3), np.uint8)

    photo = write_image(tmp_path / "photo.png", np.zeros((4, 5, 3), np.uint8))
    sheet = Sheet().save(tmp_path / "photo_features.png")
    assert find_images([tmp_path]) == [photo]
    assert find_images([sheet]) == [sheet], "a file is taken whatever it is"
    assert find_images([str(tmp_path / "*.png")]) == [photo, sheet], "and what a glob names"
    assert np.array_equal(read_image(sheet), Sheet().picture())
