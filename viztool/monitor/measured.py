"""What was measured, as numbers of the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

How = Literal["sum", "max", "last", "moments"]
"""How the same measure of two micro-batches, or of two processes, becomes one."""
Values = npt.NDArray[np.float64]

ENOUGH = 16
"""Images that tell in how many directions features vary: places of one are alike, and behind a pooling there is one."""


def joined(one: Any, other: Any) -> list[Any]:
    """What `viztool.monitor.measures.moments` gives of both together (Chan et al. 1979). Tensors or arrays."""
    bad, count = one[0] + other[0], one[1] + other[1]
    apart = other[2] - one[2]
    mean = one[2] + apart * other[1] / count
    return [bad, count, mean, one[3] + other[3] + apart**2 * one[1] * (other[1] / count)]


@dataclass
class Measured:
    """What was seen of one layer."""

    values: dict[str, tuple[Values, How]] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    settled_after: float = 0.0
    """Batches after which running statistics have settled."""

    def get(self, name: str) -> Values | None:
        found = self.values.get(name)
        return None if found is None else found[0]

    @np.errstate(invalid="ignore")
    def add(self, other: Measured) -> None:
        """What another process, or another part of the batch, saw of the same layer."""
        for name, (value, how) in other.values.items():
            known = self.values.get(name)
            if known is not None and how == "moments":
                value = np.stack(joined(known[0], value))
            elif known is not None and how != "last" and known[0].shape == value.shape:
                value = known[0] + value if how == "sum" else np.fmax(known[0], value)
            elif known is not None:
                continue
            self.values[name] = (value, how)
        for name, count in other.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
