"""Read weights from a file without running code, and fit them into a network."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from viztool.errors import ModelError
from viztool.hooks.naming import unwrap

SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt", ".bin", ".tar")

# what training scripts call the weights inside a checkpoint, the most telling name first
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "state_dict_ema", "ema", "params")
_COMPILED = "_orig_mod."
# torch.optim.swa_utils.AveragedModel counts its updates beside the weights
_NOT_WEIGHTS = ("n_averaged",)

State = dict[str, Any]


def read_checkpoint(path: str | Path) -> State:
    """The weights in a .pth, .pt or .safetensors file, by name, on the CPU.

    Out of whatever a training script wrapped them in ({"state_dict": ...}, {"model": ...}). Raises
    ModelError if the file is missing, empty or damaged, if reading it would run code, and if it holds
    no weights or some that are not finite.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"there is no weights file {path}")
    if file.stat().st_size == 0:
        raise ModelError(f"the weights file {path} is empty")
    state = _unwrapped(_read(file, path), path)
    for key, value in state.items():
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(value.isfinite().all()):
            raise ModelError(f"{path}: {key} holds NaN or infinity")
    return state


def fit_checkpoint(net: nn.Module, state: State, source: str | Path, name: str) -> None:
    """Load `state` into `net`, every key in its place; else ModelError, one line with the keys that do not fit.

    A prefix that all keys share and the network lacks ("module.", "model.") is taken off.
    """
    inner = unwrap(net)
    wanted = {key.replace(_COMPILED, ""): key for key in inner.state_dict()}
    state = _without_prefix({key.replace(_COMPILED, ""): value for key, value in state.items()}, wanted)
    complaint = _misfits({clean: inner.state_dict()[key] for clean, key in wanted.items()}, state)
    if complaint:
        raise ModelError(f"{source} does not fit {name}: {complaint}")
    try:
        # not strict: `_misfits` has looked, and older files lack batch norm's counters
        inner.load_state_dict({wanted[key]: value for key, value in state.items()}, strict=False)
    except RuntimeError as error:
        raise ModelError(f"{source} does not fit {name}: {' '.join(str(error).split())}") from error


def _read(file: Path, path: str | Path) -> Any:
    try:
        if file.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        # argparse.Namespace: many training scripts, timm's too, keep their options in the file; it only holds values
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+)|[Uu]nsupported (?:class|global|operand)\D*?(\w[\w.]*\.\w+)", str(error))
        if not refused:
            raise ModelError(f"the weights file {path} is damaged, or is none") from error
        what = refused.group(1) or refused.group(2)
        raise ModelError(
            f"{path} is refused: reading it could run code (it names {what}); "
            f"save the network's state_dict(), or use safetensors"
        ) from error
    except MemoryError:
        raise
    except Exception as error:
        if "TorchScript" in str(error):
            raise ModelError(f"{path} is a TorchScript archive: save the state_dict() of the network in it") from error
        raise ModelError(f"the weights file {path} is damaged, or is none") from error


def _unwrapped(data: Any, path: str | Path) -> State:
    while isinstance(data, Mapping):
        inner = [data[key] for key in _WRAPPERS if isinstance(data.get(key), Mapping)]
        # a wrapper of another name is known by what it holds
        inner = inner or [value for value in data.values() if _is_state(value)]
        if not inner:
            break
        data = inner[0]
    if not _is_state(data):
        held = f"its keys are {_few([str(key) for key in data])}" if isinstance(data, Mapping) else type(data).__name__
        raise ModelError(f"{path} holds no weights by name ({held}): save the network's state_dict()")
    return {key: value for key, value in data.items() if key not in _NOT_WEIGHTS}


def _is_state(data: Any) -> bool:
    return (
        isinstance(data, Mapping)
        and any(isinstance(value, Tensor) for value in data.values())
        and all(isinstance(key, str) for key in data)
    )


def _without_prefix(state: State, wanted: Mapping[str, Any]) -> State:
    while state and not state.keys() & wanted.keys():
        heads = {key.partition(".")[0] for key in state}
        if len(heads) > 1 or not all("." in key for key in state):
            break
        state = {key.partition(".")[2]: value for key, value in state.items()}
    return state


def _misfits(wanted: Mapping[str, Any], state: State) -> str:
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in wanted]
    reshaped = [
        f"{key} is {tuple(state[key].shape)}, the network's is {tuple(own.shape)}"
        for key, own in wanted.items()
        if isinstance(state.get(key), Tensor) and not is_lazy(own) and own.shape != state[key].shape
    ]
    parts = [(missing, "missing"), (unexpected, "unexpected"), (reshaped, "of another shape")]
    return "; ".join(
        f"{len(keys)} {'key' if len(keys) == 1 else 'keys'} {what} ({_few(keys)})" for keys, what in parts if keys
    )


def _few(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
