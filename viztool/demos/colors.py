"""One colour for each way to pool, in every chart."""

from viztool.render.curves import BLUE, CHANCE, ORANGE
from viztool.render.plot import GREEN, VIOLET

INPUT, MAX, MEAN, BLUR, STRIDE = CHANCE, ORANGE, BLUE, VIOLET, GREEN
