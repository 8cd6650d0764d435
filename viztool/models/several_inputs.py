"""Networks that take more than a picture."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.tensors.tree import map_tensors


def hold_inputs(net: nn.Module, *others: Any, **named: Any) -> nn.Module:
    """A network of one input, the picture, which gives `net` the other inputs as they are here.

    others, named: what `net` takes after its first input: tensors whose first dimension is the batch, or 1, alone or in
    lists, tuples and dicts; and anything else, which is passed on. A batch that is run several times over, as
    masks and noise ask for, gets them as often. The layers are called `net.NAME`. Nothing of `net` is changed.
    """
    return _Held(net, others, named)


class _Held(nn.Module):
    def __init__(self, net: nn.Module, others: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__()
        self.net, self._others, self._named = net, others, named
        self.training = net.training  # not by train(), which would change what is inside

    def forward(self, picture: Tensor) -> Any:
        def enough(tensor: Tensor) -> Tensor:
            if not tensor.dim():
                return tensor
            if len(picture) % len(tensor):
                raise ModelError(f"an input that is held is of {len(tensor)} images, and {len(picture)} were given")
            return tensor.repeat(len(picture) // len(tensor), *(1,) * (tensor.dim() - 1))

        return self.net(picture, *map_tensors(enough, self._others), **map_tensors(enough, self._named))
