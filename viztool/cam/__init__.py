"""Class activation maps: where a layer holds what speaks for a class."""

from viztool.cam import methods as _methods  # noqa: F401  each file there adds its own
from viztool.cam.compute import class_activation_map
from viztool.cam.registry import Method, describe, method, names

METHODS = names()
"""The names of all methods."""

__all__ = ["METHODS", "Method", "class_activation_map", "describe", "method"]
