"""One page to walk through a network on a photo: every unit, what it looked at, and the sum that made it."""

from viztool.explorer.make import explore
from viztool.explorer.page import Page

__all__ = ["Page", "explore"]
