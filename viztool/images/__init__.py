"""Files ↔ uint8 RGB arrays: the only room that opens or writes a picture."""

from viztool.images.finding import find_images
from viztool.images.marks import made_by, mark_of, read_mark
from viztool.images.reading import MAX_PIXELS, read_image
from viztool.images.writing import atomic_write, png_bytes, refuse_others, write_image

__all__ = [
    "MAX_PIXELS",
    "atomic_write",
    "find_images",
    "made_by",
    "mark_of",
    "png_bytes",
    "read_image",
    "read_mark",
    "refuse_others",
    "write_image",
]
