"""The gallery: which pictures it holds, how they are made, and the pages that show them."""

from viztool.gallery.build import build_gallery, stale, write_pages
from viztool.gallery.piece import Piece
from viztool.gallery.pieces import PIECES

__all__ = ["PIECES", "Piece", "build_gallery", "stale", "write_pages"]
