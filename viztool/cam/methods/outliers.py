"""Where channels are unusually strong."""

from __future__ import annotations

from torch import Tensor

from viztool.cam.evidence import Evidence
from viztool.cam.registry import method

SIGMAS = 2.0


@method(
    "fem", "FEM", "Fuad et al. 2020, doi:10.1109/IPTA50016.2020.9286629", gives="map", signed=True, unit="activation"
)
def fem(evidence: Evidence) -> Tensor:
    """L = Σ_k μ_k B_k, B_k(i, j) = 1 where A_k(i, j) > μ_k + 2 σ_k: of no class.

    μ_k and σ_k are the mean and the standard deviation of the channel over positions.
    """
    maps = evidence.activations
    mean = maps.mean((2, 3), keepdim=True)
    deviation = maps.std((2, 3), correction=0, keepdim=True)
    return (mean * (maps > mean + SIGMAS * deviation)).sum(1)
