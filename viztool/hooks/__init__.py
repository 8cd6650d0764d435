"""Capture what layers put out, safely: the core that all other rooms stand on."""

from viztool.hooks.activations import Activations
from viztool.hooks.capture import capture

__all__ = ["Activations", "capture"]
