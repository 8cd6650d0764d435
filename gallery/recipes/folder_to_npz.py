"""Maps of a whole folder into one .npz: one array for each photo, in half precision, and none of it kept in memory."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from _picture import INPUTS, out, row

import viztool
from viztool.images import find_images

model = viztool.load_model()
archive = Path(tempfile.mkdtemp()) / "maps.npz"

with torch.no_grad(), zipfile.ZipFile(archive, "w") as file:
    for path in find_images([INPUTS]):
        with viztool.capture(model.net, "blocks.4", stop=True, dtype=torch.float16) as acts:
            model.net(model.preprocess(viztool.read_image(path)))
        with file.open(f"{path.stem}.npy", "w") as entry:
            np.lib.format.write_array(entry, acts["blocks.4"][0].numpy())

with np.load(archive) as maps:
    shapes = {name: maps[name].shape for name in maps.files}
    # The three directions in which the places of all photos differ most, as red, green and blue.
    places = np.concatenate([maps[name].reshape(112, -1).T for name in maps.files]).astype(np.float32)
    directions = np.linalg.svd(places - places.mean(0), full_matrices=False)[2][:3]
    colours = {name: np.tensordot(directions, maps[name].astype(np.float32), 1) for name in maps.files}
low, high = np.percentile(list(colours.values()), [2, 98], axis=(0, 2, 3))
row(
    {
        name: torch.from_numpy((each - low[:, None, None]) / (high - low)[:, None, None])
        for name, each in colours.items()
    },
    out(),
)
