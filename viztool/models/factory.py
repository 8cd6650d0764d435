"""Networks from the user's own code: "file.py:factory" and "package.module:factory"."""

from __future__ import annotations

import copy
import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from viztool.errors import ModelError
from viztool.models.model import Model


def build(spec: str) -> nn.Module | Model:
    """The network that "nets.py:build" and "package.nets:build" name.

    build: a function without arguments that returns an nn.Module or a viztool `Model`, a Module subclass, or a
    Module or `Model` (of which a copy is made). As in `python nets.py`, the file's folder can be imported from,
    and for a module the current one. Raises ModelError if anything is missing or fails, with the reason.
    """
    with _found(spec, "a function that builds the network, as in nets.py:build") as found:
        if isinstance(found, nn.Module):
            return copy.deepcopy(found)
        if isinstance(found, Model):
            return replace(found, net=copy.deepcopy(found.net))
        if not callable(found):
            raise ModelError(f"{spec} is a {type(found).__name__}, not a function that builds a network")
        try:
            net = found()
        except (Exception, SystemExit) as error:
            raise ModelError(f"{spec} fails: {_reason(error)}") from error
    if not isinstance(net, nn.Module | Model):
        raise ModelError(f"{spec} returns a {type(net).__name__}, not a torch.nn.Module or a viztool Model")
    return net


def function(spec: str) -> Callable[..., Any]:
    """The function that "nets.py:read" and "package.nets:read" name. Raises ModelError if there is none."""
    with _found(spec, "a function, as in nets.py:read") as found:
        if not callable(found):
            raise ModelError(f"{spec} is a {type(found).__name__}, not a function")
        return cast("Callable[..., Any]", found)


@contextmanager
def _found(spec: str, wanted: str) -> Iterator[Any]:
    """What the file or module holds under that name; while this is open, it can import from its own folder."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ModelError(f"{spec!r}: name {wanted}")
    file = Path(place).expanduser() if place.endswith(".py") else None
    if file is not None and not file.is_file():
        raise ModelError(f"there is no file {place}")
    with _importable(file.resolve().parent if file is not None else Path.cwd()):
        module = _run(file) if file is not None else _imported(place)
        found = getattr(module, name, None)
        if found is None:
            raise ModelError(f"{place} has no {name!r}{_suggest(module, name)}")
        yield found


def _run(file: Path) -> ModuleType:
    # Run anew each time, since a notebook's user edits the file between two calls; never under a
    # name that an import could find.
    name = f"_viztool_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ModelError(f"{file} cannot be run: {_reason(error)}") from error
    return module


def _imported(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise ModelError(f"there is no module {place!r} to import; a file is named as in nets.py:build") from None
        raise ModelError(f"{place} cannot be imported: {_reason(error)}") from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"{place} cannot be imported: {_reason(error)}") from error


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    path = str(folder)
    sys.path.insert(0, path)
    try:
        yield
    finally:
        if path in sys.path:
            sys.path.remove(path)


def _suggest(module: ModuleType, factory: str) -> str:
    names = [name for name, value in vars(module).items() if _is_own_factory(module, name, value)]
    near = difflib.get_close_matches(factory, names, n=3) or names[:3]
    return f"; it has {', '.join(near)}" if near else ""


def _is_own_factory(module: ModuleType, name: str, value: object) -> bool:
    if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
        return False
    return inspect.isfunction(value) or (isinstance(value, type) and issubclass(value, nn.Module))


def _reason(error: BaseException) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
