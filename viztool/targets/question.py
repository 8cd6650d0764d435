"""What is asked of a network: a score of its input, of changed copies of that, and what it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import TargetError
from viztool.hooks.naming import unwrap
from viztool.hooks.tail import TailPass
from viztool.hooks.turns import once
from viztool.models.model import Model
from viztool.models.reader import Reader
from viztool.models.repeated import Repeated, at_once, in_parts
from viztool.models.subject import reader_of
from viztool.targets.resolve import Resolved, Target, resolve
from viztool.tensors.graph import gradients
from viztool.tensors.tree import map_tensors

_FEW = 4
"""Runs from which on a private copy with folded batch norms pays."""


class Question:
    """What a network says of N images for a target. Nothing is computed before somebody asks for it, and once.

    Each forward gets a copy of its input, and who asks for `x` gets one: a network may change in place what it is
    given, and neither the next forward nor the caller's tensor must see that.

    model: a `Model`, or a network; in evaluation mode, and frozen where a gradient is asked for. x: (N, C, ..., H, W),
    in the network's precision. target: as `resolve` takes it, or what it gave. layers: by name, those at which
    gradients will be asked for: the graph of the forward on `x` begins at the first of them. seed: of all that is
    random.

    details: figures that a method wants told, ready for JSON.
    """

    def __init__(
        self,
        model: Model | nn.Module,
        x: Tensor,
        target: Target | Resolved,
        *,
        layers: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.net = unwrap(model)
        self.layers = tuple(layers)
        self.seed = seed
        self.details: dict[str, Any] = {}
        self.through: Any = None
        """The units that relevance is to flow through, where a method is asked for that."""
        self._model, self._asked = model, target
        self._x = x.detach().clone()
        self._output: Any = None
        self._layer_gradients: dict[str, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self._x)

    @property
    def x(self) -> Tensor:
        """A copy of the input, (N, C, ..., H, W)."""
        return self._x.clone()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the input."""
        return self._x.shape[-2], self._x.shape[-1]

    @property
    def has_time(self) -> bool:
        """Whether the input is (N, C, T, H, W)."""
        return self._x.dim() == 5

    @once
    def reader(self) -> Reader:
        """How the output is to be read."""
        return reader_of(self._model, self._x)

    @property
    def output(self) -> Any:
        """What the network puts out for `x`, in no graph."""
        if self._output is None:
            self.saw(self.tail.output if self.layers else self.forward(self._x))
        return self._output

    def saw(self, output: Any) -> None:
        """Another forward on `x` gave this output: none is needed for it alone."""
        if self._output is None:
            self._output = map_tensors(Tensor.detach, output)

    @once
    def target(self) -> Resolved:
        """What is asked, of each image."""
        asked = self._asked
        return asked if isinstance(asked, Resolved) else resolve(asked, self.output, self.reader.settle, len(self))

    @once
    def score(self) -> Tensor:
        """The target's score of each image, (N,) float32, in no graph."""
        return self.target.scores(self.output)[0].float()

    def on(self, x: Tensor, layers: Sequence[str] | None = None) -> Question:
        """The same target, settled, of as many other inputs; with the same layers, or others."""
        return Question(self._model, x, self.target, layers=self.layers if layers is None else layers, seed=self.seed)

    def forward(self, x: Tensor) -> Any:
        """What the network itself puts out for a copy of these inputs, without grad."""
        with torch.no_grad():
            return self.net(x.clone())

    def graph(self) -> tuple[Tensor, Any]:
        """One forward of the network itself, with grad: a leaf with the values of `x`, and what it puts out."""
        leaf, output = _from_leaf(self.net, self._x)
        self.saw(output)
        return leaf, output

    @once
    def tail(self) -> TailPass:
        """The forward whose graph begins at the first of the layers."""
        return TailPass(self.net, self.x, self.layers)

    def layer_gradients(self, name: str = "target", score: Callable[[Any], Tensor] | None = None) -> dict[str, Tensor]:
        """The gradient of each image's score at each layer, in the form of what the layer puts out.

        score: another one, (N,), that one makes from the output, under a name of its own: it is derived once
        for all layers. A question gives the gradients of one score, whose graph is then spent.
        """
        if name not in self._layer_gradients:
            tail = self.tail
            self.saw(tail.output)
            with torch.enable_grad():
                scores = self.target.scores(tail.output)[0] if score is None else score(tail.output)
                self._layer_gradients[name] = tail.gradients(scores)
        return self._layer_gradients[name]

    def scores(self, inputs: Tensor) -> Tensor:
        """The score of each input, without grad. inputs: (k, N, C, ..., H, W). Returns (k, N) float32."""
        return in_parts(lambda part: self.target.scores(self._often(part), len(part)).float(), inputs)

    def confidences(self, inputs: Tensor) -> Tensor:
        """The probability of the target class; its score where there is none. As `scores`."""
        return in_parts(lambda part: self.target.confidences(self._often(part), len(part)).float(), inputs)

    def gradients(self, inputs: Tensor) -> Tensor:
        """The gradient of each input's score at that input. inputs: (k, N, C, ..., H, W). Returns the same, float32.

        Raises TargetError if the score does not depend on the input by a gradient.
        """
        return in_parts(self._gradients, inputs)

    def chunks(self, count: int) -> Iterator[slice]:
        """The runs 0 to count − 1, each of a whole batch, as many at a time as pay in one forward."""
        size = max(1, at_once(self._x.device) // len(self))
        return (slice(start, min(start + size, count)) for start in range(0, count, size))

    def masks(self, masks: Tensor) -> Tensor:
        """Masks (k, H, W) in a form that goes with k changed copies of the input: (k, 1, 1, ..., H, W), where it is."""
        return masks.view(len(masks), *(1,) * (self._x.dim() - 2), *self.size).to(self._x.device)

    def generator(self, *stream: int) -> torch.Generator:
        """Random numbers of the seed, on the CPU, so that they are the same everywhere; a stream for each key."""
        seed = self.seed
        for key in stream:
            seed = (seed * 1_000_003 + key + 1) % 2**63
        return torch.Generator().manual_seed(seed)

    @once
    def _repeated(self) -> Repeated:
        return Repeated(self.net, self._x)

    def _often(self, inputs: Tensor) -> Any:
        """The network's output for one of many batches of inputs, (k, N, ...), as fast as it can be."""
        with torch.no_grad():
            return self._repeated(inputs.to(self._x.dtype).flatten(0, 1))

    def _gradients(self, inputs: Tensor) -> Tensor:
        run = self._repeated if len(inputs) >= _FEW else self.net
        leaf, output = _from_leaf(run, inputs.to(self._x.dtype).flatten(0, 1))
        with torch.enable_grad():
            scores = self.target.scores(output, len(inputs))
        require_gradient(scores)
        return gradients([scores], [leaf], [torch.ones_like(scores)])[0].float().reshape(inputs.shape)


def require_gradient(scores: Tensor) -> None:
    """Raise TargetError unless the scores depend on the input by a gradient."""
    if not scores.requires_grad:
        raise TargetError("the score does not depend on the input by a gradient; use occlusion or rise")


def _from_leaf(run: Callable[[Tensor], Any], x: Tensor) -> tuple[Tensor, Any]:
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        # A copy of the leaf, as a network may begin with an operation in place.
        return leaf, run(leaf.clone())
