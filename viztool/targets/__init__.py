"""What is to be explained: a class, or any score that one makes from a network's output."""

from viztool.targets.resolve import Resolved, Score, Target, resolve
from viztool.targets.scores import box, inside, similarity

__all__ = ["Resolved", "Score", "Target", "box", "inside", "resolve", "similarity"]
