"""How pictures of kernels are made: from what, and under which transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from viztool.errors import ViztoolError
from viztool.kernels.ascent import Settings
from viztool.kernels.parameterizations import MACO, PARAMETERIZATIONS, Fourier, Parameterization
from viztool.kernels.presets import Preset
from viztool.kernels.transforms import Transforms, crop, noise, pad

_TRANSFORMS = {
    "pad": "shifts",
    "jitter": "shifts",
    "scale": "zooms",
    "rotate": "turns",
    "crop": "crops",
    "noise": "noise",
}


@dataclass(frozen=True)
class Recipe:
    """What `visualize_kernels` makes its pictures by.

    parameterization: pixels, fourier, maco, laplacian, cppn, or one of your own. transforms, redirect: as in
        `maximize`; by default the transforms that suit the units, or MACO. without: which of them to leave out, as
        the sheet calls them: shifts, zooms, turns, crops, noise.
    """

    parameterization: str | Parameterization = "fourier"
    transforms: Transforms | None = None
    without: Sequence[str] = ()
    redirect: int = 16

    def settings(self, steps: int | None, size: tuple[int, int], preset: Preset) -> Settings:
        """Those of an ascent to pictures of this size. Raises ViztoolError for a name that is not there."""
        kind = self.parameterization
        if isinstance(kind, str):
            if kind not in PARAMETERIZATIONS:
                raise ViztoolError(f"no parameterization is called {kind!r}; there are {', '.join(PARAMETERIZATIONS)}")
            fourier = kind == Fourier.name
            kind = Fourier(rate=preset.rate, decay=preset.decay) if fourier else PARAMETERIZATIONS[kind]()
        crops = isinstance(kind, MACO)
        transforms = self.transforms
        if transforms is None:
            transforms = Transforms(crop(0.5), noise(0.05)) if crops else preset.transforms
        left = _left(transforms, self.without)
        return Settings(steps or preset.steps, size, kind, left, 2 if crops else 1, self.redirect, window=preset.window)


def kinds_of(transforms: Transforms) -> list[str]:
    """What the transforms do, a word for each kind of them."""
    # A frame is there to be shifted about in.
    named = {_kind_of(step): None for step in transforms.steps if not isinstance(step, pad)}
    return list(named)


def _kind_of(step: object) -> str:
    return _TRANSFORMS.get(type(step).__name__, repr(step))


def _left(transforms: Transforms, without: Sequence[str]) -> Transforms:
    kinds = kinds_of(transforms)
    for kind in without:
        if kind not in kinds:
            raise ViztoolError(f"there are no {kind!r} to leave out; there are {', '.join(kinds)}")
    return Transforms(*(step for step in transforms.steps if _kind_of(step) not in without))
