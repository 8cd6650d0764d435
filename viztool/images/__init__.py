"""Files ↔ uint8 RGB arrays: the only room that opens or writes a picture."""

from viztool.images.finding import find_images
from viztool.images.reading import MAX_PIXELS, read_image
from viztool.images.writing import atomic_write, png_bytes, write_image

__all__ = ["MAX_PIXELS", "atomic_write", "find_images", "png_bytes", "read_image", "write_image"]
