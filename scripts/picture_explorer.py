"""The gallery's page of a network on a photo, and a picture of it for the README: needs playwright and Chromium.

python scripts/picture_explorer.py
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

PAGE, PICTURE = Path("gallery/explorer/cat.html"), Path("gallery/explorer/cat.png")
PLACE = "#blocks.1/7/26/13"


def main() -> None:
    """Make both in the folder that the project is in."""
    from playwright.sync_api import sync_playwright

    subprocess.run(["viztool", "explore", "gallery/inputs/cat.jpg", "--circuits", "-o", PAGE], check=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1340, "height": 900})
        page.goto(PAGE.resolve().as_uri() + PLACE)
        page.wait_for_selector("body[data-ready=true]")
        page.wait_for_timeout(500)
        page.screenshot(path=PICTURE)
        browser.close()


if __name__ == "__main__":
    main()
