"""What a page shows, in one run of bytes: a head in JSON, then the arrays that it refers to; packed by gzip."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from viztool.atlas.field import to_numbers
from viztool.explorer.blob import Blob, Kind, Reference
from viztool.explorer.concepts import Known
from viztool.explorer.look import Class, Look, Shown
from viztool.explorer.packing import packed
from viztool.explorer.strongest import fits, listed, strongest
from viztool.explorer.sums import Product, Sum
from viztool.explorer.world import SHARES, World
from viztool.inspect.receptive_field import ReceptiveField
from viztool.render.colormaps import colorize
from viztool.results import made_by

LARGE = 20_000_000
"""Bytes of a page from which on it is said what to leave out."""


_EXACT, _COARSEST = 23, 10
_PRECISION = ((150_000, _EXACT), (700_000, 15))
"""With so many numbers in the sums at most, their fractions have so many bits."""
_TOTALS = 13
"""What terms are told to add up to is good to 1e-4 on every page."""


@dataclass(frozen=True)
class Payload:
    """packed: as it is written on the page, gzip. spent: bytes before packing, by what they are for."""

    packed: bytes
    spent: dict[str, int]


def payload(looks: Sequence[Look], world: World, concepts: Known | None = None, *, small: bool) -> Payload:
    """Of one network on one or several photos.

    world: what is known of their channels beside. concepts: of a class, at one of the layers. small: maps in 256 steps
    and terms to 2 digits, where otherwise maps are exact, and so are terms on a page of few, of 5 digits on one of
    more, of 3 on one of many.
    """
    first = looks[0]
    count = sum(_parts(look) for look in looks)
    bits = 7 if small else next((bits for most, bits in _PRECISION if count <= most), _COARSEST)
    blob = Blob(bits)
    packing = _Packing(blob, "u8" if small else "f32", "f32" if bits == _EXACT else "f24", bits if small else _TOTALS)
    head = {
        "made": made_by(),
        "network": first.subject.network,
        "weights": first.subject.weights,
        "preprocessing": first.subject.preprocessing,
        "size": list(first.subject.view.shape[:2]),
        "rounded": small,
        "digits": {7: 2, _COARSEST: 3, 15: 5}.get(bits, 7),
        "colours": {
            "signed": blob.add(colorize(np.linspace(-1, 1, 511, dtype=np.float32), 1.0), "bytes", "colours"),
            "heat": blob.add(colorize(np.linspace(0, 1, 256, dtype=np.float32), 1.0, heat=True), "bytes", "colours"),
        },
        "shares": list(SHARES),
        "units": [
            [world.units[layer.of.name].get(channel) for channel in range(len(layer.of.maps))]
            if layer.of.name in world.units
            else None
            for layer in first.layers
        ],
        "concepts": None if concepts is None else _concepts(concepts, looks, blob),
        "photos": [
            packing.photo(look, world.unusual[place] if place < len(world.unusual) else {})
            for place, look in enumerate(looks)
        ],
    }
    text = json.dumps(head, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    return Payload(packed(len(text).to_bytes(4, "little") + text, blob.joined()), blob.spent)


def _concepts(concepts: Known, looks: Sequence[Look], blob: Blob) -> dict[str, Any]:
    return {
        **concepts.told,
        "layer": concepts.fits(looks[0]),
        "directions": blob.add(concepts.directions, "f32", "concepts"),
        "maps": [blob.add(concepts.maps(look), "f32", "concepts") for look in looks],
    }


def _parts(look: Look) -> int:
    """How many numbers the sums are made from."""
    sums = [layer.sum for layer in look.layers if layer.sum is not None]
    return sum(product.given.numel() + _kernel(product, own.total) for own in sums for product in own.products)


def _kernel(product: Product, total: Tensor) -> int:
    if fits(product):
        return product.weight.numel()
    return 2 * listed(product, (total.shape[1], total.shape[2])) * total.numel()


@dataclass(frozen=True)
class _Packing:
    blob: Blob
    maps: Kind
    parts: Kind
    totals: int

    def photo(self, look: Look, unusual: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Any]:
        subject = look.subject
        layers: list[dict[str, Any]] = []
        for shown in look.layers:
            rare = unusual.get(shown.of.name)
            layers.append(
                {
                    **self._layer(shown),
                    "unusual": None if rare is None else self.blob.add(rare, "f32", "statistics"),
                }
            )
        return {
            "source": subject.source,
            "view": self.blob.add(subject.view, "bytes", "photo"),
            "unit": look.predictions.unit,
            "note": look.predictions.note,
            "rows": [[name, number] for name, number in look.predictions],
            "classes": [self._class(one) for one in look.classes],
            "layers": layers,
        }

    def _layer(self, shown: Shown) -> dict[str, Any]:
        layer = shown.of
        statistics = layer.statistics
        maps = self.blob.add(layer.maps, self.maps, "maps")
        return {
            "name": layer.name,
            "type": layer.type,
            "shape": list(layer.maps.shape),
            "flat": shown.flat,
            "calls": layer.calls,
            "signed": layer.signed,
            "field": _field(layer.field),
            "maps": maps,
            "statistics": self.blob.add(
                np.stack([statistics.low, statistics.high, statistics.mean, statistics.sd]), "f32", "statistics"
            ),
            "sum": None if shown.sum is None else self._sum(shown, shown.sum),
        }

    def _sum(self, shown: Shown, own: Sum) -> dict[str, Any]:
        exact = np.array_equal(own.total.numpy(), shown.of.maps)
        # The layer itself as its own and only operand is there already.
        alone = not own.products and len(own.operands) == 1 and exact
        # One map beside products is what these leave of the total: it need not be written down, if all terms are.
        known = not alone and all(map(fits, own.products))
        left = known and len(own.operands) == 1 and self._source(shown, own.operands[0].source)["layer"] is None
        kind = "own" if alone else "left" if left else None
        return {
            "activation": own.activation,
            "within": own.within,
            "exact": exact,
            "total": None if exact else self.blob.add(_changed(own, shown), self.parts, "totals", self.totals),
            "bias": self.blob.add(own.bias.detach().numpy(), "f32", "kernels"),
            "products": [self._product(shown, product) for product in own.products],
            "operands": [
                {
                    **self._source(shown, operand.source),
                    "maps": kind or self._given(shown, operand.source, operand.maps, "operands"),
                }
                for operand in own.operands
            ],
        }

    def _product(self, shown: Shown, product: Product) -> dict[str, Any]:
        return {
            **self._source(shown, product.source),
            "given": self._given(shown, product.source, product.given, "inputs of sums"),
            "size": list(product.given.shape),
            "shape": list(product.weight.shape),
            **self._terms(shown, product),
            "stride": list(product.stride),
            "padding": list(product.padding),
            "dilation": list(product.dilation),
            "groups": product.groups,
            "transposed": product.transposed,
        }

    def _terms(self, shown: Shown, product: Product) -> dict[str, Any]:
        """The kernels; where they are too large, the strongest terms."""
        if fits(product):
            return {"weight": self.blob.add(product.weight.detach().numpy(), self.parts, "kernels"), "strongest": None}
        found = strongest(product, (shown.of.maps.shape[1], shown.of.maps.shape[2]))
        return {
            "weight": None,
            "strongest": {
                "count": len(found.terms),
                "channels": self.blob.add(found.channels.numpy(), "f32", "terms"),
                "terms": self.blob.add(found.terms.detach().numpy(), self.parts, "terms"),
            },
        }

    def _source(self, shown: Shown, step: int | None) -> dict[str, Any]:
        words, layer = ("constants", None) if step is None else shown.sources[step]
        return {"words": words, "layer": layer}

    def _given(self, shown: Shown, step: int | None, maps: Tensor, what: str) -> Reference | None:
        """None where the page has it as a layer's maps."""
        if step is not None and shown.sources[step][1] is not None:
            return None
        return self.blob.add(maps.numpy(), self.parts, what)

    def _class(self, one: Class) -> dict[str, Any]:
        def added(array: npt.NDArray[np.float32] | None, kind: Kind, what: str) -> Reference | None:
            return None if array is None or not np.isfinite(array).all() else self.blob.add(array, kind, what)

        return {
            "name": one.name,
            "number": one.number,
            "score": one.score,
            "cams": [added(None if cam is None else cam[None], "u8", "heatmaps") for cam in _scaled(one.cams)],
            "peaks": [None if cam is None else float(cam.max()) for cam in one.cams],
            "shares": [added(share, "f32", "heatmaps") for share in one.shares],
            "bias": one.bias,
            "weights": added(one.weights, "f32", "classes"),
            "given": added(one.given, "f32", "classes"),
            "layer": one.from_layer,
        }


def _changed(own: Sum, shown: Shown) -> npt.NDArray[np.float32]:
    """The totals, NaN where the activation function leaves them as they are: there they are the value."""
    total = own.total.numpy()
    return np.where(total == shown.of.maps, np.float32(np.nan), total)


def _scaled(cams: Sequence[npt.NDArray[np.float32] | None]) -> list[npt.NDArray[np.float32] | None]:
    """From 0 to 1: what a heatmap of half precision can hold."""
    return [None if cam is None else cam / max(float(cam.max()), 1e-30) for cam in cams]


def _field(field: ReceptiveField | None) -> dict[str, Any] | None:
    if field is None or len(field.axes) != 2:
        return None
    return {
        "axes": to_numbers(field.axes),
        "words": str(field),
        "context": field.global_context,
        "everything": field.everything,
    }
