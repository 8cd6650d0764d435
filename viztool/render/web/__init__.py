"""What the pages for a browser have in common: their frame, their style, light and dark, and what they may do."""

from viztool.render.web.page import sealed_page, shared

__all__ = ["sealed_page", "shared"]
