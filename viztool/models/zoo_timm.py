"""timm's networks, under "timm/NAME" or "timm/NAME.TAG"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from viztool.errors import ModelError
from viztool.models.catalog import TIMM
from viztool.models.checkpoint import fit_checkpoint, read_checkpoint
from viztool.models.classes import imagenet_classes
from viztool.models.download import downloading, require_server, say
from viztool.models.model import Model
from viztool.models.request import Weights, is_default, is_file, require_class_count
from viztool.models.stem import own_preprocessing

# the names under which timm keeps weights on the hub, in the order in which it looks
_FILES = ("model.safetensors", "pytorch_model.bin")


def load_timm(name: str, weights: Weights, classes: tuple[str, ...] | None, size: tuple[int, int] | None) -> Model:
    """The network `name` ("timm/resnet50", "timm/resnet50.a1_in1k") with its configuration's preprocessing.

    weights: as `load_model` takes them; a name is one of timm's tags. Raises ModelError.
    """
    arch, _, tag = name.removeprefix(TIMM).partition(".")
    configs = timm.models.get_arch_pretrained_cfgs(arch)
    tags = [full.partition(".")[2] for full in configs if "." in full]
    if isinstance(weights, str) and not is_default(weights) and not is_file(weights, tags):
        tag, weights = weights, ...
    if tag and tag not in tags:
        raise ModelError(f"{TIMM}{arch} has no weights {tag!r}: it has {', '.join(tags) or 'none'}; a file works too")
    config: Any = timm.models.get_pretrained_cfg(f"{arch}.{tag}" if tag else arch, allow_unregistered=False)

    settings: dict[str, Any] = {"pretrained_cfg": config}
    if size is not None and config.fixed_input_size and size != tuple(config.input_size[1:]):
        settings["img_size"] = size
    if is_default(weights):
        if not config.has_weights:
            raise ModelError(f"timm has no weights for {arch}: use weights=None, or a file (--weights FILE)")
        require_class_count(TIMM + arch, config.tag or "of timm", classes, config.num_classes)
        overlay = _cached(config)
        if overlay is None:
            _announce(TIMM + arch, config)
        with downloading(TIMM + arch):
            if overlay is None and config.hf_hub_id:
                require_server(_endpoint())
            net = _create(arch, pretrained=True, pretrained_cfg_overlay=overlay, **settings)
        label = config.tag or "timm's weights"
    else:
        if classes is not None and len(classes) != config.num_classes:
            settings["num_classes"] = len(classes)
        net = _create(arch, **settings)
        label = "random weights"
        if weights is not None:
            fit_checkpoint(net, read_checkpoint(str(weights)), str(weights), TIMM + arch)
            label = Path(str(weights)).name
    names = classes or _class_names(net)
    return Model(
        net=net,
        name=TIMM + arch,
        input=own_preprocessing(net, size),
        classes=names,
        weights=label,
        output=None if names is None else "softmax",  # without names it may be an embedding, as CLIP's are
    )


def _create(arch: str, **settings: Any) -> nn.Module:
    try:
        net: nn.Module = timm.create_model(arch, **settings)
    except (TypeError, AssertionError, ValueError) as error:
        if "img_size" not in settings:
            raise
        h, w = settings["img_size"]
        raise ModelError(f"{TIMM}{arch} cannot be built for {h} × {w} photos: leave size out") from error
    return net


def _cached(config: Any) -> dict[str, Any] | None:
    """Where the weights lie if they were downloaded before, so that no network is needed."""
    if not config.hf_hub_id:
        return None
    from huggingface_hub import try_to_load_from_cache

    for file in (config.hf_hub_filename,) if config.hf_hub_filename else _FILES:
        path = try_to_load_from_cache(config.hf_hub_id, file)
        if isinstance(path, str):
            return {"file": path, "custom_load": False}  # custom loaders are for the files at the original URL
    return None


def _announce(name: str, config: Any) -> None:
    if config.hf_hub_id:  # torch.hub says itself where a file at a URL comes from
        say(f"downloading the weights of {name} from {_endpoint()}/{config.hf_hub_id}")


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _class_names(net: nn.Module) -> tuple[str, ...] | None:
    """ImageNet's names if the network has as many outputs as one of its editions."""
    subset = infer_imagenet_subset(net)
    if subset == "imagenet-1k":
        return imagenet_classes()
    return tuple(ImageNetInfo(subset).label_descriptions()) if subset else None
