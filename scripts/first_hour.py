"""A person's first hour: type every command of the README in order, twice, and then run the tests.

In the clone that it stands in, and in the environment that it is called in, which the first command fills:

    python -m venv /tmp/fresh && . /tmp/fresh/bin/activate && python scripts/first_hour.py

--small makes the commands that take minutes cheap: fewer steps, smaller inputs, random weights in place of a download;
`.ci/run` types them so. Exit code 1 if a command failed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = "pytest"

NETS = "import torchvision\n\n\ndef build():\n    return torchvision.models.resnet18(num_classes=2)\n"
"""What a person has of their own, beside a photo and a folder of them."""

SMALL = {
    "viztool features photo.jpg -m resnet50": "--weights none",  # a download
    "viztool cam photo.jpg --method all": "--size 96",
    "viztool cam photo.jpg --check": "--size 96",
    "viztool gallery": "--check",  # up to half an hour of drawing
    "viztool kernels": "--steps 4",
    "viztool dream": "--steps 2",
    "viztool evaluate": "--steps 2 --method gradcam --size 96",
}
"""What --small puts behind a command that begins like this."""


def lines(readme: str) -> Iterator[str]:
    """The commands of its blocks in order, without what is said of them."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL):
        if not language:
            yield from filter(None, (line.partition("  #")[0].strip() for line in block.splitlines()))


def typed(line: str, small: bool) -> str:
    """The command as it is run: the tests wait until the end."""
    line = line.removesuffix(f" && {TESTS}")
    cheaper = next((more for begin, more in SMALL.items() if line.startswith(begin)), "") if small else ""
    if "--method" in cheaper:  # more of the command's own methods would come to these
        line = re.sub(r" --method \S+", "", line)
    return f"{line} {cheaper}".rstrip()


def furnish(folder: Path) -> None:
    """Put there what the commands are about, if it is not there."""
    inputs = folder / "gallery" / "inputs"
    (folder / "photos").mkdir(exist_ok=True)
    for photo, place in (("coffee", "photo.jpg"), ("cat", "photos/cat.jpg"), ("rocket", "photos/rocket.jpg")):
        if not (folder / place).exists():
            shutil.copy(inputs / f"{photo}.jpg", folder / place)
    if not (folder / "nets.py").exists():
        (folder / "nets.py").write_text(NETS)


def run(command: str) -> bool:
    """Whether it ended well. What it prints is shown if it did not."""
    began = time.perf_counter()
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    print(
        f"{time.perf_counter() - began:7.1f} s  {'ok    ' if done.returncode == 0 else 'FAILED'}  {command}", flush=True
    )
    if done.returncode:
        print(done.stdout[-3000:] + done.stderr[-3000:], flush=True)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="make what takes minutes cheap")
    small = parser.parse_args().small
    commands = list(lines((ROOT / "README.md").read_text(encoding="utf-8")))
    furnish(ROOT)
    good = True
    for time_typed in ("first", "second"):
        print(f"--- for the {time_typed} time", flush=True)
        for line in commands:
            good &= run(typed(line, small))
    print("--- the tests", flush=True)
    good &= subprocess.run([sys.executable, "-m", TESTS, "-q"], cwd=ROOT, check=False).returncode == 0
    sys.exit(not good)


if __name__ == "__main__":
    main()
