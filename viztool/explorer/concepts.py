"""The concepts of a class on the page: where each is in the photos, and which channels it is made of."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from viztool.craft.factors import Parts
from viztool.craft.result import Concepts, amounts
from viztool.errors import ModelError, ViztoolError
from viztool.explorer.look import Look
from viztool.explorer.world import jpeg
from viztool.hooks.select import STAGES, Patterns, as_list, exactly

_TOLD = ("number", "importance", "importance_error", "effect", "effect_error", "share", "stability", "map_maximum")


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

    def fits(self, look: Look) -> int:
        """The place of their layer on the page. Raises ModelError where they are of another network."""
        subject, layer = look.subject, self.numbers["layer"]
        own, other = (subject.network, subject.weights), (self.numbers["network"], self.numbers["weights"])
        if own != other:
            raise ModelError(f"{self.source} is of {' · '.join(other)}, and this is {' · '.join(own)}")
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
    """From a result, or from the .npz that it was saved as. Raises ViztoolError if that is none."""
    if isinstance(concepts, Concepts):
        return _known("concepts", concepts.arrays)
    try:
        with np.load(concepts, allow_pickle=False) as found:
            return _known(str(concepts), dict(found))
    except OSError as error:
        raise ViztoolError(f"cannot read {concepts}: {error.strerror or error}") from error
    except (ValueError, KeyError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ViztoolError(f"{concepts} holds no concepts: `viztool concepts --npz` writes such a file") from error


def _known(source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Known:
    numbers = json.loads(str(arrays["numbers"]))
    rows = torch.from_numpy(np.asarray(arrays["parts"], np.float32))
    directions = np.asarray(arrays["directions"], np.float32)
    crops = tuple(arrays[f"crop {one['number']}"] for one in numbers["concepts"])
    return Known(source, numbers, Parts(rows, rows.shape[1] != directions.shape[1]), directions, crops)
