"""Call back when layers start and finish, and leave the network as it was."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from viztool.hooks.naming import require_hookable

Enter = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any]], None]
Exit = Callable[[str, nn.Module, Any], Any]


@contextmanager
def watch(
    layers: Mapping[str, nn.Module], *, enter: Enter | None = None, exit: Exit | None = None, fails: bool = False
) -> Iterator[None]:
    """Call `enter(name, module, args, kwargs)` before and `exit(name, module, output)` after each layer.

    What `exit` returns, unless None, takes the place of the layer's output for the rest of the
    network. Of a module with several names the first is used. Only calls of the thread that opened
    the block count, and only those of a forward: when activation checkpointing runs a layer once more
    inside a backward, that is the same call again. Compiled networks run eagerly inside the block.
    All hooks are gone when it ends, whatever happened; those in a copy of the network do nothing.

    fails: also call `exit` after a layer that raised an Exception; the output is then None.
    """
    owner = threading.get_ident()
    handles: list[RemovableHandle] = []
    with _eager():
        try:
            seen: set[int] = set()
            for name, module in layers.items():
                if id(module) in seen:
                    continue
                seen.add(id(module))
                require_hookable(name, module)
                if enter is not None:
                    hook = _PreHook(name, enter, owner)
                    handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))
                if exit is not None:
                    handles.append(module.register_forward_hook(_PostHook(name, exit, owner), always_call=fails))
            yield
        finally:
            for handle in reversed(handles):
                handle.remove()


class _Hook:
    """One that is copied or saved together with its network does nothing there: nobody watches that network."""

    def __init__(self, name: str, tell: Callable[..., Any], owner: int) -> None:
        self._name, self._tell, self._owner = name, tell, owner

    def __reduce__(self) -> tuple[Any, ...]:
        # The method takes whatever it is given and returns None; to load it takes nothing but Python.
        return getattr, (nullcontext(), "__exit__")

    def _counts(self) -> bool:
        return threading.get_ident() == self._owner and torch._C._current_graph_task_id() == -1


class _PreHook(_Hook):
    # While the owner registers or removes this hook, another thread may already or still run it, without kwargs.
    def __call__(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None) -> None:
        if self._counts():
            self._tell(self._name, module, args, kwargs or {})


class _PostHook(_Hook):
    def __call__(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return self._tell(self._name, module, output) if self._counts() else None


_lock = threading.Lock()
_open_blocks = 0
_stance: Any = None


@contextmanager
def _eager() -> Iterator[None]:
    """Compiled code runs eagerly inside: hooks that are added after compilation never fire in it.

    The stance is one per process, so blocks that overlap in several threads share it: the first
    sets it and the last puts it back. Without torch._dynamo in memory, nothing can be compiled.
    """
    global _open_blocks, _stance
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with _lock:
        if _open_blocks == 0:
            _stance = torch.compiler.set_stance("force_eager")
            _stance.__enter__()
        _open_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if _open_blocks == 0:
                _stance.__exit__(None, None, None)
                _stance = None
