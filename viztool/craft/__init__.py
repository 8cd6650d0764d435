"""The concepts that a class is made of: parts of a layer's activations, and how much rests on each."""

from viztool.craft.find import concepts
from viztool.craft.result import Concept, Concepts
from viztool.craft.splitting import split

__all__ = ["Concept", "Concepts", "concepts", "split"]
