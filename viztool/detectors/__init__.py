"""What a detector's box rests on: D-RISE, for networks that put out boxes."""

from viztool.detectors.box_map import BoxMap
from viztool.detectors.boxes import Boxes, box_like, detects
from viztool.detectors.drise import drise

__all__ = ["BoxMap", "Boxes", "box_like", "detects", "drise"]
