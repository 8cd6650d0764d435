"""Fetching weights over the network, or saying what to do instead."""

from __future__ import annotations

import http.client
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from viztool.errors import ModelError

_PATIENCE = 20.0  # seconds without a byte before a server counts as out of reach


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turn what goes wrong with a download inside the block into a ModelError that says what to do.

    What is printed inside goes to stderr: torch.hub says on stdout from where it downloads.
    """
    before = socket.getdefaulttimeout()
    if before is None:
        socket.setdefaulttimeout(_PATIENCE)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (OSError, http.client.HTTPException, RuntimeError) as error:
        raise ModelError(
            f"the weights of {name} cannot be downloaded ({_reason(error)}): give a file (--weights FILE), take "
            f"random weights (weights=None, --weights none), or use the embedded network (no name)"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def require_server(url: str) -> None:
    """Raise OSError at once if there is no way to the server; the hub's own client tries for most of a minute."""
    request = urllib.request.Request(url, method="HEAD")
    with suppress(urllib.error.HTTPError):  # an answer, if not a friendly one: the server is there
        urllib.request.urlopen(request, timeout=_PATIENCE).close()


def say(line: str) -> None:
    """One line on stderr."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _reason(error: BaseException) -> str:
    # the hub's errors are a paragraph of advice; what happened is their cause
    cause = error.__cause__ if error.__cause__ is not None else error
    return next(iter(str(cause).splitlines()), type(cause).__name__)
