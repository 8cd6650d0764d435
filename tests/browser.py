"""A headless Chromium to look at a page with: commands of its debugging protocol over a pair of pipes."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 60
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

# The protocol wants its pipes at 3 and 4, whatever numbers they have here.
_LAUNCH = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, place in zip(ends, (3, 4)):
    os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of 1280 × 900. Used as a context manager."""

    def __enter__(self) -> Browser:
        program = found()
        if program is None:
            pytest.skip(f"no browser is installed (looked for {', '.join(NAMES)})")
        with ExitStack() as stack:
            profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            theirs, self._to = os.pipe()
            self._from, ours = os.pipe()
            stack.callback(os.close, self._to)
            stack.callback(os.close, self._from)
            command = [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            command += ["--remote-debugging-pipe", "--window-size=1280,900", f"--user-data-dir={profile}"]
            process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCH, str(theirs), str(ours), *command, "about:blank"],
                pass_fds=(theirs, ours),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            os.close(theirs)
            os.close(ours)
            self._rest, self._count, self._session = b"", 0, ""
            page = self.send("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            self.send("Page.enable")
            self._end = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._end.close()

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def open(self, address: str) -> None:
        """Go to a page, and wait until it is loaded."""
        self.send("Page.navigate", url=address)
        deadline = time.monotonic() + PATIENCE
        # Asked for again and again: to an address that differs in its #part alone there is no event.
        while self.run("location.href") != address or self.run("document.readyState") != "complete":
            if time.monotonic() > deadline:
                raise RuntimeError(f"{address} did not load in {PATIENCE} s")
            time.sleep(0.05)

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as a person presses it."""
        codes = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, " ": 32, "Enter": 13, "Tab": 9}
        code = codes.get(key, ord(key[0].upper()))
        text = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
        same = {"key": key, "windowsVirtualKeyCode": code, "code": key if len(key) > 1 else ""}
        self.send("Input.dispatchKeyEvent", type="keyDown", **same, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **same)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], PATIENCE)[0]:
                raise RuntimeError(f"the browser has said nothing for {PATIENCE} s")
            part = os.read(self._from, 1 << 16)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))
