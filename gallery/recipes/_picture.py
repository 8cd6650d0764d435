"""What the recipes share: pictures in a row, each with its title, in the file that is named or beside the recipe."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import torch

INPUTS = Path(__file__).parents[1] / "inputs"


def out() -> Path:
    """The file to write."""
    return Path(sys.argv[1]) if len(sys.argv) > 1 else Path(sys.argv[0]).with_suffix(".png")


def row(pictures: dict[str, torch.Tensor], file: Path) -> None:
    """Write them side by side: (3, h, w) in [0, 1] as it is, (h, w) as a map. The keys are their titles."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2.6 * len(pictures), 3), layout="constrained")
    for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
        shown = picture.detach().squeeze().numpy()
        axis.imshow(shown.transpose(1, 2, 0).clip(0, 1) if shown.ndim == 3 else shown, cmap="magma")
        axis.set_title(title, fontsize=9)
        axis.axis("off")
    figure.savefig(file, dpi=120)
    plt.close(figure)
