"""Pixel attributions: which pixels of the input speak for a score, and which against it."""

from viztool.attribution import methods as _methods  # noqa: F401  each file there adds its own
from viztool.attribution.compute import attribute
from viztool.attribution.registry import AttributionMethod, describe, method, names, options_of

METHODS = names()
"""The names of all methods."""

__all__ = ["METHODS", "AttributionMethod", "attribute", "describe", "method", "options_of"]
