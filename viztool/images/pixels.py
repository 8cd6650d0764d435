"""A decoded picture of any mode → uint8 RGB: deep greys scaled, transparency on white, upright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from viztool.errors import ImageError

# Exif 2.3, tag 0x0112: how a stored picture becomes upright: whether to swap rows and columns, then which axes to flip
_UPRIGHT: dict[Any, tuple[bool, tuple[int, ...]]] = {
    2: (False, (1,)),
    3: (False, (0, 1)),
    4: (False, (0,)),
    5: (True, ()),
    6: (True, (1,)),
    7: (True, (0, 1)),
    8: (True, (0,)),
}
_PHOTOMETRIC, _WHITE_IS_ZERO, _BITS_PER_SAMPLE = 262, 0, 258  # TIFF 6.0, section 8


def to_rgb(picture: Image.Image, name: str) -> NDArray[np.uint8]:
    """The pixels of a loaded picture: uint8 RGB (H, W, 3), contiguous, writable and its own.

    16-bit greys are scaled (v / 257, rounded), floats of [0, 1] too (255 v); of 16-bit colours Pillow keeps the high
    byte. Transparent parts show white. CMYK is converted without a profile, and colour profiles are not applied.
    Raises ImageError, naming the file `name`, for greys whose full scale cannot be known.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        rgb = np.repeat(_deep_grey(picture, name)[:, :, None], 3, axis=2)
    elif picture.has_transparency_data:
        rgb = np.array(_on_white(picture), np.uint8)
    else:
        rgb = np.array(picture if picture.mode == "RGB" else picture.convert("RGB"), np.uint8)
    orientation = _orientation(picture)
    if orientation not in _UPRIGHT:
        return rgb
    swap, flipped = _UPRIGHT[orientation]
    turned: NDArray[np.uint8] = np.flip(rgb.swapaxes(0, 1) if swap else rgb, flipped).copy()
    return turned


def _deep_grey(picture: Image.Image, name: str) -> NDArray[np.uint8]:
    """(H, W) of a grey picture with more than 8 bits a pixel."""
    values: NDArray[Any] = np.asarray(picture)
    if picture.mode == "F":
        low, high = values.min(), values.max()
        if not (low >= 0 and high <= 1):  # NaN fails too
            raise ImageError(
                f"{name} holds floats from {low:g} to {high:g}, and white is not known; scale them to [0, 1]"
            )
        return np.asarray(np.rint(values * 255), np.uint8)
    tags = getattr(picture, "tag_v2", {})
    if picture.mode == "I" and picture.format == "TIFF":  # 32 bits, or signed; a PNG or PGM has 16 in this mode
        raise ImageError(
            f"{name} holds integers of 32 bits or with a sign, and white is not known; save it with 8 or 16 bits"
        )
    white = 4095 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535
    grey = values.astype(np.uint32)
    transparent = picture.info.get("transparency")
    if transparent is not None:
        grey[grey == transparent] = white
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow inverts such pictures only up to 8 bits
        grey = white - grey
    return np.asarray((grey * 255 + white // 2) // white, np.uint8)


def _on_white(picture: Image.Image) -> Image.Image:
    """Alpha, a transparent palette entry, or a transparent colour, on white."""
    key: Any = picture.info.get("transparency")
    if picture.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        # the key of a 16-bit PNG; of the picture itself Pillow keeps the high bytes
        picture.info["transparency"] = tuple(value >> 8 for value in key)
    if picture.mode == "La":
        picture = picture.convert("LA")
    layer = picture.convert("RGBA")
    canvas = Image.new("RGB", layer.size, "white")
    canvas.paste(layer, mask=layer)
    return canvas


def _orientation(picture: Image.Image) -> Any:
    """The Exif orientation that is still to be applied (Pillow turns TIFF itself while it loads)."""
    try:
        return picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged metadata beside sound pixels
        return None
