"""What a randomisation check found: the maps, how alike they are to the original, and the strip."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch import Tensor

from viztool.faithfulness.score import shown
from viztool.faithfulness.similarity import spearman, ssim
from viztool.heatmaps.heatmap import Heatmap
from viztool.render.canvas import Canvas
from viztool.render.colormaps import colorize
from viztool.render.strip import Strip, StripSheet, StripTile, strip_sheet
from viztool.results import Result, made_by, versions

_SAYS = {
    "weights": "Weights are randomised from the top of the network down, and what was stays so. A map that says what "
    "the network has learnt must fall apart; one that does not is of the photo alone.",
    "labels": "The map of the target, and those of other classes, drawn at random. A map that says why it is this "
    "class must differ from them.",
}


@dataclass(frozen=True, eq=False, repr=False)
class SanityCheck(Result):
    """Maps of N images, changed step by step, beside the original.

    kind: what was randomised. steps: the name of each step; the first has nothing changed. maps: of each step.
    """

    kind: Literal["weights", "labels"]
    original: Heatmap
    steps: tuple[str, ...]
    maps: tuple[Heatmap, ...]
    seed: int

    @cached_property
    def spearman(self) -> Tensor:
        """(steps, N) rank correlation of each step's raw map with the original: 1 the same order, 0 none."""
        return torch.stack([spearman(self.original.raw, step.raw) for step in self.maps])

    @cached_property
    def spearman_absolute(self) -> Tensor:
        """(steps, N) the same without regard to signs, as edges keep their place where their sign is lost."""
        return torch.stack([spearman(self.original.raw.abs(), step.raw.abs()) for step in self.maps])

    @cached_property
    def ssim(self) -> Tensor:
        """(steps, N) structural similarity of the maps at the input's size, each over its largest absolute value."""
        span = 2.0 if self.original.signed else 1.0
        return torch.stack([ssim(self.original.signed_map, step.signed_map, span) for step in self.maps])

    def __len__(self) -> int:
        return len(self.original)

    def drawing(self) -> Canvas:
        """One strip for each image: the map at each step, with its similarity."""
        subject = self.original.subjects[0]
        place = f" · layer {', '.join(self.original.layer)}" if self.original.layer else ""
        return strip_sheet(
            StripSheet(
                title=f"{self.original.method}: {self.kind} randomised",
                subtitle=f"{subject.network} · {subject.weights}{place}",
                notes=(
                    _SAYS[self.kind],
                    "ρ: rank correlation with the original map, 1 where the order of the places is the same, 0 where "
                    "nothing of it is left. SSIM: structural similarity.",
                ),
                strips=[self._strip(index) for index in range(len(self))],
                footer=f"{made_by()} · seed {self.seed} · {subject.preprocessing}",
            )
        )

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, ready for JSON."""
        return {
            "check": f"{self.kind} randomised",
            "method": self.original.method,
            "layer": list(self.original.layer),
            "seed": self.seed,
            "steps": list(self.steps),
            "images": [
                {
                    **self.original.subjects[index].numbers,
                    "target": self.original.target[index],
                    "spearman": self.spearman[:, index].tolist(),
                    "spearman_absolute": self.spearman_absolute[:, index].tolist(),
                    "ssim": self.ssim[:, index].tolist(),
                }
                for index in range(len(self))
            ],
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """The rank correlation at each step, averaged over the images."""
        alike = (f"{step} {shown(rho)}" for step, rho in zip(self.steps, self.spearman.mean(1), strict=True))
        return f"rank correlation with the original: {', '.join(alike)}"

    @property
    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The raw maps, (N, h, w), by step."""
        return {f"{index} {step}": self.maps[index].raw.numpy() for index, step in enumerate(self.steps)}

    def _strip(self, index: int) -> Strip:
        subject = self.original.subjects[index]
        tiles = [StripTile("the photo", "", subject.view)]
        for step, name in enumerate(self.steps):
            values = self.maps[step].signed_map[index].numpy()
            alike = f"ρ {shown(self.spearman[step, index])} · SSIM {shown(self.ssim[step, index])}"
            largest = float(self.maps[step].raw[index].abs().max())
            limit = self.maps[step].limit(index) / largest if largest else 0.0
            heat = colorize(values, limit, heat=not self.original.signed)
            tiles.append(StripTile(name, alike if values.any() else "zero everywhere", heat))
        return Strip(subject.source, f"{self.original.method} of {self.original.target[index]}", tiles)
