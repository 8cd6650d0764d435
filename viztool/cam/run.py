"""One network on one batch for one target, and what its layers and gradients say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError
from viztool.hooks.tail import TailPass
from viztool.models.repeated import Repeated
from viztool.targets.resolve import Resolved, Target, resolve
from viztool.tensors.layout import to_maps


@dataclass(eq=False)
class Run:
    """Forwards of `net` on `x` (N, C, H, W): each is run when somebody asks for what it gives, and once.

    layers: by name. wanted: what the maps are of. names: of the classes, or None. seed: of all that is random.
    details: figures that a method wants told, ready for JSON.
    """

    net: nn.Module
    x: Tensor
    layers: tuple[str, ...]
    wanted: Target
    names: Sequence[str] | None
    seed: int
    settled: Resolved | None = None
    details: dict[str, Any] = field(default_factory=dict)
    _output: Any = None
    _gradients: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def tail(self) -> TailPass:
        """The forward whose graph begins at the first of the layers."""
        return TailPass(self.net, self.x, self.layers)

    @property
    def output(self) -> Any:
        """What the network puts out for `x`."""
        if self._output is None:
            self._output = self.tail.output
        return self._output

    def saw(self, output: Any) -> None:
        """Another forward on `x` gave this output: none is needed for it alone."""
        if self._output is None:
            self._output = output

    @cached_property
    def _repeated(self) -> Repeated:
        return Repeated(self.net, self.x)

    def often(self, x: Tensor) -> Any:
        """The network's output for one of many batches of inputs like `x`: without grad, and as fast as it can be."""
        with torch.no_grad():
            return self._repeated(x)

    @cached_property
    def target(self) -> Resolved:
        """What is wanted, of each image."""
        return self.settled or resolve(self.wanted, self.output, self.names, len(self))

    def scores(self, output: Any, times: int = 1) -> Tensor:
        """The target's score of each image, (times, N), in the graph where the output is.

        output: of `times` whole batches, one after the other.
        """
        return self.target.scores(output, times)

    def gradients(self, name: str = "target", score: Callable[[Any], Tensor] | None = None) -> dict[str, Tensor]:
        """The gradient of each image's score at each layer, in the form of its activations.

        score: another one, (N,), that one makes from the output, under a name of its own: it is derived once
        for all layers. A run gives the gradients of one score, whose graph is then spent.
        """
        if name not in self._gradients:
            with torch.enable_grad():
                output = self.tail.output
                self._gradients[name] = self.tail.gradients(self.scores(output)[0] if score is None else score(output))
        return self._gradients[name]

    def on(self, x: Tensor, layers: tuple[str, ...] | None = None) -> Run:
        """A run on other inputs, for the target that this one has settled; of the same layers, or some of them."""
        return Run(self.net, x, layers or self.layers, self.wanted, self.names, self.seed, settled=self.target)

    def as_maps(self, layer: str, tensor: Tensor) -> Tensor:
        """What a layer puts out for any number of images, or a gradient at it, as maps (n, C, h, w).

        In the memory of the tensor, so that who writes to the maps writes to it.
        """
        maps = to_maps(tensor, len(tensor), (self.x.shape[-2], self.x.shape[-1]))
        if maps is None:
            raise LayerError(
                f"layer {layer!r} puts out no maps (channels of height × width); "
                "choose a layer before the network flattens them"
            )
        return maps
