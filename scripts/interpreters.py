"""Run the tests on every Python that pyproject.toml allows and this machine has, and with the lowest versions it names.

    python scripts/interpreters.py [--only 3.10] [--only lowest] [PYTEST ARGUMENTS]

Needs uv, which makes an environment of its own for each; torch is in every one of them, some gigabytes. With the lowest
versions a warning is no error: they are older than what some of them warn about. Exit code 1 if any test failed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
LOWEST = "lowest"


def installed(version: str) -> bool:
    """Whether uv finds this Python here, without fetching it."""
    found = subprocess.run(
        ["uv", "python", "find", "--no-python-downloads", "--no-project", version], capture_output=True, check=False
    )
    return found.returncode == 0


def tried(name: str, source: Path, work: Path, arguments: list[str]) -> int:
    """The exit code of pytest in a fresh environment, in a fresh copy of the project."""
    version, lowest = (VERSIONS[0], True) if name == LOWEST else (name, False)
    copy, python = work / "viztool", work / "venv" / "bin" / "python"
    shutil.copytree(source, copy)
    resolution = ["--resolution", "lowest-direct"] if lowest else []
    subprocess.run(["uv", "venv", "-q", "--no-python-downloads", "--python", version, work / "venv"], check=True)
    subprocess.run(["uv", "pip", "install", "-q", *resolution, "--python", python, f"{copy}[test]"], check=True)
    warnings = ["-o", "filterwarnings=default"] if lowest else []
    return subprocess.run([python, "-m", "pytest", "-q", *warnings, *arguments], cwd=copy, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=(*VERSIONS, LOWEST))
    chosen, arguments = parser.parse_known_args()
    if shutil.which("uv") is None:
        sys.exit("this needs uv: pip install uv")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        source.mkdir()
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        subprocess.run(["tar", "x", "-C", source], input=archive, check=True)
        for name in chosen.only or (*VERSIONS, LOWEST):
            if not installed(VERSIONS[0] if name == LOWEST else name):
                print(f"--- {name}: not on this machine", flush=True)
                continue
            print(f"--- {name}", flush=True)
            with tempfile.TemporaryDirectory() as work:
                if tried(name, source, Path(work), arguments):
                    failed.append(name)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
