"""The feature maps of one photo: the sheet, the numbers, the tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from viztool.errors import LayerError
from viztool.features.layer_maps import LayerMaps
from viztool.hooks.select import nearest
from viztool.inspect.receptive_field import ReceptiveField
from viztool.models.subject import Subject
from viztool.render.canvas import Canvas
from viztool.render.numbers import number
from viztool.render.predictions import Predictions
from viztool.render.sheet import Band, Header, Sheet, contact_sheet
from viztool.render.tiles import Tile
from viztool.results import Result, made_by, versions

Normalize = Literal["channel", "layer", "minmax"]


@dataclass(frozen=True, repr=False, eq=False)
class FeatureMaps(Result):
    """One photo's maps, layer by layer in the order in which they ran."""

    subject: Subject
    predictions: Predictions
    layers: tuple[LayerMaps, ...]
    without_maps: tuple[str, ...]
    """Layers that the selection also picked, whose output has no two sides to draw."""
    normalize: Normalize = "channel"
    overlay: bool = False

    def __getitem__(self, layer: str) -> LayerMaps:
        for maps in self.layers:
            if maps.name == layer:
                return maps
        names = [maps.name for maps in self.layers]
        raise LayerError(f"layer {layer!r} is not among these; there are {', '.join(nearest(layer, names) or names)}")

    def __repr__(self) -> str:
        layers = ", ".join(f"{layer.name} {layer.maps.shape}" for layer in self.layers)
        return f"FeatureMaps({self.subject.source}, {self.subject.network}: {layers})"

    @property
    def verdict(self) -> str:
        """Why there are no predictions, or nothing."""
        return "" if self.predictions else self.predictions.note

    def drawing(self) -> Canvas:
        """The contact sheet."""
        return contact_sheet(self._sheet())

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure of the sheet, ready for JSON."""
        return {
            **self.subject.numbers,
            "predictions": self.predictions.numbers,
            "verdict": self.verdict,
            "reading": self.predictions.note,
            "score": "spatial standard deviation",
            "normalize": self.normalize,
            "overlay": self.overlay,
            "layers": [layer.numbers for layer in self.layers],
            "without_maps": list(self.without_maps),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """The predictions, then a line for each layer."""
        lines = [
            f"  {layer.name}: {' × '.join(map(str, layer.maps.shape))}, {layer.dead} dead" for layer in self.layers
        ]
        return "\n".join([self.predictions.in_words, *lines])

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The maps of all channels, float32 (C, h, w), under each layer's name."""
        return {layer.name or "network": layer.maps for layer in self.layers}

    def _sheet(self) -> Sheet:
        subject = self.subject
        h, w = subject.view.shape[:2]
        header = Header(
            title=subject.source,
            subtitle=f"{subject.network} · {subject.weights} · sees {h} × {w} px",
            photo=subject.view if subject.photo is None else subject.photo,
            seen=subject.seen,
            predictions=self.predictions,
            notes=self._notes(),
        )
        footer = f"{made_by()} · {subject.preprocessing}"
        return Sheet(
            header=header,
            bands=[self._band(layer) for layer in self.layers],
            footer=footer,
            aspect=h / w,
            under=subject.view if self.overlay else None,
        )

    def _notes(self) -> list[str]:
        notes = [
            "Each band is a layer, in the order in which they run; each tile one of its channels."
            + (" A stage is what runs at one resolution." if any(layer.stage for layer in self.layers) else ""),
            self._scale_in_words(),
            "σ, the standard deviation over positions, says how much a channel tells about where. "
            "The channels are ranked by it.",
        ]
        if self.without_maps:
            notes.append(f"Without maps to draw: {', '.join(self.without_maps)}.")
        return notes

    def _scale_in_words(self) -> str:
        plain = "The photo is grey" if self.overlay else "A map is white"
        if self.normalize == "minmax":
            return (
                f"{plain} where a channel has its smallest value, red where it has its largest: what all places have "
                "in common, and the sign, are not shown."
            )
        scale = (
            "Each channel has a colour scale of its own: ±max is the largest value in that tile."
            if self.normalize == "channel"
            else "All channels of a layer share one colour scale, given under its name."
        )
        where = "a map is" if self.overlay else "it is"
        return f"{plain} where {where} zero, red where it is positive, blue where it is negative. {scale}"

    def _band(self, layer: LayerMaps) -> Band:
        return Band(
            name=layer.name or "(the network)",
            lines=_facts(layer),
            tiles=[self._tile(layer, channel) for channel in layer.channels],
            signed=layer.signed and self.normalize != "minmax",
            bar=self._bar(layer),
        )

    def _bar(self, layer: LayerMaps) -> tuple[str, str, str]:
        if self.normalize == "minmax":
            return ("min", "", "max")
        top = "max" if self.normalize == "channel" else number(layer.limit(), ".3g")
        return (f"−{top}", "0", top) if layer.signed else ("0", "", top)

    def _tile(self, layer: LayerMaps, channel: int) -> Tile:
        statistics = layer.statistics
        mark, score = None, ""
        if not statistics.finite[channel]:
            mark = "not finite"
        elif statistics.constant[channel]:
            value = float(statistics.mean[channel])
            mark = "dead" if value == 0 else f"always {number(value, '.2g')}"
        else:
            score = f"σ {number(float(statistics.sd[channel]), '.2g')}"
        values, limit = layer.maps[channel], layer.limit(channel if self.normalize == "channel" else None)
        if self.normalize == "minmax" and mark is None:
            low, high = statistics.low[channel], statistics.high[channel]
            values, limit = values - low, float(high - low)
        return Tile(values, limit, f"#{channel}", score, mark)


def _facts(layer: LayerMaps) -> Sequence[str]:
    channels, h, w = layer.maps.shape
    shown = len(layer.channels)
    stage = [] if layer.stage is None else [layer.stage.of(layer.name)]
    lines = [*stage, layer.type, f"{channels} channels of {h} × {w}"]
    if layer.field is not None:
        lines += _field_words(layer.field)
    if layer.calls > 1:
        lines.append(f"ran {layer.calls} times; this is the last")
    lines.append(f"all {channels} shown" if shown == channels else f"the {shown} of largest σ")
    odd = [(layer.dead, "dead on this photo"), (layer.constant, "constant"), (layer.not_finite, "not finite")]
    lines += [f"{count} {what}" for count, what in odd if count]
    return lines


def _field_words(field: ReceptiveField) -> list[str]:
    """What one unit of the layer sees of the input, in words."""
    if field.everything:
        return ["a unit sees everything"]

    def sides(numbers: tuple[float, ...]) -> str:
        return " × ".join(number(each, ".3g" if each % 1 else ".0f") for each in numbers)

    lines = [f"a unit sees {sides(field.size)} px", f"one every {sides(field.stride)} px"]
    return [*lines, "and everything, pooled"] if field.global_context else lines
