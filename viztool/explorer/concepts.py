"""The concepts of a class on the page: where each is in the photos, and which channels it is made of."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.atlas.fingerprint import differences
from viztool.atlas.made_with import weights_digest
from viztool.craft.factors import Parts
from viztool.craft.result import Concepts, amounts
from viztool.errors import ModelError, ViztoolError
from viztool.explorer.look import Look
from viztool.explorer.world import jpeg
from viztool.hooks.naming import unwrap
from viztool.hooks.select import STAGES, Patterns, as_list, exactly
from viztool.models.model import Model
from viztool.models.subject import looks_at
from viztool.render.colormaps import Picture

_TOLD = ("number", "importance", "importance_error", "effect", "effect_error", "share", "stability", "maximum")


@dataclass(frozen=True, eq=False)
class Known:
    """Concepts that were found before. source: the file, or what to call them in an error. numbers: the result's.

    directions: (count, C), what each is in the layer's channels. crops: the crop with most of each.
    """

    source: str
    numbers: Mapping[str, Any]
    parts: Parts
    directions: npt.NDArray[np.float32]
    crops: tuple[npt.NDArray[np.uint8], ...]

    def beside(self, layers: Patterns | None) -> Patterns:
        """These layers and that of the concepts."""
        return [*([STAGES] if layers is None else as_list(layers)), *exactly([self.numbers["layer"]])]

    def refuse_another(self, model: Model | nn.Module, photo: Picture | Tensor) -> None:
        """Raises ModelError if this network, or what becomes of photos on the way to it, is not what they are of."""
        ((_, (subject, *_)), *_), _ = looks_at(model, photo, "photo")
        own, other = (subject.network, subject.weights), (self.numbers["network"], self.numbers["weights"])
        if own != other:
            raise ModelError(f"{self.source} is of {' · '.join(other)}, and this is {' · '.join(own)}")
        told = self.numbers["fingerprint"]
        here = {"weights": weights_digest(unwrap(model)), "preprocessing": subject.preprocessing}
        if told["preprocessing"] is None or subject.photo is None:  # what became of a tensor before is not known
            del here["preprocessing"]
        changed = differences({name: told[name] for name in here}, here)
        if changed:
            raise ModelError(
                f"{subject.network} is not what {self.source} is of ({'; '.join(changed)}): "
                "find the concepts with this one, with `viztool concepts --npz`"
            )

    def fits(self, look: Look) -> int:
        """The place of their layer on the page. Raises ModelError where it has other maps there."""
        layer = self.numbers["layer"]
        place = next((place for place, shown in enumerate(look.layers) if shown.of.name == layer), None)
        channels = 0 if place is None else len(look.layers[place].of.maps)
        if place is None or channels != self.directions.shape[1]:
            raise ModelError(
                f"{self.source} is of {self.directions.shape[1]} channels of {layer}; here there are {channels}"
            )
        return place

    def maps(self, look: Look) -> npt.NDArray[np.float32]:
        """How much of each concept there is where in a photo, (count, h, w)."""
        maps = torch.from_numpy(np.ascontiguousarray(look.layers[self.fits(look)].of.maps))
        return cast("npt.NDArray[np.float32]", amounts(self.parts, maps).numpy())

    @property
    def told(self) -> dict[str, Any]:
        """What the page says of them, ready for JSON."""
        return {
            **{key: self.numbers[key] for key in ("target", "of", "photos", "asked", "explained")},
            "concepts": [
                {**{key: one[key] for key in _TOLD}, "crop": jpeg(crop)}
                for one, crop in zip(self.numbers["concepts"], self.crops, strict=True)
            ],
        }


def known_concepts(concepts: Concepts | str | Path) -> Known:
    """From a result, or from the .npz that it was saved as. Raises ViztoolError if that is none, or damaged."""
    if isinstance(concepts, Concepts):
        return _known("concepts", concepts.arrays)
    try:
        content = Path(concepts).read_bytes()
    except OSError as error:
        raise ViztoolError(f"cannot read {concepts}: {error.strerror or error}") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as found:
            known = _known(str(concepts), dict(found))
    except ViztoolError:
        raise
    except Exception as error:  # on damaged bytes decoders raise anything
        raise ViztoolError(
            f"{concepts} holds no concepts, or is damaged: `viztool concepts --npz` writes such a file"
        ) from error
    if "fingerprint" not in known.numbers:
        raise ViztoolError(
            f"{concepts} does not say which weights it is of, as it was made before files did: make it again, "
            "with `viztool concepts --npz`"
        )
    return known


def _known(source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Known:
    """Raises whatever it meets where the arrays are not those of a result."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ViztoolError(f"{source} is damaged: {name!r} holds numbers that are not finite")
    numbers = json.loads(str(arrays["numbers"]))
    rows = torch.from_numpy(np.asarray(arrays["parts"], np.float32))
    directions = np.asarray(arrays["directions"], np.float32)
    crops = tuple(arrays[f"crop {one['number']}"] for one in numbers["concepts"])
    count, channels = directions.shape
    if len(crops) != count or tuple(rows.shape) not in ((count, channels), (count, 2 * channels)):
        raise ValueError("parts and directions do not belong together")
    return Known(source, numbers, Parts(rows, rows.shape[1] != channels), directions, crops)
