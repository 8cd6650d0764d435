"""What a unit is made of, and what it does for the rest: measured, by taking channels out of a network."""

from viztool.circuits.compute import circuit
from viztool.circuits.knock import Edge
from viztool.circuits.result import Circuit

__all__ = ["Circuit", "Edge", "circuit"]
