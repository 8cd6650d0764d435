"""Depth: which layers count, and whether more of them have more parameters."""

from __future__ import annotations

import torch
import torchvision
from torch import nn

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Bar, Bars, Table
from viztool.render.numbers import percent

_NETWORKS = ("alexnet", "vgg16", "resnet18", "resnet50", "densenet121")
_COLOR = (214, 150, 92)


@demo("depth", "Does deeper mean more parameters?", claims=[27], sees=False)
def depth(photo: Photo, seed: int) -> Story:
    """Counts the convolutional and dense layers of known networks, and their parameters."""
    story = Story(notes=["Of the networks' definitions alone: no weights are loaded, and the photo is not looked at."])
    found = {}
    for name in _NETWORKS:
        with torch.device("meta"):
            net = getattr(torchvision.models, name)(weights=None)
        layers = [(path, each) for path, each in net.named_modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
        found[name] = {
            "layers": len(layers),
            "beside_shortcuts": sum("downsample" not in path for path, _ in layers),
            "parameters": sum(each.numel() for each in net.parameters()),
        }
    story.equal("layers of VGG-16", found["vgg16"]["layers"], 16)
    story.equal("layers of ResNet-18", found["resnet18"]["layers"], 21)
    story.equal("layers of ResNet-18 beside its shortcuts", found["resnet18"]["beside_shortcuts"], 18)
    story.equal("parameters of VGG-16", found["vgg16"]["parameters"], 138_357_544)
    story.equal("parameters of ResNet-50", found["resnet50"]["parameters"], 25_557_032)
    story.numbers["networks"] = found
    story.band(
        "How deep",
        [
            "The custom: count layers with weights that stand one behind the other. VGG-16 has its 16. ResNet-18 has "
            f"{found['resnet18']['layers']} such modules: three more convolutions stand in shortcuts."
        ],
        Table(
            [
                ["network", "conv + dense", "without shortcuts", "parameters"],
                *(
                    [name, f"{each['layers']}", f"{each['beside_shortcuts']}", f"{each['parameters']:,}"]
                    for name, each in found.items()
                ),
            ]
        ),
    )
    millions = {name: each["parameters"] / 1e6 for name, each in found.items()}
    share = found["resnet50"]["parameters"] / found["vgg16"]["parameters"]
    story.numbers["millions"] = millions
    story.numbers["resnet50_over_vgg16"] = share
    story.when_this_fails(
        [
            f"Deeper is not larger: ResNet-50 has {millions['resnet50']:.1f} million parameters, VGG-16 "
            f"{millions['vgg16']:.1f} million: {percent(share)} of them at three times the depth. VGG's are in its "
            "first dense layer."
        ],
        Bars(
            [Bar(name, each["layers"], f"{each['layers']} layers") for name, each in found.items()],
            "Convolutional and dense layers",
        ),
        Bars([Bar(name, each, f"{each:.1f} M", _COLOR) for name, each in millions.items()], "Parameters"),
    )
    return story
