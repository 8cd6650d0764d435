"""What a heatmap is of: a class, by index or name, or any score that one makes from a network's output."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from viztool.errors import TargetError
from viztool.models.classes import imagenet_index
from viztool.models.reading import NO_CLASSES, Reading
from viztool.tensors.tree import map_tensors

Score: TypeAlias = Callable[[Any], Tensor]
"""From a network's output to one score an image, (N,)."""

_WHOLE = re.compile(r"-?\d+")
_TRUTHS = (bool, np.dtype(bool), torch.bool)

Target: TypeAlias = int | str | Sequence[int | str] | Tensor | Score | None


@dataclass(frozen=True)
class Resolved:
    """A target for a batch. names: of each image's. classes: their indices, or None for a score of one's own.

    confidence: the probability of the class; the score, where there is none. reading: of the output; None for a
    score of one's own.
    """

    score: Score
    confidence: Score
    names: tuple[str, ...]
    classes: tuple[int, ...] | None
    reading: Reading | None = None

    @property
    def unit(self) -> Literal["probability", "score"]:
        """What the confidences are."""
        return "probability" if self.reading is not None and self.reading.certain else "score"

    def scores(self, output: Any, times: int = 1) -> Tensor:
        """The score of each image, (times, N), in the graph where the output is.

        output: of `times` whole batches, one after the other.
        """
        return self._read(self.score, output, times)

    def confidences(self, output: Any, times: int = 1) -> Tensor:
        """The confidence of each image, as `scores`."""
        return self._read(self.confidence, output, times)

    def _read(self, read: Score, output: Any, times: int) -> Tensor:
        if self.classes is not None or times == 1:
            return read(output).view(times, len(self.names))
        # A score of one's own may know its images by their place, so it gets batch by batch.
        return torch.stack([read(self._batch(output, index, times)) for index in range(times)])

    def _batch(self, output: Any, index: int, times: int) -> Any:
        batch = len(self.names)
        part, total = slice(index * batch, (index + 1) * batch), times * batch
        if isinstance(output, list) and len(output) == total:
            return output[part]
        return map_tensors(lambda tensor: tensor[part] if tensor.dim() and len(tensor) == total else tensor, output)


def resolve(target: Target, output: Any, read: Callable[[Any], Reading], batch: int) -> Resolved:
    """What `target` means for a network's output on `batch` images.

    target: a class index or name for all images; a list of those, one for each; a callable from the output to
    one score an image; or None, the class that each image's output says.
    read: `Reader.settle` of the network: a callable needs no reading, and the output may have none.

    Raises TargetError for an unknown class (with the nearest names), for another number of targets than of
    images, for a callable that gives anything else than one score an image, and for a class where the output is
    not to be read as classes.
    """
    if callable(target):
        name = getattr(target, "__name__", None) or type(target).__name__
        score = _checked(target, name, batch)
        return Resolved(score, score, (name,) * batch, None)
    reading = read(output)
    if reading.kind == "none":
        raise TargetError(f"{NO_CLASSES}; give a target that makes a score of it, a callable")
    scores = reading.scores(output)
    if target is None:
        indices = tuple(scores.argmax(dim=1).tolist())
    else:
        # A number of numpy's or of torch's has a length only if it has a dimension.
        several = not isinstance(target, str) and getattr(target, "ndim", hasattr(target, "__len__"))
        wanted: list[Any] = list(target) if several else [target] * batch  # type: ignore[arg-type]
        if len(wanted) != batch:
            raise TargetError(f"{len(wanted)} targets for {batch} images; give one for all, or one for each")
        # A detector of classes without names does not say how many there are: one that it did not find is none less.
        unknown = reading.kind == "boxes" and reading.names is None
        indices = class_indices(wanted, reading.names, None if unknown else scores.shape[1])
    return settled(indices, tuple(map(reading.name, indices)), reading)


def settled(classes: Sequence[int], names: Sequence[str], reading: Reading) -> Resolved:
    """The target of these classes, one for each image, which are known to be among the network's.

    Of a detection network it is the best box of the class, 0 where there is none.
    """
    indices = tuple(classes)
    score, confidence = (_read_by(reading, read, indices) for read in (reading.scores, reading.confidences))
    return Resolved(score, confidence, tuple(names), indices, reading)


def class_indices(targets: Sequence[Any], names: Sequence[str] | None, count: int | None) -> tuple[int, ...]:
    """The indices of classes that are given by index, name or, for ImageNet, wnid. Raises TargetError.

    count: how many classes there are, if that is known.
    """
    return tuple(_index(one, names, count) for one in targets)


def _read_by(reading: Reading, read: Callable[[Any], Tensor], indices: tuple[int, ...]) -> Score:
    def score(output: Any) -> Tensor:
        if reading.kind == "boxes":
            # Which classes were found differs from image to image, and from one changed copy to the next.
            found = enumerate(reading.boxes(output))
            return torch.stack([_best_box(boxes, indices[at % len(indices)]) for at, boxes in found])
        scores = read(output)
        # A batch may hold each image several times over, one whole batch after another.
        chosen = torch.tensor(indices, device=scores.device).repeat(len(scores) // len(indices))
        return scores.gather(1, chosen[:, None])[:, 0]

    return score


def _best_box(boxes: Mapping[str, Tensor], label: int) -> Tensor:
    scores = boxes["scores"][boxes["labels"] == label]
    return scores.amax() if len(scores) else boxes["scores"].new_zeros(())


def _checked(target: Score, name: str, batch: int) -> Score:
    def score(output: Any) -> Tensor:
        scores = target(output)
        if not isinstance(scores, Tensor) or scores.dim() != 1 or not len(scores) or len(scores) % batch:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise TargetError(f"target {name} gives {got}; it must give one score for each image, (N,)")
        return scores

    return score


def _index(target: Any, names: Sequence[str] | None, count: int | None) -> int:
    if isinstance(target, str) and not (names is None and _WHOLE.fullmatch(target)):
        return _named(target, names, count)
    try:
        if getattr(target, "dtype", type(target)) in _TRUTHS:  # they count as 0 and 1, and nobody means these
            raise TypeError
        index = int(target) if isinstance(target, str) else operator.index(target)
    except (TypeError, ValueError, RuntimeError):
        raise TargetError(f"a target is a class index, a class name or a callable, not {target!r}") from None
    if count is None:
        if index < 0:
            raise TargetError(f"there is no class {index}; the first is 0")
        return index
    if not 0 <= index < count:
        classes = f"{count} class{'' if count == 1 else 'es'}"
        raise TargetError(f"class {index} is not one of the network's {classes}, 0 to {count - 1}")
    return index


def _named(name: str, names: Sequence[str] | None, count: int | None) -> int:
    if names is None:
        last = "" if count is None else f", 0 to {count - 1}"
        raise TargetError(f"the classes have no names, so {name!r} cannot be found; give an index{last}")
    lower = [known.lower() for known in names]
    if name in names:
        return list(names).index(name)
    if name.lower() in lower:
        return lower.index(name.lower())
    if _WHOLE.fullmatch(name):
        return _index(int(name), names, count)
    index = imagenet_index(name, names)
    if index is not None:
        return index
    # Part of a name says more than how it is spelled: "egyptian" for "Egyptian cat".
    holding = [known for known in lower if name.lower() in known][:3]
    close = holding or get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(names[lower.index(known)] for known in close)}" if close else ""
    raise TargetError(f"no class is called {name!r}{hint}")
