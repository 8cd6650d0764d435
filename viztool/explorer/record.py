"""Write down how a forward computes its tensors: which operation gave each, and from which others.

An operation is known by its place in the order in which they run, which is the same each time: a first forward tells
which operations matter, a second one keeps what these put out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from viztool.hooks.watch import watch
from viztool.tensors.tree import map_tensors, tensors_in


@dataclass(frozen=True)
class Ref:
    """In the arguments of an operation: what the operation at this place in the order has put out."""

    step: int


@dataclass(frozen=True, eq=False)
class Step:
    """One operation that depends on the input, and has one tensor as its result; the input itself is step 0.

    args and kwargs hold a `Ref` where they held such a tensor, and constants as they were. call: which call of a
    layer it ran in.
    """

    name: str
    function: Callable[..., Any] | None = None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    call: int = 0

    @property
    def sources(self) -> list[int]:
        """The steps whose results it was given."""
        return list(_refs([*self.args, *self.kwargs.values()]))


class Recorder(TorchFunctionMode):
    """Records each operation of a forward that runs inside the block; see `recording`.

    keep: the steps whose results are copied into `kept`, by step, as they are when they are computed.
    """

    def __init__(self, x: Tensor, keep: Iterable[int] = ()) -> None:
        super().__init__()
        self.steps: list[Step] = [Step("input", shape=tuple(x.shape))]
        self.kept: dict[int, Tensor] = {}
        self._keep = frozenset(keep)
        self._known: MutableMapping[Tensor, int] = WeakIdKeyDictionary()
        self._calls: list[int] = [0]
        self._parents: list[int] = [0]
        self.outputs: dict[str, int] = {}
        """The step that made the last output of each layer, of those that put out one tensor, in order of their end."""
        self._know(x, 0)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        given = tuple(_as_refs(arg, self._known) for arg in args)
        named = {key: _as_refs(value, self._known) for key, value in kwargs.items()}
        result = func(*args, **kwargs)
        depends = next(_refs([*given, *named.values()]), None) is not None
        if isinstance(result, Tensor):
            if depends:
                name = getattr(func, "__name__", "")
                step = Step(name, func, given, named, tuple(result.shape), self._calls[-1])
                self._know(result, len(self.steps))
                self.steps.append(step)
        elif depends:
            for tensor in tensors_in(result) if isinstance(result, tuple | list) else ():
                self._know(tensor, len(self.steps))
                self.steps.append(Step("", shape=tuple(tensor.shape), call=self._calls[-1]))
        if getattr(func, "__name__", "") == "__setitem__" and isinstance(args[0], Tensor) and depends:
            self._know(args[0], len(self.steps))
            self.steps.append(Step("", shape=tuple(args[0].shape), call=self._calls[-1]))
        return result

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._parents.append(self._calls[-1])
        self._calls.append(len(self._parents) - 1)

    def exit(self, name: str, module: nn.Module, output: Any) -> None:
        self._calls.pop()
        inside = list(tensors_in(output)) if isinstance(output, Tensor | tuple | list) else []
        self.outputs.pop(name, None)
        if inside and inside[0] in self._known:
            self.outputs[name] = self._known[inside[0]]

    def inside(self, call: int, outer: int) -> bool:
        """Whether a call of a layer is this one, or ran in it."""
        while call > outer:
            call = self._parents[call]
        return call == outer

    def _know(self, tensor: Tensor, step: int) -> None:
        self._known[tensor] = step
        if step in self._keep:
            self.kept[step] = tensor.detach().clone()


@contextmanager
def recording(named: Mapping[str, nn.Module], x: Tensor, keep: Iterable[int] = ()) -> Iterator[Recorder]:
    """Around one forward on x, the very tensor."""
    recorder = Recorder(x, keep)
    with watch(named, enter=recorder.enter, exit=recorder.exit), recorder:
        yield recorder


def replayed(step: Step, results: Mapping[int, Tensor]) -> Tensor:
    """The operation once more, with these in the place of what it was given."""
    assert step.function is not None

    def put(value: Any) -> Any:
        if isinstance(value, Ref):
            return results[value.step]
        if isinstance(value, tuple | list):
            return type(value)(put(item) for item in value)
        return value

    args = [put(arg) for arg in step.args]
    # A function that works in place does so on a copy.
    copied = map_tensors(Tensor.clone, args[0]) if args else None
    result = step.function(*([copied, *args[1:]] if args else []), **{key: put(v) for key, v in step.kwargs.items()})
    assert isinstance(result, Tensor)
    return result


def _as_refs(value: Any, known: Mapping[Tensor, int]) -> Any:
    if isinstance(value, Tensor):
        return Ref(known[value]) if value in known else value
    if type(value) in (tuple, list):
        return type(value)(_as_refs(item, known) for item in value)
    return value


def _refs(values: Iterable[Any]) -> Iterator[int]:
    for value in values:
        if isinstance(value, Ref):
            yield value.step
        elif isinstance(value, tuple | list):
            yield from _refs(value)
