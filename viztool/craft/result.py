"""The concepts of a class, as a result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from viztool.craft.factors import Parts
from viztool.craft.looking import Box, maps_of
from viztool.craft.orders import Curves, known
from viztool.hooks.evaluating import evaluating
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import unwrap
from viztool.models.model import Model
from viztool.models.subject import looks_at
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Map, Picture
from viztool.render.concept_sheet import ConceptPage, ConceptRow, concept_page
from viztool.render.numbers import counted, number, percent
from viztool.results import Part, Result, made_by, versions

_STABLE = 0.7
"""A cosine: what is further from its like under another seed shares less than half of its length with it."""


@dataclass(frozen=True, eq=False, repr=False)
class Concept(Part):
    """One concept.

    number: its rank by importance, from 1. direction: (C,), what it is in the layer's channels.
    importance: its total-order Sobol index, the share of the variance of the class's score that is gone when this
        concept alone is held, while all come and go. effect: what the score loses when the concept alone is taken out,
        in the mean over photos: positive means that it speaks for the class. Both with standard errors over photos,
        NaN of a single photo.
    share: of all that the concepts make of the layer on the photos, how much is this one. stability: the mean cosine to
        the concept that it is matched with under other seeds.
    crops: (photo id, how much of the concept is in it, (top, left, bottom, right) in the photo), best first; one of
        each photo.
    pictures: of these crops. view, map: the photo with most of the concept as the network was given it, and where in
        it the concept is, (h, w). maximum: the most that there is of it at one place of any photo.
    """

    number: int
    direction: Tensor
    importance: float
    importance_error: float
    effect: float
    effect_error: float
    share: float
    stability: float
    crops: Sequence[tuple[str, float, Box]]
    pictures: Sequence[Picture]
    view: Picture
    map: Map
    maximum: float

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "importance": self.importance,
            "importance_error": known(self.importance_error),
            "effect": self.effect,
            "effect_error": known(self.effect_error),
            "share": self.share,
            "stability": self.stability,
            "crops": [{"photo": name, "value": value, "box": list(box)} for name, value, box in self.crops],
            "map_maximum": float(self.map.max()),
            "maximum": self.maximum,
        }

    @property
    def lines(self) -> list[str]:
        return [
            f"effect {_signed(self.effect)}{_plus_minus(self.effect_error)}",
            f"{percent(self.share)} of what is explained",
            *([] if self.flags else [f"stability {number(self.stability, '.2f')}"]),
        ]

    @property
    def flags(self) -> list[str]:
        """What speaks against it: that it is another concept with another seed."""
        return [] if self.stability >= _STABLE else [f"unstable over seeds: {number(self.stability, '.2f')}"]


@dataclass(frozen=True, eq=False, repr=False)
class Concepts(Result):
    """What a class is made of at a layer, most important concept first.

    index: of the class; None of a score of one's own. photos, crops: how many were seen; asked: photos whose score was
    asked. explained: the share of the layer's activations on the photos, squared, that the concepts make up.
    score, without: the class's mean score on the photos as they are, and with all concepts taken out. confidence: what
    `curves` are of. of: what was taken apart, if not the class. digest: of the network's weights; preprocessing: of the
    photos, None of tensors.
    """

    concepts: Sequence[Concept]
    parts: Parts
    layer: str
    target: str
    index: int | None
    network: str
    weights: str
    photos: int
    crops: int
    asked: int
    failed: Sequence[tuple[str, str]]
    explained: float
    score: float
    without: float
    confidence: str
    curves: Curves
    seed: int
    digest: str
    preprocessing: str | None
    of: str = ""

    def __len__(self) -> int:
        return len(self.concepts)

    def __getitem__(self, index: int) -> Concept:
        return self.concepts[index]

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    @property
    def stability(self) -> float:
        """The mean stability of the concepts."""
        return sum(concept.stability for concept in self.concepts) / len(self.concepts)

    def maps(self, model: Model | nn.Module, photo: Picture | Sequence[Picture] | Tensor) -> list[Tensor]:
        """Where the concepts are in photos: (count, h, w) of each, at the layer's resolution."""
        looks, _ = looks_at(model, photo, "photo")
        net = unwrap(model)
        with torch.inference_mode(False), torch.no_grad(), evaluating(net), frozen(net):
            seen = [one for x, _ in looks for one in maps_of(model, x, self.layer)]
        return [amounts(self.parts, maps) for maps in seen]

    def drawing(self) -> Canvas:
        """A row for each concept, and what taking them out does."""
        return concept_page(
            ConceptPage(
                title="What a concept is made of" if self.of else f"What {self.target} is made of",
                subtitle=f"{self.of + ' · ' if self.of else ''}{self.network} · {self.weights} · layer {self.layer} · "
                f"{counted(self.photos, 'crops' if self.of else 'photos')}",
                notes=self._notes(),
                rows=[self._row(concept) for concept in self.concepts],
                confidence=self.confidence,
                deletion=[self.curves.deletion.numpy(), self.curves.random_deletion.numpy()],
                insertion=[self.curves.insertion.numpy(), self.curves.random_insertion.numpy()],
                lines=self._lines(),
                footer=f"{made_by()} · seed {self.seed}",
            )
        )

    def _notes(self) -> list[str]:
        return [
            "Importance: of the variance of the class's score while all concepts come and go, the share that is gone "
            "when this one is held (total-order Sobol index, ± its standard error over "
            f"{counted(self.asked, 'photos')}).",
            "Effect: what the score loses without this concept alone. Crops: where there is most of it, one a photo. "
            "At the right: where it is in the photo that holds most of it.",
        ]

    def _lines(self) -> list[str]:
        return [
            f"The concepts make up {percent(self.explained)} of the layer.",
            f"Score {number(self.score, '.3g')}, without any of them {number(self.without, '.3g')}.",
            f"Stability over three seeds {number(self.stability, '.2f')}.",
            *self._areas("deletion", "less says more"),
            *self._areas("insertion", "more says more"),
        ]

    def _areas(self, name: str, better: str) -> list[str]:
        (own, own_error), (chance, chance_error) = (self.curves.areas[key] for key in (name, f"random_{name}"))
        return [
            f"{name.capitalize()}: area {number(own, '.3f')}{_plus_minus(own_error)}, in random order "
            f"{number(chance, '.3f')}{_plus_minus(chance_error)} ({better})."
        ]

    def _row(self, concept: Concept) -> ConceptRow:
        values = [number(value, ".3g") for _, value, _ in concept.crops]
        return ConceptRow(
            title=f"Concept {concept.number}",
            lines=concept.lines,
            importance=concept.importance,
            error=known(concept.importance_error),
            crops=list(zip(concept.pictures, values, strict=True)),
            view=concept.view,
            map=concept.map,
            flags=concept.flags,
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
        return {
            "target": self.target,
            "class": self.index,
            "of": self.of,
            "layer": self.layer,
            "network": self.network,
            "weights": self.weights,
            "fingerprint": {"weights": self.digest, "preprocessing": self.preprocessing},
            "photos": self.photos,
            "failed": [list(one) for one in self.failed],
            "crops": self.crops,
            "asked": self.asked,
            "seed": self.seed,
            "explained": self.explained,
            "score": self.score,
            "without": self.without,
            "confidence": self.confidence,
            "stability": self.stability,
            "concepts": [concept.numbers for concept in self.concepts],
            **self.curves.numbers,
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """The most important concepts, and how far to believe them."""
        first = ", ".join(
            f"{number(concept.importance, '.2f')}{_plus_minus(concept.importance_error)}"
            for concept in self.concepts[:3]
        )
        return (
            f"{counted(len(self), 'concepts')} of {f'{self.of},' if self.of else self.target} at {self.layer}, "
            f"the most important {first}; stability over three seeds {number(self.stability, '.2f')}"
        )

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The directions, (count, C), and the map of each concept, (h, w), under "map 1" and so on.

        With them all that it takes to find the concepts in other photos, and to tell of them: "parts", the rows of
        `parts`; "crop 1" and so on, the crop that holds most of each; "numbers", as JSON.
        """
        maps = {f"map {concept.number}": concept.map for concept in self.concepts}
        crops = {f"crop {concept.number}": concept.pictures[0] for concept in self.concepts}
        return {
            "directions": torch.stack([concept.direction for concept in self.concepts]).numpy(),
            "parts": self.parts.rows.numpy(),
            "numbers": np.array(json.dumps(self.numbers)),
            **maps,
            **crops,
        }


def amounts(parts: Parts, maps: Tensor) -> Tensor:
    """How much of each concept there is where, (count, h, w), in maps (C, h, w)."""
    return parts.coefficients(maps.flatten(1).T.contiguous()).T.reshape(len(parts), *maps.shape[1:])


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value, '.3g')}"


def _plus_minus(error: float | None) -> str:
    return "" if error is None or error != error else f" ± {number(error, '.2g')}"
