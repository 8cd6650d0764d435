"""The claims of the textbooks, drawn and tested: what is true of them, and where they fail."""

from viztool.demos import concepts as _concepts  # noqa: F401  each file there adds its own
from viztool.demos import on_networks as _on_networks  # noqa: F401
from viztool.demos.claims import Claim, all_claims
from viztool.demos.errors import DemoError, WrongNumberError
from viztool.demos.registry import Demo, demo, demos, network_demos, on_network
from viztool.demos.result import DemoResult
from viztool.demos.run import run_demo

CLAIMS = all_claims()
"""The claims of the textbooks by number, 1 to 33."""

__all__ = [
    "CLAIMS",
    "Claim",
    "Demo",
    "DemoError",
    "DemoResult",
    "WrongNumberError",
    "demo",
    "demos",
    "network_demos",
    "on_network",
    "run_demo",
]
