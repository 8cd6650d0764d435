"""Compute the magnitude spectrum of photos that MACO pictures are held to.

The mean magnitude, over random square crops of many sizes and their mirror images, of the Fourier coefficients of
photos in decorrelated colours before the sigmoid, at 64 × 64.

    python scripts/natural_spectrum.py gallery/inputs
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

import viztool.kernels.parameterizations as room
from viztool.images import find_images, read_image
from viztool.kernels.color import decorrelate
from viztool.kernels.parameterizations.base import logit

SIDE = 64
CROPS = 400


def main() -> None:
    """Compute and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("photos", type=Path, help="a folder of photos, free to ship")
    photos = [read_image(path) for path in find_images([parser.parse_args().photos])]
    photos = [photo for photo in photos if (photo[..., 0] != photo[..., 2]).any()]  # a grey one tells of no colours
    rng = np.random.default_rng(0)
    total = torch.zeros(3, SIDE, SIDE // 2 + 1, dtype=torch.float64)
    for index in range(CROPS):
        photo = photos[index % len(photos)]
        largest = min(photo.shape[:2])
        side = round(np.exp(rng.uniform(np.log(SIDE * 2), np.log(largest))))
        y, x = (rng.integers(0, extent - side + 1) for extent in photo.shape[:2])
        crop = cv2.resize(photo[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        values = decorrelate(logit(torch.from_numpy(crop).double().permute(2, 0, 1)[None] / 255))
        values = values - values.mean((2, 3), keepdim=True)
        window = torch.hann_window(SIDE, periodic=True, dtype=torch.float64)  # edges of a crop are no edges in it
        spectrum = torch.fft.rfft2(values * window[:, None] * window, norm="ortho")[0].abs()
        total += spectrum + torch.roll(spectrum.flip(1), 1, 1)
    total[:, 0, 0] = (total[:, 1, 0] + total[:, 0, 1]) / 2
    total /= total[0].mean()
    target = Path(room.__file__).with_name("spectrum.npy")
    np.save(target, total.numpy().astype(np.float16))
    print(f"{target}: {len(photos)} photos, {CROPS} crops, {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
