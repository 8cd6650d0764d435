"""A page in a real Firefox, offline, by WebDriver BiDi: Playwright drives a Firefox of its own only, not Debian's."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from explorer_browser import UNITS, addresses

NAMES = ("firefox-esr", "firefox")
OFFLINE = 'user_pref("network.proxy.type", 1);\nuser_pref("network.proxy.socks", "127.0.0.1");\n'
"""Every request goes to a proxy that is not there."""


class Firefox:
    """One page that is open. errors: what it said so far."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self.errors: list[str] = []
        self._command("session.new", capabilities={})
        self._command("session.subscribe", events=["log.entryAdded"])
        self._tab = self._command("browsingContext.create", type="tab")["context"]

    def _command(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while (told := json.loads(self._socket.recv())).get("id") != number:
            if told.get("method") == "log.entryAdded" and told["params"]["level"] in ("warn", "error"):
                self.errors.append(str(told["params"]["text"]))
        assert told["type"] == "success", told
        return told["result"]

    def open(self, path: Path) -> None:
        self._command("browsingContext.navigate", context=self._tab, url=path.as_uri(), wait="complete")
        ready = "document.body.dataset.ready === 'true'"
        self.run(f"new Promise(done => {{ const look = () => {ready} ? done(1) : setTimeout(look, 20); look(); }})")

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        script = f"Promise.resolve({script}).then(JSON.stringify)"
        told = self._command("script.evaluate", expression=script, target={"context": self._tab}, awaitPromise=True)
        assert told["type"] == "success", told
        return json.loads(told["result"]["value"])

    def units(self, places: list[tuple[str, int, int, int]]) -> list[dict[str, Any]]:
        """As a Chromium's tab tells them."""
        return list(self.run(f"({UNITS})({json.dumps(addresses(places))})"))


@contextmanager
def firefox() -> Iterator[Firefox]:
    """A tab, offline; the test is skipped where there is no Firefox."""
    websocket = pytest.importorskip("websocket")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no Firefox is installed (looked for {', '.join(NAMES)})")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        Path(profile, "user.js").write_text(OFFLINE)
        command = [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stderr is not None
                said = next(line for line in process.stderr if "WebDriver BiDi listening on" in line)
                address = f"{said.split()[-1]}/session"
                with closing(websocket.create_connection(address, timeout=120, suppress_origin=True)) as socket:
                    yield Firefox(socket)
            finally:
                process.terminate()
