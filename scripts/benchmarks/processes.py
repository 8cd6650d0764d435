"""Rows about whole processes, from the command to its end."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import Contest, NotHereError, row

PHOTO = Path(__file__).parents[2] / "gallery" / "inputs" / "cat.jpg"


@row("viztool features cat.jpg, whole process", "import torch, torchvision, timm", mark=1.35, pairs=9)
def features_process(stack: ExitStack) -> Contest:
    target = Path(stack.enter_context(tempfile.TemporaryDirectory()), "sheet.png")
    ours = [viztool_command(), "features", str(PHOTO), "-o", str(target), "--force"]
    theirs = [sys.executable, "-c", "import torch, torchvision, timm"]
    return Contest(lambda: run(ours), lambda: run(theirs))


@row("viztool --help, whole process", "", figure="seconds", mark=0.25, pairs=15)
def help_process(_: ExitStack) -> Contest:
    imports = run([sys.executable, "-X", "importtime", "-m", "viztool", "--help"]).stderr
    if "torch" in {line.rpartition("|")[2].strip() for line in imports.splitlines()}:
        raise RuntimeError("viztool --help imports torch")
    command = [viztool_command(), "--help"]
    return Contest(lambda: run(command), None, note="torch is not imported")


def viztool_command() -> str:
    """The command that is installed beside this Python."""
    path = Path(sysconfig.get_path("scripts"), "viztool")
    if not path.exists():
        raise NotHereError(f"there is no {path}; pip install .")
    return str(path)


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. RuntimeError with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(f"{' '.join(command[:3])} … failed: {last}")
    return done
