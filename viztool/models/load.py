"""`load_model`: one name for every network, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from viztool.errors import ModelError, SettingError
from viztool.models.catalog import DEFAULT, TIMM, entries, nearest
from viztool.models.checkpoint import SUFFIXES, fit_checkpoint, read_checkpoint
from viztool.models.classes import imagenet_classes, read_classes
from viztool.models.embedded import WEIGHTS, embedded_net
from viztool.models.factory import build
from viztool.models.model import Model, wrap_model
from viztool.models.preprocess import check_size
from viztool.models.reading import Output, check_output
from viztool.models.request import Weights, find_device, is_default, is_file, require_class_count
from viztool.models.stem import Changes, own_preprocessing


def load_model(
    name: str | None = None,
    *,
    weights: Weights = ...,
    classes: Sequence[str] | str | Path | None = None,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    output: Output | None = None,
    channel_order: str | None = None,
    value_range: float | None = None,
    resize: str | None = None,
    device: str | torch.device = "cpu",
) -> Model:
    """A network by name, in evaluation mode on `device`, with its weights, preprocessing and class names.

    name: None for the embedded network (EfficientNet-Lite0, no download); a torchvision name
    ("resnet50"); "timm/convnext_tiny"; or your own code, "nets.py:build" or "package.nets:build", which may also
    give a `Model`, with all that it knows.
    weights: left out, the network's own; None, random ones; a name of torchvision's or timm's weights
    ("IMAGENET1K_V1"); or a file (.pth, .pt, .safetensors). classes: names, or a file of them.
    size, mean, std, output, channel_order, value_range, resize: as `wrap_model` takes them, in place of what the
    weights say. device: "cpu", "cuda", "mps" or "auto". Raises ModelError.
    """
    place = find_device(device)
    names = None if classes is None else read_classes(classes)
    sides = None if size is None else check_size(size)
    check_output(output)
    if name is None or name == DEFAULT:
        model = _load_embedded(weights, names, sides)
    elif not isinstance(name, str):
        raise ModelError(f"expected the name of a network, got {type(name).__name__}: wrap_model takes a network")
    elif name.startswith(TIMM) and name.partition(".")[0] in entries():
        from viztool.models.zoo_timm import load_timm

        model = load_timm(name, weights, names, sides)
    elif name in entries():
        from viztool.models.zoo_torchvision import load_torchvision

        model = load_torchvision(entries()[name], weights, names, sides)
    elif ":" in name:
        model = _load_own(name, weights, names, sides)
    else:
        raise SettingError(_unknown(name))
    model.net.eval().to(place)
    changes = Changes(mean, std, channel_order, value_range, resize)
    return replace(model, input=changes.of(model.input), output=model.output if output is None else output)


def _load_embedded(weights: Weights, classes: tuple[str, ...] | None, size: tuple[int, int] | None) -> Model:
    if not is_default(weights):
        from viztool.models.zoo_timm import load_timm

        if weights is not None and not is_file(weights):
            raise ModelError(f"{DEFAULT} has no weights {str(weights)!r}: leave weights out, or give a file")
        return replace(load_timm(TIMM + DEFAULT, weights, classes, size), name=DEFAULT)
    names = imagenet_classes()
    require_class_count(DEFAULT, "embedded in viztool", classes, len(names))
    net = embedded_net()
    return Model(
        net=net,
        name=DEFAULT,
        input=own_preprocessing(net, size),
        classes=classes or names,
        weights=WEIGHTS,
        output="softmax",
    )


def _load_own(name: str, weights: Weights, classes: tuple[str, ...] | None, size: tuple[int, int] | None) -> Model:
    made = build(name)
    own = made if isinstance(made, Model) else wrap_model(made, size)
    label = own.weights if isinstance(made, Model) and own.weights != "as given" else f"as {name} made them"
    if weights is not None and not is_default(weights):
        fit_checkpoint(own.net, read_checkpoint(str(weights)), str(weights), name)
        label = Path(str(weights)).name
    recipe = own.input if size is None or not isinstance(made, Model) else own.input.at_size(size)
    return replace(own, name=name, input=recipe, classes=classes or own.classes, weights=label)


def _unknown(name: str) -> str:
    if name.endswith(".py"):
        return f"{name}: say which function in it builds the network, as in {name}:build"
    if name.endswith(SUFFIXES):
        return f"{name} holds weights, not a network: name the network and give the file as its weights"
    near = nearest(name)
    hint = f"the nearest names are {', '.join(near)}" if near else "`viztool models` lists what there is"
    return f"unknown network {name!r}: {hint}"
