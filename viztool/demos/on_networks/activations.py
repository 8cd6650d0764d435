"""Dead and saturated units of this network, on photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from viztool.demos.asking import answer
from viztool.demos.errors import DemoError
from viztool.demos.photo import Photo
from viztool.demos.registry import on_network
from viztool.demos.story import Story
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.watch import watch
from viztool.models.model import Model
from viztool.render.charts import Bar, Bars, Table
from viztool.render.numbers import percent
from viztool.render.panels import BAD
from viztool.render.text import Color

# Where the slope is 0, or less than a twentieth of its largest: (a, b) of the output, below a or above b.
_FLAT: dict[type[nn.Module], tuple[float, float]] = {
    nn.ReLU: (0.0, float("inf")),
    nn.ReLU6: (0.0, 6.0),
    nn.Hardtanh: (-1.0, 1.0),
    nn.Sigmoid: (0.0127, 0.9873),
    nn.Tanh: (-0.9747, 0.9747),
    nn.Hardsigmoid: (0.0, 1.0),
}
_MOST = 24


@on_network("activations", "which units are dead?")
def activations(model: Model, photos: Sequence[Photo], seed: int) -> Story:
    """Runs the photos, and counts at each activation the channels that are flat at every place of every one."""
    net = unwrap(model)
    layers = {name: module for name, module in named_layers(net).items() if _flat(module) is not None}
    if not layers:
        raise DemoError(f"{model.name} has no ReLU, sigmoid or tanh among its layers: nothing saturates")
    always: dict[str, Tensor] = {}
    share: dict[str, list[float]] = {}
    top: dict[str, list[float]] = {}

    def look(name: str, module: nn.Module, output: Any) -> None:
        if not isinstance(output, Tensor) or output.dim() < 2:
            return
        low, high = _flat(module) or (0.0, 0.0)
        below, above = output <= low, output >= high
        flat = below | above
        channels = flat.flatten(2).all(2) if output.dim() > 2 else flat
        everywhere = channels.all(0).cpu()
        # A layer that is called again has its channels in other units: each call counts on its own.
        key = name if name not in always or len(always[name]) == len(everywhere) else f"{name} (again)"
        always[key] = everywhere if key not in always else always[key] & everywhere
        share.setdefault(key, []).append(float(flat.float().mean()))
        top.setdefault(key, []).append(float(above.float().mean()))

    with evaluating(net), torch.no_grad():
        for photo in photos:
            with watch(layers, exit=look):
                answer(model, model.preprocess(photo.rgb).to(model.dtype))
    story = Story(notes=["Flat: the slope is 0, or less than a twentieth of its largest. Dead: flat everywhere."])
    found: dict[str, dict[str, Any]] = {
        name: {
            "type": type(layers[name.removesuffix(" (again)")]).__name__,
            "channels": len(dead),
            "dead": int(dead.sum()),
            "flat": sum(share[name]) / len(share[name]),
            "at_the_top": sum(top[name]) / len(top[name]),
        }
        for name, dead in always.items()
    }
    dead_total, channels = (
        sum(each["dead"] for each in found.values()),
        sum(each["channels"] for each in found.values()),
    )
    story.below("dead channels, of all", dead_total, channels)
    story.numbers |= {
        "photos": len(photos),
        "layers": found,
        "dead": dead_total,
        "channels": channels,
        "dead_share": dead_total / max(channels, 1),
    }
    worst = sorted(found, key=lambda name: (-found[name]["dead"] / found[name]["channels"], -found[name]["flat"]))[
        :_MOST
    ]
    shown = [name for name in found if name in worst]
    rows = [["layer", "type", "channels", "dead", "flat values", "of these at the top"]]
    colors: list[tuple[int, int, Color]] = []
    for name in shown:
        each = found[name]
        rows.append(
            [
                name,
                each["type"],
                f"{each['channels']}",
                f"{each['dead']}",
                percent(each["flat"], 1),
                percent(each["at_the_top"], 1),
            ]
        )
        if each["dead"]:
            colors.append((len(rows) - 1, 3, BAD))
    photo_words = "1 photo" if len(photos) == 1 else f"{len(photos)} photos"
    story.band(
        "Layer by layer",
        [
            f"On {photo_words} {dead_total:,} of {channels:,} channels are flat everywhere, "
            f"{percent(dead_total / max(channels, 1), 1)}: no "
            "gradient gets through them.",
            *(["The layers with the most of them."] if len(found) > len(shown) else []),
            *(["A ReLU6 is flat above 6, too: it saturates."] if any(map(_is_cut, layers.values())) else []),
        ],
        Table(rows, colors=tuple(colors)),
    )
    story.when_this_fails(
        ["A channel that no photo here wakes may be there for other photos: give many before you call it dead."],
        Bars(
            [
                Bar(
                    name,
                    found[name]["dead"] / found[name]["channels"],
                    f"{found[name]['dead']} of {found[name]['channels']}",
                )
                for name in worst[:8]
            ],
            "Dead channels: the largest shares",
            top=1.0,
        ),
    )
    return story


def _is_cut(module: nn.Module) -> bool:
    """Whether it is a ReLU with an upper end."""
    return isinstance(module, nn.Hardtanh) and module.min_val == 0


def _flat(module: nn.Module) -> tuple[float, float] | None:
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one, with limits of its own
        return module.min_val, module.max_val
    return next((limits for kind, limits in _FLAT.items() if type(module) is kind), None)
