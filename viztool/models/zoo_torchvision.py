"""torchvision's networks: classification, segmentation, detection and video."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torchvision
from torch import nn

from viztool.errors import ModelError
from viztool.models.catalog import Entry
from viztool.models.checkpoint import fit_checkpoint, read_checkpoint
from viztool.models.download import downloading
from viztool.models.model import Model
from viztool.models.preprocess import Preprocessing
from viztool.models.reading import Output
from viztool.models.request import DEFAULT_WEIGHTS, Weights, is_file, require_class_count

# networks whose grid of positions is built for one photo size, and the argument that sets it, if one does
_SIZE_ARGUMENT = {"vit_": "image_size", "maxvit_": "input_size", "mvit_": None}
# their auxiliary heads run in training only, and their weights expect the input that is rescaled inside
_INCEPTIONS = ("googlenet", "inception_v3")
_FRAMES = 16  # what torchvision's video networks were trained on


def load_torchvision(
    entry: Entry, weights: Weights, classes: tuple[str, ...] | None, size: tuple[int, int] | None
) -> Model:
    """The network `entry` with its weights, their preprocessing and class names.

    weights: as `load_model` takes them. With random weights, or those of a file, preprocessing and
    class names are those of the network's default weights. Raises ModelError.
    """
    known = torchvision.models.get_model_weights(entry.name)
    chosen = None if weights is None or is_file(weights, known.__members__) else _member(entry, weights, known)
    metadata = chosen or known.DEFAULT
    names = tuple(metadata.meta["categories"])
    transforms = metadata.transforms()
    if chosen is not None:
        require_class_count(entry.name, chosen.name, classes, len(names))
    settings = _size_settings(entry, size, transforms, fixed=chosen)
    if classes is not None and len(classes) != len(names):
        settings["num_classes"] = len(classes)
    try:
        net, label = _build(entry, weights, chosen, settings)
    except ValueError as error:
        if size is None:
            raise
        h, w = size
        raise ModelError(f"{entry.name} cannot be built for {h} × {w} photos: leave size out") from error

    recipe = _whole_photo(net) if entry.task == "detection" else _preprocessing(transforms, entry.task)
    if size is not None:
        recipe = recipe.at_size(size)
    output: Output | None = None if entry.task == "detection" else "softmax"
    return Model(net=net, name=entry.name, input=recipe, classes=classes or names, weights=label, output=output)


def _member(entry: Entry, weights: Weights, known: Any) -> Any:
    name = str(weights).rpartition(".")[2]
    if weights is ... or name == DEFAULT_WEIGHTS:
        return known.DEFAULT
    if name in known.__members__:
        return known[name]
    raise ModelError(f"{entry.name} has no weights {name!r}: it has {', '.join(known.__members__)}; a file works too")


def _build(entry: Entry, weights: Weights, chosen: Any, settings: dict[str, Any]) -> tuple[nn.Module, str]:
    builder = torchvision.models.get_model_builder(entry.name)
    if entry.name in _INCEPTIONS:
        settings |= {"aux_logits": False, "transform_input": True}
    if chosen is not None:
        with downloading(entry.name):  # torch.hub says from where, and draws the bar
            return builder(weights=chosen, **settings), chosen.name

    if entry.name in _INCEPTIONS:
        settings["init_weights"] = weights is None  # slow, and for nothing where a file follows
    if "weights_backbone" in inspect.signature(builder).parameters:
        settings["weights_backbone"] = None  # or the backbone alone would be downloaded
    if weights is None:
        return builder(weights=None, **settings), "random weights"
    state = read_checkpoint(str(weights))
    if any("aux_classifier." in key for key in state):
        settings["aux_loss"] = True
    if entry.name in _INCEPTIONS:
        settings["aux_logits"] = any("aux" in key.lower() for key in state)
    net = builder(weights=None, **settings)
    fit_checkpoint(net, state, str(weights), entry.name)
    return net, Path(str(weights)).name


def _preprocessing(transforms: Any, task: str) -> Preprocessing:
    resize = transforms.resize_size
    crop = getattr(transforms, "crop_size", None)
    return Preprocessing(
        size=_pair(crop or resize),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        resize=_pair(resize),
        fit="cover" if len(resize) == 1 else "squash",
        crop=crop is not None,
        interpolation=transforms.interpolation.value,
        antialias=task != "video",  # torchvision's video transform switches it off
        frames=_FRAMES if task == "video" else None,
    )


def _size_settings(entry: Entry, size: tuple[int, int] | None, transforms: Any, fixed: Any) -> dict[str, Any]:
    """What to tell the builder about the photo's size: `size`, or what the weights `fixed` are for."""
    if entry.task == "detection" and size is not None:
        raise ModelError(f"{entry.name} takes photos whole and scales them itself: leave size out")
    prefix = next((prefix for prefix in _SIZE_ARGUMENT if entry.name.startswith(prefix)), None)
    if prefix is None:
        return {}
    argument, made = _SIZE_ARGUMENT[prefix], _pair(transforms.crop_size)
    h, w = size or made
    if (h, w) != made and argument is None:
        raise ModelError(f"{entry.name} takes {made[0]} × {made[1]} photos only: leave size out")
    if (h, w) != made and fixed is not None:
        raise ModelError(
            f"the weights {fixed.name} of {entry.name} are for {made[0]} × {made[1]} photos: leave size out, or use "
            f"weights=None or a file for another"
        )
    if argument is None or fixed is not None:
        return {}
    if h != w:
        raise ModelError(f"{entry.name} takes square photos, got size {h} × {w}")
    return {argument: h if argument == "image_size" else (h, w)}


def _whole_photo(net: Any) -> Preprocessing:
    """For a detection network, which scales and normalises photos itself; its nominal size is that of a square one."""
    fixed, side = net.transform.fixed_size, net.transform.min_size[-1]
    size = (fixed[1], fixed[0]) if fixed is not None else (side, side)
    return Preprocessing(size=size, mean=(0.0,) * 3, std=(1.0,) * 3, crop=False)


def _pair(sides: list[int]) -> tuple[int, int]:
    return sides[0], sides[-1]
