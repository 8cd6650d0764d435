"""What a page that holds all that it needs may do: run its own script, show pictures that are in it, no more."""

from __future__ import annotations

import base64
import hashlib


def content_policy(script: str, style: str) -> str:
    """The content of the page's Content-Security-Policy: only this script and this style, and nothing is fetched."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    parts = (
        "default-src 'none'",
        f"script-src 'sha256-{digest(script)}'",
        f"style-src 'sha256-{digest(style)}'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return "; ".join(parts)
