"""What a ReLU6 was given: above its ceiling there is nothing to climb."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from math import isfinite
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from viztool.kernels.redirect import limits_of, works_in_place

_COPIES = {Tensor.clone, Tensor.detach, Tensor.to}
"""By which `capture` takes an output for itself."""


class Ceilings(TorchFunctionMode):
    """Inside the block, remembers what every function with a ceiling, a ReLU6 or a hard tanh, was given.

    Nothing that the network computes changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._given: MutableMapping[Tensor, Tensor] = WeakIdKeyDictionary()

    def below(self, output: Any) -> Any:
        """What came before the ceiling that this is the output of; what is none as it is."""
        return self._given.get(output, output) if isinstance(output, Tensor) else output

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _COPIES:
            result = func(*args, **kwargs)
            if args[0] in self._given:
                self._given[result] = self._given[args[0]]
            return result
        limits = limits_of(func, args, kwargs)
        if limits is None or not isfinite(limits[1]) or not args or not isinstance(args[0], Tensor):
            return func(*args, **kwargs)
        given = args[0].clone() if works_in_place(func, args, kwargs) else args[0]
        result = func(*args, **kwargs)
        self._given[result] = given
        return result
