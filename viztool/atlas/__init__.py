"""What every unit of a network does over a whole data set: exact, and the same from one process or a cluster.

A manifest of photos is cut into fixed ranges; a worker turns each into a part, in one forward a photo; the parts are
merged, in their order, into tables. The names are imported when they are first used: an atlas is read without torch.

On paper, ImageNet's 1.28 million photos and the five stages of a ResNet-50, 3,904 units. Measured on one core: 0.14 s a
photo, and 4.7 MB for the part of 128 photos. A part of 512 is then about 13 MB, all 2,500 of them 33 GB, the tables
about 0.2 GB. Time: 50 core hours; on 16 nodes of 8 cores 24 minutes, if the photos arrive at 900 a second, 100 MB. One
GPU was not to be had; reading and resizing at 350 photos a second and core (Pillow) keep it waiting below 8 cores. The
merge is one process: 0.06 s to read a part of 512 photos and 0.11 s to add it, seven minutes of one core for all of
them. The next part is read and several layers are added at once, so two cores need about four; more do not help, as the
layer of 2,048 units takes most of it. From some 100 nodes on that is as long as the rest, and it would have to become a
tree. What it cannot go below are the products between units in float64, half of it: for each photo and pair of a layer
one multiplication, at 24 · 10⁹ a second and core. All 26,560 channels of all its layers: seven times the parts,
230 GB, and seven times the merge.

Photos are decoded by Pillow, as everywhere. Of JPEGs of 270 × 340 that takes 0.8 ms on one core, torchvision 0.5 and
simplejpeg 0.4, beside 0.8 for resizing and some 30 for the smallest network; of 1200 × 1600 8.3, 4.8 and 4.3 ms, beside
15. All three give the same pixels (60 and 8 of as many photos), so the others would save a hundredth, and a second way
to read a file is not worth that. Pillow's draft mode takes 3.2 ms and 2.9 to resize, and is up to 19 levels off;
simplejpeg's fast transforms are up to 59 off, and no faster.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from viztool.atlas.atlas import Atlas, open_atlas
    from viztool.atlas.build import Progress, build_atlas

__all__ = ["Atlas", "Progress", "build_atlas", "open_atlas"]

_HOMES = {"Atlas": "atlas", "Progress": "build", "build_atlas": "build", "open_atlas": "atlas"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
