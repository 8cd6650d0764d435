"""What a unit is made of, and what it does for the rest: measured, by taking channels out of a network.

Without photos, what its weights say: `wiring` of a unit, `overview` of a layer.
"""

from viztool.circuits.compute import circuit
from viztool.circuits.knock import Edge
from viztool.circuits.overview import Overview, overview
from viztool.circuits.result import Circuit
from viztool.circuits.wiring import Wiring, wiring

__all__ = ["Circuit", "Edge", "Overview", "Wiring", "circuit", "overview", "wiring"]
