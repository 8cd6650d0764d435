"""A page in a real Chromium, from a file and with no network: what it says of units, and what goes wrong in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

UNITS = """
async hashes => {
  const data = id => ({...document.getElementById(id).dataset});
  const found = [];
  for (const [hash, layer, channel, row, column] of hashes) {
    location.hash = hash;
    const wanted = [layer, channel, row, column].join();
    const at = () => ["layer", "channel", "row", "column"].map(key => data("unit")[key]).join();
    for (let count = 0; at() !== wanted && count < 500; count++) await new Promise(done => setTimeout(done, 4));
    const terms = [...document.querySelectorAll("#sum [data-term]")].map(each => +each.dataset.term);
    found.push({unit: data("unit"), field: data("field"), sum: data("sum"), terms});
  }
  return found;
}
"""


def addresses(places: list[tuple[str, int, int, int]]) -> list[list[str]]:
    """What UNITS takes."""
    return [[f"#{'/'.join(map(str, place))}", place[0], *map(str, place[1:])] for place in places]


class Tab:
    """One page that is open. errors, requests: what it said and asked for so far."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path, place: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + place)
        # By a selector: the page's policy refuses the eval that a function is waited for with.
        self.page.wait_for_selector("body[data-ready=true]", timeout=60_000)

    def run(self, script: str, given: Any = None) -> Any:
        return self.page.evaluate(script, given)

    def data(self, name: str) -> dict[str, str]:
        return dict(self.run("id => ({...document.getElementById(id).dataset})", name))

    def units(self, places: list[tuple[str, int, int, int]]) -> list[dict[str, Any]]:
        """What the page says of each place, after its hash has been set."""
        return list(self.run(UNITS, addresses(places)))

    def place(self) -> tuple[str, int, int, int]:
        unit = self.data("unit")
        return unit["layer"], int(unit["channel"]), int(unit["row"]), int(unit["column"])


@contextmanager
def chromium(**settings: Any) -> Iterator[Tab]:
    """A tab of 1280 × 900, offline; the test is skipped where there is no browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser is installed (looked for {', '.join(NAMES)})")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "offline": True, **settings})
        yield Tab(context.new_page())
        browser.close()
