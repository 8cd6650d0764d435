"""A headless Chromium to look at a page with, through Playwright: the one that is installed, none is downloaded."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of 1280 × 900. Used as a context manager. page: Playwright's own, for all else."""

    def __enter__(self) -> Browser:
        program = found()
        if program is None:
            pytest.skip(f"no browser is installed (looked for {', '.join(NAMES)})")
        playwright = pytest.importorskip("playwright.sync_api")
        with ExitStack() as stack:
            started = stack.enter_context(playwright.sync_playwright())
            browser = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"])
            stack.callback(browser.close)
            self.page = browser.new_page(viewport={"width": 1280, "height": 900})
            self._end = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.close()

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self.page.goto(address)

    def resize(self, width: int, height: int = 900) -> None:
        self.page.set_viewport_size({"width": width, "height": height})

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        return self.page.evaluate(script)

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        self.page.keyboard.press(key)

    def screenshot(self, path: Path) -> None:
        self.page.screenshot(path=path)
