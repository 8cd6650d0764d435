"""Tell a demo: on a photo, or of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from viztool.demos.claims import claim
from viztool.demos.command import command_of
from viztool.demos.errors import WrongNumberError
from viztool.demos.photo import Photo, as_photo
from viztool.demos.registry import Demo, check_options, find, find_on_network
from viztool.demos.result import DemoResult
from viztool.demos.story import Story
from viztool.models.model import Model
from viztool.render.colormaps import Picture


def run_demo(
    name: str,
    photo: Picture | Sequence[Picture] | None = None,
    *,
    model: Model | None = None,
    seed: int = 0,
    source: str | Sequence[str] = "photo",
    **options: Any,
) -> DemoResult:
    """Show a claim about convolutional networks on a photo, with the numbers that it rests on and where it fails.

    >>> run_demo("checkerboard").save("checkerboard.png")  # doctest: +SKIP

    photo: uint8 RGB (H, W, 3), shrunk to 640 pixels a side if it is larger; by default one that comes with
        matplotlib. Several, for the demos that look at a network.
    model: ask the question of this network instead, where the question applies.
    seed: of everything random. source: what the photo is called on the sheet, or each of several.
    options: the demo's own, such as kernel="1 0 -1; 2 0 -2; 1 0 -1" for "sobel".

    Raises DemoError for an unknown demo or option, or a photo that is too small; WrongNumberError, naming the
    number, what was expected and what was found, if one of them is not what the claim's verdict says.
    """
    found = find(name)
    photos = _photos(photo, source, found.photo)
    asked = None if model is None else find_on_network(found.name)
    tell = found.tell if asked is None else asked.tell
    check_options(found.name, tell, options)
    try:
        story = tell(photos[0], seed, **options) if model is None else tell(model, photos, seed, **options)
    except WrongNumberError as error:
        raise WrongNumberError(f"{found.name}: {error}") from error
    title = found.title if model is None or asked is None else f"{model.name}: {asked.title}"
    given = [] if photo is None else [each.source for each in photos]
    command = command_of(found.name, given, options, seed)
    if model is not None:  # which came from Python, and no command names it; who knows one that does puts it in
        command = f'run_demo("{found.name}", model=model)'
    sees = found.sees if asked is None else asked.sees
    return _result(found, title, story, photos, model, seed, command, sees)


def _photos(photo: Picture | Sequence[Picture] | None, source: str | Sequence[str], own: str) -> list[Photo]:
    if not isinstance(photo, (list, tuple)):
        return [as_photo(photo, source if isinstance(source, str) else source[0], own)]  # type: ignore[arg-type]
    names = [source] * len(photo) if isinstance(source, str) else source
    return [as_photo(each, name) for each, name in zip(photo, names, strict=True)]


def _result(
    found: Demo,
    title: str,
    story: Story,
    photos: Sequence[Photo],
    model: Model | None,
    seed: int,
    command: str,
    sees: bool,
) -> DemoResult:
    first = photos[0]
    parts = [] if model is None else [model.weights]
    if sees:
        several = first.source if len(photos) == 1 else f"{len(photos)} photos"
        parts.append(f"{first.source} · {first.size}" if model is None else several)
    return DemoResult(
        name=found.name,
        title=title,
        subject=" · ".join(parts),
        # What is true of textbooks says nothing of one network, which is asked something else.
        claims=tuple(claim(number) for number in found.claims) if model is None else (),
        story=story,
        photo=first.rgb if sees else None,
        seed=seed,
        command=command,
    )
