"""The frame of a page that needs nothing but a browser."""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from string import Template

from viztool.render.web.policy import content_policy


def sealed_page(body: str, style: str, script: str, *, title: str, mark: str, payload: bytes) -> str:
    """One HTML file that fetches nothing, and runs only its own script.

    body: HTML, in which every name is escaped already. style: of the page, after that of all pages. title, mark: as
    text; mark says how the page was made. payload: what the script finds in base64 in #payload.
    """
    whole = shared("page.css") + style
    return Template(shared("page.html")).substitute(
        policy=content_policy(script, whole),
        mark=html.escape(mark),
        title=html.escape(title),
        style=whole,
        body=body,
        payload=base64.b64encode(payload).decode(),
        script=script,
    )


def shared(name: str) -> str:
    """What all pages have: page.css, theme.js."""
    return files("viztool.render.web").joinpath(name).read_text(encoding="utf-8")
