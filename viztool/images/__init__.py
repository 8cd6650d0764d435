"""Files ↔ uint8 RGB arrays: the only room that opens or writes a picture."""

from viztool.images.film import write_film
from viztool.images.finding import find_images
from viztool.images.marks import mark_of, read_mark, signed_by
from viztool.images.reading import MAX_PIXELS, read_image
from viztool.images.writing import atomic_write, png_bytes, refuse_others, write_image

__all__ = [
    "MAX_PIXELS",
    "atomic_write",
    "find_images",
    "mark_of",
    "png_bytes",
    "read_image",
    "read_mark",
    "refuse_others",
    "signed_by",
    "write_film",
    "write_image",
]
