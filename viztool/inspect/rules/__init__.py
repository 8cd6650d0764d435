"""What each torch function does to receptive fields: one table, a rule for each family of functions.

A function that has no rule here loses the field: nothing is ever guessed.
"""

from __future__ import annotations

from viztool.inspect.rules import pointwise, reductions, shapes, windows
from viztool.inspect.rules.base import Call, LostFieldError, Rule, TensorFields

__all__ = ["RULES", "Call", "LostFieldError", "Rule", "TensorFields"]

RULES: dict[str, Rule] = {**pointwise.RULES, **reductions.RULES, **shapes.RULES, **windows.RULES}
"""Rules by the name of the function, which is the same in torch, torch.nn.functional and Tensor."""
