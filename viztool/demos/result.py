"""A demo that was told: its sheet, its numbers, the claims and their verdicts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from viztool.demos.claims import Claim
from viztool.demos.errors import DemoError
from viztool.demos.story import Story, plain
from viztool.images import mark_of, write_film
from viztool.images.film import FILMS
from viztool.render.canvas import Canvas
from viztool.render.colormaps import Picture
from viztool.render.demo_sheet import DemoSheet, Stated, demo_sheet
from viztool.render.slide import slide
from viztool.results import Result, made_by, versions

_FRAME_MS = 450
_LAST_MS = 2000  # the whole, before it begins again


@dataclass(frozen=True, eq=False, repr=False)
class DemoResult(Result):
    """One demo on one photo, or asked of one network. subject: what it was told of, in words.

    command: draws its sheet again.
    """

    name: str
    title: str
    subject: str
    claims: tuple[Claim, ...]
    story: Story
    photo: Picture | None
    seed: int
    command: str
    is_slide: bool = False

    def drawing(self) -> Canvas:
        """The sheet, or the slide."""
        if self.is_slide:
            return self._slide()
        return demo_sheet(
            DemoSheet(
                title=self.title,
                subtitle=self.subject,
                photo=self.photo if self.story.photo is None else self.story.photo,
                claims=[Stated(claim.sentence, claim.verdict, claim.condition) for claim in self.claims],
                notes=self.story.notes,
                bands=self.story.bands,
                footer=f"{made_by()} · {self.command} · "
                f"seed {self.seed} · checks passed when this was drawn: {len(self.story.checks)}",
            )
        )

    def as_slide(self) -> DemoResult:
        """The same for a lecture, 16 : 9: the title, one band, and the claim that it shows."""
        return replace(self, is_slide=True)

    def _slide(self) -> Canvas:
        band = next((band for band in self.story.bands if band.slide), self.story.bands[0])
        shown = {claim.number: Stated(claim.sentence, claim.verdict, claim.condition) for claim in self.claims}
        stated = shown.get(self.story.slide_claim or 0, next(iter(shown.values()), None))
        drawn_by = f"{self.command} --slide" if self.command.startswith("viztool ") else f"{self.command}.as_slide()"
        footer = " · ".join(part for part in (self.subject, made_by(), drawn_by) if part)
        return slide(self.title, band.panels, stated, band.lines, footer)

    def save(self, path: str | PathLike[str], *, force: bool = True) -> Path:
        """Write the sheet, or the moving picture if the suffix is .gif or .mp4, whole or not at all. Returns the path.

        Raises ImageError if it cannot be written, DemoError if the demo does not move.
        """
        target = Path(path)
        if target.suffix.lower() not in FILMS:
            return super().save(target, force=force)
        if self.story.movie is None or self.is_slide:
            raise DemoError(f"{self.name} does not move; write a .png")
        frames = self.story.movie.frames()
        durations = [_FRAME_MS] * (len(frames) - 1) + [_LAST_MS]
        return write_film(target, frames, durations, force=force, mark=mark_of(self.numbers))

    @property
    def numbers(self) -> dict[str, Any]:
        """Every figure that is drawn or claimed, and every check that it passed, ready for JSON."""
        return {
            "demo": self.name,
            "title": self.title,
            "subject": self.subject,
            "seed": self.seed,
            "claims": [asdict(claim) for claim in self.claims],
            **plain(self.story.numbers),
            "checks": plain(self.story.checks),
            "versions": versions(),
        }

    @property
    def in_words(self) -> str:
        """Each claim with its verdict."""
        return "; ".join(f"{claim.sentence} ({claim.verdict})" for claim in self.claims)

    @property
    def words(self) -> tuple[str, ...]:
        """All that stands on the bands of the sheet."""
        return tuple(word for band in self.story.bands for word in band.words)
