"""Follow receptive fields through a forward pass while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from itertools import chain
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from viztool.hooks.keeper import storage_of
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.inspect.lattice import Lattice, Mixed, Whole, Within
from viztool.inspect.one_forward import untouched
from viztool.inspect.receptive_field import ReceptiveField, receptive_field
from viztool.inspect.rules import RULES, Call, LostFieldError, TensorFields
from viztool.inspect.rules.pointwise import pointwise
from viztool.inspect.writes import lifted
from viztool.tensors.tree import tensors_in


class _Unknown(Enum):
    """Why nothing is known of a tensor: it never came up, or what it sees was lost."""

    UNSEEN = auto()
    LOST = auto()


_EMPTY = {
    *(f"{kind}_like" for kind in ("zeros", "ones", "empty", "full", "rand", "randn")),
    *(f"new_{kind}" for kind in ("zeros", "ones", "empty", "full")),
}
"""New tensors that take no more than their shape and type from another one."""

_ESCAPES = {"numpy", "tolist", "__array__", "__dlpack__"}
"""What is computed outside of torch cannot be followed."""

_NOTED_WITHOUT_RESULT = {"__setitem__", "data.set", *_ESCAPES}


class FieldTracer(TorchFunctionMode):
    """Knows the receptive field of every tensor of a forward that runs inside the block.

    >>> with FieldTracer(net, x) as fields:  # doctest: +SKIP
    ...     net(x)  # in a hook: fields.of(output)

    net: whose forward it is; only its parameters and buffers are constants.
    x: what the network will be given, a tensor (N, C, *space) or anything that holds tensors; in a list of
        pictures they are (C, H, W). The very tensors, not copies.

    It sees each torch function that the network calls, and runs none itself. What comes out of a function
    without a rule (`viztool.inspect.rules`), or from where torch functions are not seen (scripted code,
    NumPy), has no field, nor has what is computed from it: the field that is given is right or None.
    Nothing is written on tensors, and none is kept alive.
    """

    def __init__(self, net: nn.Module | object, x: Any) -> None:
        super().__init__()
        network = unwrap(net)
        # None stands for what does not depend on the input. What is lost is mostly just not there.
        self._known: MutableMapping[Tensor, TensorFields | _Unknown | None] = WeakIdKeyDictionary()
        self._constants = {id(tensor) for tensor in chain(network.parameters(), network.buffers())}
        self._escaped = False
        self._extents: tuple[int, ...] = ()
        for tensor in tensors_in(x):
            leading = 2 if isinstance(x, Tensor) or tensor.dim() > 3 else 1
            space = tuple(tensor.shape[leading:])
            self._extents = self._extents or space
            axes = tuple(Lattice(axis) for axis in range(len(space)))
            self._known[tensor] = TensorFields((None,) * min(leading, tensor.dim()) + axes)

    def of(self, tensor: Tensor) -> ReceptiveField | None:
        """The receptive field of the units of a tensor; None if it is not known, or if they are no map."""
        axes = self.axes(tensor)
        known = self._known.get(tensor)
        if axes is None or not isinstance(known, TensorFields):
            return None
        return receptive_field(axes, self._extents, context=bool(known.context))

    def axes(self, tensor: Tensor) -> tuple[Lattice | Whole, ...] | None:
        """The same along each spatial axis of the input, exact for each unit; None as in `of`."""
        known = self._known.get(tensor)
        if not isinstance(known, TensorFields) or any(isinstance(dim, Mixed | Within) for dim in known.dims):
            return None
        found = [dim for dim in known.dims if isinstance(dim, Lattice | Whole)]
        found.sort(key=lambda dim: dim.axis)
        if not found or [dim.axis for dim in found] != list(range(len(self._extents))):
            return None
        return tuple(found)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self._observe(_name(func), args, kwargs, result)
        return result

    def _observe(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], result: Any) -> None:
        results = [result] if isinstance(result, Tensor) else tensors_among([result])
        if not results and name not in _NOTED_WITHOUT_RESULT:
            return
        try:
            self._note(name, args, kwargs, results)
        except Exception:
            # A function is called in a way that its rule does not know. To look on must never break a forward,
            # so whatever goes wrong here means only that the field is lost.
            for tensor in results or tensors_among(args[:1]):
                self._forget(tensor)

    def _note(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], results: Sequence[Tensor]) -> None:
        if name == "copy_":
            whole = args[0]._base if args[0]._is_view() else args[0]
            self._write(args[0], args[1], whole)
        elif name == "__setitem__":
            if any(self._look_up(tensor) is not None for tensor in tensors_among(args[1:2])):
                raise LostFieldError
            self._write(args[0][args[1]], args[2], args[0])
        elif name in _ESCAPES:
            self._escaped |= self._look_up(args[0]) is not None
        elif not results:
            raise LostFieldError
        else:
            fields = self._fields(name, args, kwargs, results)
            for result, now in zip(results, fields, strict=True):
                self._set(result, now)

    def _fields(
        self, name: str, args: Sequence[Any], kwargs: dict[str, Any], results: Sequence[Tensor]
    ) -> Sequence[TensorFields | None]:
        """The fields of the results of one call; None each if it does not depend on the input."""
        if name in _EMPTY:
            return [None] * len(results)
        operands: list[tuple[TensorFields, tuple[int, ...]]] = []
        foremost: Tensor | None = None
        for tensor in tensors_among((*args, *(value for key, value in kwargs.items() if key != "out"))):
            known = self._look_up(tensor)
            if known is not None:
                foremost = tensor if foremost is None else foremost
                operands.append((known, tensor.shape))
        if foremost is None:
            if self._escaped:
                raise LostFieldError
            return [None] * len(results)
        call = Call(
            operands=operands,
            leading=foremost is (args[0] if args else kwargs.get("input")),
            outputs=[result.shape for result in results],
        )
        rule = RULES.get(name)
        if rule is None:
            raise LostFieldError
        fields = rule(call, *args, **kwargs)
        return fields if isinstance(fields, list) else [fields] * len(results)

    def _write(self, part: Tensor, value: Any, owner: Tensor) -> None:
        """`value` has been written into `part`, which is `owner` or a view of it."""
        written = self._look_up(value) if isinstance(value, Tensor) else None
        before = self._look_up(owner)
        if written is None:
            return
        shape = tuple(part.shape)
        fields = pointwise(Call([(written, tuple(value.shape))], leading=True, outputs=[shape]))
        if part is owner:
            self._set(owner, fields)
            return
        if storage_of(part) != storage_of(owner):
            raise LostFieldError
        everywhere = lifted(fields, part, owner)
        if before is not None:
            shape = tuple(owner.shape)
            everywhere = pointwise(Call([(before, shape), (everywhere, shape)], leading=True, outputs=[shape]))
        self._set(owner, everywhere)
        self._know(part, fields)

    def _look_up(self, tensor: Tensor) -> TensorFields | None:
        if id(tensor) in self._constants:
            return None
        known = self._known.get(tensor, _Unknown.UNSEEN)
        if isinstance(known, _Unknown):
            if known is _Unknown.UNSEEN and isinstance(tensor, nn.Parameter):
                return None
            raise LostFieldError
        return known

    def _set(self, tensor: Tensor, fields: TensorFields | None) -> None:
        if fields is not None and len(fields.dims) != tensor.dim():
            raise LostFieldError
        before = self._known.get(tensor, _Unknown.UNSEEN)
        if before is fields is not None:
            return
        if before is not _Unknown.UNSEEN and before != fields:  # written in place
            self._forget_views(tensor)
        self._know(tensor, fields)

    def _forget(self, tensor: Tensor) -> None:
        if tensor in self._known or id(tensor) in self._constants:
            self._know(tensor, _Unknown.LOST)
            self._forget_views(tensor)

    def _know(self, tensor: Tensor, fields: TensorFields | _Unknown | None) -> None:
        if fields is not None:
            self._constants.discard(id(tensor))
        self._known[tensor] = fields

    def _forget_views(self, tensor: Tensor) -> None:
        """What shares memory with a tensor that was written in place has changed too."""
        storage = storage_of(tensor)
        for other in list(self._known):
            if other is not tensor and storage_of(other) == storage:
                self._know(other, _Unknown.LOST)


def receptive_fields(net: nn.Module | object, x: Any) -> dict[str, ReceptiveField | None]:
    """The receptive field of every layer that runs, by name, in the order in which they end; the network is "".

    net: a network or a viztool `Model`. x: what it takes, a normalised tensor (N, C, H, W) for most.
    Of a layer that runs several times it is that of the last call; of several outputs, of the first.
    """
    root = unwrap(net)
    fields: dict[str, ReceptiveField | None] = {}
    with untouched(root, x) as own, FieldTracer(root, own) as tracer:

        def note(name: str, _module: nn.Module, output: Any) -> None:
            fields.pop(name, None)
            first = next(tensors_in(output), None)
            fields[name] = None if first is None else tracer.of(first)

        with watch(named_layers(root), exit=note):
            root(own)
    return fields


def tensors_among(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among the arguments of a function, and in lists and tuples among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += [item for item in value if isinstance(item, Tensor)]
    return found


@lru_cache(maxsize=4096)
def _name(func: Callable[..., Any]) -> str:
    """The name that a function has in the table of rules; "" if it is none of torch's own."""
    name = str(getattr(func, "__name__", ""))
    module = getattr(func, "__module__", None) or "torch"
    if name in ("__get__", "__set__"):
        return f"{getattr(getattr(func, '__self__', None), '__name__', '')}.{name.strip('_')}"
    if (module.startswith("torch._ops") and module != "torch._ops.aten") or module.partition(".")[0] != "torch":
        return ""
    return name
