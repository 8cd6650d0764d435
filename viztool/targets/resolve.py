"""What a heatmap is of: a class, by index or name, or any score that one makes from a network's output."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeAlias

import torch
from torch import Tensor

from viztool.errors import TargetError
from viztool.models.outputs import class_name, class_probabilities, class_scores, is_detection
from viztool.tensors.tree import map_tensors

Score: TypeAlias = Callable[[Any], Tensor]
"""From a network's output to one score an image, (N,)."""

Target: TypeAlias = int | str | Sequence[int | str] | Score | None


@dataclass(frozen=True)
class Resolved:
    """A target for a batch. names: of each image's. classes: their indices, or None for a score of one's own.

    confidence: the probability of the class; of a score of one's own, the score.
    """

    score: Score
    confidence: Score
    names: tuple[str, ...]
    classes: tuple[int, ...] | None

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


def resolve(target: Target, output: Any, classes: Sequence[str] | None, batch: int) -> Resolved:
    """What `target` means for a network's output on `batch` images.

    target: a class index or name for all images; a list of those, one for each; a callable from the output to
    one score an image; or None, the class that each image's output says.
    classes: the names of the classes, or None if they have none.

    Raises TargetError for an unknown class (with the nearest names), for another number of targets than of
    images, and for a callable that gives anything else than one score an image.
    """
    if callable(target):
        name = getattr(target, "__name__", None) or type(target).__name__
        score = _checked(target, name, batch)
        return Resolved(score, score, (name,) * batch, None)
    scores = class_scores(output)
    count = scores.shape[1]
    if target is None:
        indices = tuple(scores.argmax(dim=1).tolist())
    else:
        wanted = [target] * batch if isinstance(target, (int, str)) else list(target)
        if len(wanted) != batch:
            raise TargetError(f"{len(wanted)} targets for {batch} images; give one for all, or one for each")
        indices = tuple(_index(one, classes, count) for one in wanted)
    return settled(indices, tuple(class_name(classes, index) for index in indices))


def settled(classes: Sequence[int], names: Sequence[str]) -> Resolved:
    """The target of these classes, one for each image, which are known to be among the network's.

    Of a detection network it is the best box of the class, 0 where there is none.
    """
    indices = tuple(classes)
    return Resolved(_read_by(class_scores, indices), _read_by(class_probabilities, indices), tuple(names), indices)


def _read_by(read: Callable[[Any], Tensor], indices: tuple[int, ...]) -> Score:
    def score(output: Any) -> Tensor:
        if is_detection(output):
            # Which classes were found differs from image to image, and from one changed copy to the next.
            return torch.stack([_best_box(boxes, indices[at % len(indices)]) for at, boxes in enumerate(output)])
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


def _index(target: int | str, classes: Sequence[str] | None, count: int) -> int:
    if isinstance(target, str) and not (classes is None and target.isdigit()):
        return _named(target, classes, count)
    index = int(target)
    if not -count <= index < count:
        raise TargetError(f"class {index} is not one of the network's {count} classes, 0 to {count - 1}")
    return index % count


def _named(name: str, classes: Sequence[str] | None, count: int) -> int:
    if classes is None:
        raise TargetError(f"the classes have no names, so {name!r} cannot be found; give an index, 0 to {count - 1}")
    lower = [known.lower() for known in classes]
    if name in classes:
        return list(classes).index(name)
    if name.lower() in lower:
        return lower.index(name.lower())
    if name.isdigit() and int(name) < count:
        return int(name)
    # Part of a name says more than how it is spelled: "egyptian" for "Egyptian cat".
    holding = [known for known in lower if name.lower() in known][:3]
    close = holding or get_close_matches(name.lower(), lower, n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(classes[lower.index(known)] for known in close)}" if close else ""
    raise TargetError(f"no class is called {name!r}{hint}")
