"""The magnitude spectrum of photos, shipped with viztool."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
import numpy.typing as npt


@cache
def natural_spectrum() -> npt.NDArray[np.float32]:
    """Mean magnitudes of Fourier coefficients of photos in decorrelated colours: (3, 64, 33), as of `rfft2`.

    Made by scripts/natural_spectrum.py; the one at zero frequency is that of its neighbours.
    """
    with (files("viztool.kernels.parameterizations") / "spectrum.npy").open("rb") as file:
        stored = np.load(file, allow_pickle=False)
    return np.asarray(stored, np.float32)
