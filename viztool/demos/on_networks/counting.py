"""Parameters, connections and multiply-adds of this network, layer by layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import nn

from viztool.demos.photo import Photo
from viztool.demos.registry import on_network
from viztool.demos.story import Story
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.inspect import layer_table
from viztool.models.model import Model
from viztool.render.panels import Bar, Bars, Table, Words
from viztool.tensors.tree import tensors_in

_MOST = 24


@on_network("counting", "where are its weights?")
def counting(model: Model, photos: Sequence[Photo], seed: int) -> Story:
    """From the layer table: the layers with weights, and how often each weight is used."""
    net = unwrap(model)
    modules = named_layers(net)
    outputs: Counter[str] = Counter()

    def count(name: str, _module: nn.Module, output: Any) -> None:
        outputs[name] += sum(tensor.numel() for tensor in tensors_in(output))

    # A layer that is called again puts out more, and maybe of another size: the table has its last output alone.
    with watch(modules, exit=count):
        table = layer_table(model)
    # By what they are: layers may share a parameter.
    own = {id(each): each.numel() for module in net.modules() for each in module.parameters(recurse=False)}
    story = Story(notes=["Connections: multiply-adds and one for each bias added."])
    layers: list[dict[str, Any]] = []
    for row in table.rows:
        if not row.is_leaf or not row.parameters or row.output_shape is None or not row.macs:
            continue
        bias = getattr(modules[row.name], "bias", None) is not None
        connections = row.macs + (outputs[row.name] if bias else 0)
        layers.append(
            {
                "name": row.name,
                "type": row.type,
                "parameters": row.parameters,
                "connections": connections,
                "macs": row.macs,
                "uses_of_a_weight": connections / row.parameters,
            }
        )
    story.equal("parameters, counted layer by layer", sum(own.values()), table.parameters)
    story.below("multiply-adds of its layers", sum(layer["macs"] for layer in layers), table.macs)
    story.numbers |= {"parameters": table.parameters, "macs": table.macs, "layers": layers}
    largest = sorted(layers, key=lambda layer: -layer["parameters"])[:_MOST]
    shown = [layer for layer in layers if layer in largest]
    rows = [["layer", "type", "parameters", "connections", "multiply-adds", "uses of a weight"]]
    rows += [
        [
            str(layer["name"]),
            str(layer["type"]),
            f"{layer['parameters']:,}",
            f"{layer['connections']:,}",
            f"{layer['macs']:,}",
            f"{layer['uses_of_a_weight']:,.1f}",
        ]
        for layer in shown
    ]
    left_out = len(layers) - len(shown)
    story.numbers["layers_not_shown"] = left_out
    story.band(
        "Layer by layer",
        [
            f"{table.parameters:,} parameters, {table.macs:,} multiply-adds on its input.",
            *(
                [f"The {len(shown)} with the most parameters; {left_out} smaller ones are in the numbers."]
                if left_out
                else []
            ),
        ],
        *([Table(rows)] if shown else [Words(["No layer of it has weights that multiply."])]),
    )
    story.numbers["layers_shown"] = len(shown)
    order = sorted(layers, key=lambda layer: -layer["uses_of_a_weight"])
    ends = [*order[:4], *order[4:][-4:]]
    story.when_this_fails(
        ["Sharing saves where a map is large. Behind pooling and in dense layers a weight is used few times, or once."],
        *(
            [
                Bars(
                    [
                        Bar(str(layer["name"]), float(layer["uses_of_a_weight"]), f"{layer['uses_of_a_weight']:,.1f}")
                        for layer in ends
                    ],
                    "Uses of a weight: the most and the least",
                    across=1,
                )
            ]
            if ends
            else []
        ),
    )
    return story
