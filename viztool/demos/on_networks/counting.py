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
from viztool.render.charts import Bar, Bars, Table
from viztool.render.panels import Words
from viztool.tensors.tree import tensors_in

_MOST = 24


@on_network("counting", "where are its weights?", sees=False)
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
                "stage": _stage(row.output_shape),
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
    counted = {id(each): each.numel() for layer in layers for each in modules[layer["name"]].parameters()}
    elsewhere = table.parameters - sum(counted.values())
    _by_stage(story, layers, elsewhere, sum(layer["parameters"] for layer in layers) - sum(counted.values()))
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
    story.when_this_fails(
        ["Sharing saves where a map is large. Behind pooling and in dense layers a weight is used few times, or once."],
        *(
            [Bars(_uses(layers), "Uses of a weight, in powers of ten", ["the most and the least"], across=1, log=True)]
            if layers
            else []
        ),
    )
    return story


def _stage(shape: Sequence[int]) -> str:
    """The resolution of a layer's output, or that it has none."""
    sides = shape[2:]
    return " × ".join(map(str, sides)) if len(sides) > 1 and max(sides) > 1 else "dense"


def _by_stage(story: Story, layers: Sequence[dict[str, Any]], elsewhere: int, again: int) -> None:
    """What the layers of each resolution have in sum: the first have the work, the last the weights.

    elsewhere: parameters of layers that have no multiply-adds. again: those that a second layer counts, too.
    """
    stages: dict[str, dict[str, int]] = {}
    for layer in layers:
        sums = stages.setdefault(layer["stage"], {"parameters": 0, "macs": 0})
        for what in sums:
            sums[what] += layer[what]
    story.numbers |= {"stages": stages, "parameters_elsewhere": elsewhere, "parameters_counted_again": again}
    if not stages:
        return
    blue, orange = (122, 152, 186), (214, 150, 92)
    weights = [Bar(stage, float(sums["parameters"]), f"{sums['parameters']:,}", blue) for stage, sums in stages.items()]
    lines = []
    if elsewhere:
        weights.append(Bar("elsewhere", float(elsewhere), f"{elsewhere:,}", blue))
        lines.append("elsewhere: in layers without multiply-adds, such as batch norm")
    if again:
        lines.append(f"layers that share weights each have them here: {again:,} are counted again")
    work = [Bar(stage, float(sums["macs"]), f"{sums['macs']:,}", orange) for stage, sums in stages.items()]
    story.band(
        "Stage by stage",
        ["The layers of each resolution together."],
        Bars(weights, "Parameters", lines),
        Bars(work, "Multiply-adds"),
    )
    story.on_slide()


def _uses(layers: Sequence[dict[str, Any]]) -> list[Bar]:
    order = sorted(layers, key=lambda layer: -layer["uses_of_a_weight"])
    ends = [*order[:4], *order[4:][-4:]]
    return [
        Bar(str(layer["name"]), float(layer["uses_of_a_weight"]), f"{layer['uses_of_a_weight']:,.1f}") for layer in ends
    ]
