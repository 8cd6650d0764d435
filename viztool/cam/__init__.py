"""Class activation maps: where a layer holds what speaks for a class."""

from viztool.cam import methods as _methods  # noqa: F401  each file there adds its own
from viztool.cam.compute import class_activation_map
from viztool.cam.registry import CamMethod, describe, find, method, names

METHODS = names()
"""The names of all methods."""

SLOW = tuple(name for name in METHODS if find(name).slow)
"""Those that run the network ten times for each channel of the layer."""

__all__ = ["METHODS", "SLOW", "CamMethod", "class_activation_map", "describe", "method"]
