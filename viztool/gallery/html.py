"""The gallery as one page for a browser: thumbnails inside it, the large pictures beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

import viztool
from viztool.gallery.piece import Piece
from viztool.render.web import shared

_WIDTH = 700
"""Of a thumbnail, in pixels: twice what it is shown at."""

_VERDICTS = {"true": "true", "conditional": "true with a condition", "false": "false as usually said"}


def page(folder: Path, pieces: Sequence[Piece]) -> str:
    """HTML that needs nothing from elsewhere but the large pictures. folder: where they, and it, lie."""
    rooms = dict.fromkeys(piece.room for piece in pieces)
    buttons = [f'<button type="button" data-room="{escape(room)}">{escape(room)}</button>' for room in rooms]
    template = Template(files("viztool.gallery").joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        style=shared("page.css"),
        theme=shared("theme.js"),
        rooms="\n".join(buttons),
        cards="\n".join(_card(folder, piece) for piece in pieces),
        footer=f"Made by <code>viztool gallery</code> · viztool {viztool.__version__} · "
        '<a href="inputs/SOURCES.md">where the photos come from</a>',
    )


def _card(folder: Path, piece: Piece) -> str:
    numbers = piece.read(folder)
    alt = f"{piece.title}. {piece.caption}"
    return f"""<article id="{escape(piece.name)}" data-in="{escape(piece.room)}"
data-picture="{piece.picture(folder).name}">
<button type="button" class="picture"><img src="{_thumbnail(piece.picture(folder))}" alt="{escape(alt)}"></button>
<p class="room">{escape(piece.room)}</p>
<h2>{escape(piece.title)}</h2>
<p>{escape(piece.caption)}</p>
{"".join(map(_claim, numbers.get("claims", ())))}<details><summary>Its numbers</summary>
<pre>{escape(numbers["summary"])}</pre>
<a href="{piece.numbers(folder).name}">all of them</a></details>
<code>{escape(numbers["command"])}</code>
</article>"""


def _claim(claim: dict[str, Any]) -> str:
    return f"""<div class="claim">{escape(claim["sentence"])} <span lang="zh">{escape(claim["zh"])}</span>
<span class="verdict {claim["verdict"]}">{_VERDICTS[claim["verdict"]]}</span>
<span class="condition">{escape(claim["condition"])}</span></div>
"""


def _thumbnail(path: Path) -> str:
    """A small JPEG of a picture, as a data URL; of a moving one, its first frame."""
    with Image.open(path) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_WIDTH, 4 * _WIDTH))
    # What hangs below a card's window is never seen.
    small = small.crop((0, 0, small.width, min(small.height, round(small.width * 0.75))))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()
