"""The photos of `viztool evaluate` as pieces of work for the engines of the atlas."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viztool.cli.batch import Job
from viztool.cli.errors import one_line

if TYPE_CHECKING:
    from viztool.atlas.ranges import Bounds
    from viztool.cli.judge import Run
    from viztool.faithfulness.kept import Found
    from viztool.models.model import Model


@dataclass(frozen=True)
class Judging:
    """Each photo is a range of its own. folder: where what is found is kept, by all that it depends on."""

    run: Run
    jobs: Sequence[Job]
    folder: Path

    @property
    def model(self) -> Model:
        return self.run.model

    def part_file(self, bounds: Bounds) -> Path:
        photo = Path(self.jobs[bounds[0]].photo).absolute()
        stat = photo.stat() if photo.exists() else None
        told = [self._settings, str(photo), None if stat is None else [stat.st_size, stat.st_mtime_ns]]
        return self.folder / f"{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]}.json"

    def work(self, bounds: Bounds) -> None:
        from viztool.atlas.worker import one_thread
        from viztool.faithfulness.kept import Found, write_found

        file = self.part_file(bounds)
        try:
            with one_thread():
                trials, failed = self.run.judge(self.jobs[bounds[0]])
            found = Found(tuple(trials), failed)
        except Exception as error:  # it is this photo's alone, and told of in its turn
            found = Found(error=one_line(error))
        write_found(file, found)

    def unseen(self, bounds: Bounds) -> str | None:
        photo = Path(self.jobs[bounds[0]].photo)
        gone = next((path for path in (self.folder, photo) if not path.exists()), None)
        return None if gone is None else f"{gone}: put it where all nodes do"

    def found(self, workers: str) -> Iterator[tuple[Job, Found]]:
        """What is found on each photo, as it is finished; first what an interrupted run has left."""
        from viztool.atlas.engines import find_engine
        from viztool.faithfulness.kept import read_found

        self.folder.mkdir(parents=True, exist_ok=True)
        bounds = [(number, number + 1) for number in range(len(self.jobs))]
        done = [one for one in bounds if self._is_done(one)]
        missing = sorted(set(bounds).difference(done))
        for finished in (done, find_engine(workers).run(self, missing)):
            for one in finished:
                yield self.jobs[one[0]], read_found(self.part_file(one))

    def _is_done(self, bounds: Bounds) -> bool:
        from viztool.faithfulness.kept import read_found

        file = self.part_file(bounds)
        return file.exists() and read_found(file).error is None

    @cached_property
    def _settings(self) -> Any:
        from viztool.atlas.made_with import weights_digest
        from viztool.hooks.naming import unwrap
        from viztool.results import versions

        run = self.run
        how = [run.model.preprocessing, str(run.model.output), list(run.model.classes or ())]
        asked = [list(run.methods), run.target, run.layer, run.steps, run.draws, run.seed]
        return [weights_digest(unwrap(run.model.net)), how, asked, versions()]
