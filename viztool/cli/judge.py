"""One photo of `viztool evaluate`: its heatmaps, and what each method achieves on it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from viztool.cli.batch import STDIN, Job
from viztool.cli.expected import foretell
from viztool.errors import ViztoolError

if TYPE_CHECKING:
    from viztool.faithfulness.ranking import Trial
    from viztool.heatmaps.heatmap import Heatmap
    from viztool.models.model import Model
    from viztool.render.colormaps import Picture

Judged: TypeAlias = "tuple[list[Trial], dict[str, str]]"
"""Of one photo: what each method achieves, and why some cannot be had."""

_Explained: TypeAlias = "tuple[Picture, list[Heatmap], dict[str, str]]"
"""A photo, its heatmaps, and why some methods cannot be had."""


@dataclass
class Run:
    """What is done with each photo. begun: the photo that was explained to see how long that takes, if any."""

    model: Model
    methods: Sequence[str]
    target: str | None
    layer: str | None
    steps: int
    draws: int
    seed: int
    begun: tuple[Job, _Explained] | None = None

    def foretell(self, jobs: Sequence[Job]) -> None:
        """Say how long all will take from now on, by the first photo that can be read: its heatmaps are made here."""
        for job in jobs:
            if job.photo == STDIN:  # which can be read but once
                return
            with suppress(Exception):  # whatever is wrong with it, it says in its turn
                began = time.perf_counter()
                explained = self._explain(job)
                spent = time.perf_counter() - began
                self.begun = job, explained
                photo, heatmaps, _ = explained
                if heatmaps:
                    from viztool.faithfulness.probe import seconds_of_evaluation

                    each = seconds_of_evaluation(self.model, photo, heatmaps, steps=self.steps, draws=self.draws)
                    left = (len(jobs) - 1) * spent + len(jobs) * each
                    foretell(f"{len(jobs)} × {len(heatmaps)} heatmaps", left)
                return  # else it cannot be read, and the next is asked

    def judge(self, job: Job) -> Judged:
        """One photo: what each method achieves, and why some cannot be had."""
        from viztool.faithfulness import evaluate_heatmap
        from viztool.faithfulness.ranking import trials

        known = self.begun is not None and self.begun[0] == job
        photo, heatmaps, failed = self.begun[1] if known and self.begun is not None else self._explain(job)
        if not heatmaps:
            return [], failed
        evaluations = evaluate_heatmap(self.model, photo, heatmaps, steps=self.steps, draws=self.draws, seed=self.seed)
        return [trial for evaluation in evaluations for trial in trials(evaluation)], failed

    def _explain(self, job: Job) -> _Explained:
        photo = job.read()
        heatmaps: list[Heatmap] = []
        failed: dict[str, str] = {}
        for method in self.methods:
            try:
                heatmaps.append(_explain(self.model, photo, method, self.target, self.layer, self.seed, job.source))
            except ViztoolError as error:
                failed[method] = str(error)
        return photo, heatmaps, failed


def _explain(
    model: Model, photo: Any, method: str, target: str | None, layer: str | None, seed: int, source: str
) -> Heatmap:
    from viztool import attribution, cam

    if method in attribution.METHODS:
        return attribution.attribute(model, photo, method, target, seed=seed, source=source)
    return cam.class_activation_map(model, photo, method, target, layer, seed=seed, source=source)
