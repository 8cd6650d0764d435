"""Cut the gallery's photos into tiles, so that there is a small data set that is free to ship.

    python scripts/make_tiles.py

Writes gallery/tiles.tar: 200 JPEG files and, as WebDataset has it, the photo's name in a `.cls` file beside each.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

INPUTS = Path(__file__).parents[1] / "gallery" / "inputs"
PHOTOS = ("astronaut", "camera", "cat", "coffee", "rocket")
GRIDS = ((224, 4, 6), (144, 4, 4))
"""Side of the tiles, rows and columns of them, evenly from edge to edge."""

_SIDE, _QUALITY = 144, 88


def main() -> None:
    """Write the archive, the same bytes each time."""
    with tarfile.open(INPUTS.parent / "tiles.tar", "w") as archive:
        for name in PHOTOS:
            photo = Image.open(INPUTS / f"{name}.jpg").convert("RGB")
            for side, rows, columns in GRIDS:
                for row, top in enumerate(np.linspace(0, photo.height - side, rows).round().astype(int)):
                    for column, left in enumerate(np.linspace(0, photo.width - side, columns).round().astype(int)):
                        tile = photo.crop((left, top, left + side, top + side)).resize((_SIDE, _SIDE))
                        buffer = io.BytesIO()
                        tile.save(buffer, "JPEG", quality=_QUALITY)
                        stem = f"{name}_{side}_{row}_{column}"
                        _add(archive, f"{stem}.jpg", buffer.getvalue())
                        _add(archive, f"{stem}.cls", name.encode())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
