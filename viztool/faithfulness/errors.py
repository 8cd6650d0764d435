"""What can be wrong with what is held against an image."""

from viztool.errors import ViztoolError


class HeatmapError(ViztoolError):
    """A heatmap or a box does not belong to the image that it is held against."""
