"""What a picture is made from while it is optimised: pixels, Fourier coefficients, phases, a pyramid, a network."""

from viztool.kernels.parameterizations.base import Canvas, Parameterization, Shape
from viztool.kernels.parameterizations.cppn import CPPN
from viztool.kernels.parameterizations.fourier import Fourier
from viztool.kernels.parameterizations.laplacian import Laplacian
from viztool.kernels.parameterizations.maco import MACO
from viztool.kernels.parameterizations.pixels import Pixels

PARAMETERIZATIONS: dict[str, type[Parameterization]] = {
    each.name: each for each in (Pixels, Fourier, MACO, Laplacian, CPPN)
}
"""By name."""

__all__ = ["CPPN", "MACO", "PARAMETERIZATIONS", "Canvas", "Fourier", "Laplacian", "Parameterization", "Pixels", "Shape"]
