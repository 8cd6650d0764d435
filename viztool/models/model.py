"""A network together with what one must know to show it a photo and read its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from viztool.errors import ModelError
from viztool.hooks.evaluating import evaluating
from viztool.hooks.naming import unwrap
from viztool.models.classes import read_classes
from viztool.models.outputs import top_classes
from viztool.models.preprocess import Photo, Preprocessing, check_photo
from viztool.models.stem import own_preprocessing


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A network, its name, its class names, where its weights are from, and how it takes a photo.

    net: as it was given, in its own mode. classes: one name an output, or None if they are not known.
    weights: in words, such as "IMAGENET1K_V2" or "random weights". input: what `preprocess` does.
    """

    net: nn.Module
    name: str
    input: Preprocessing
    classes: tuple[str, ...] | None = None
    weights: str = "as given"

    def __repr__(self) -> str:
        classes = "no class names" if self.classes is None else f"{len(self.classes)} classes"
        return f"Model({self.name}: {self.weights}; {classes}; {self.preprocessing})"

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the network's input; the nominal one where photos go in whole (see `preprocessing`)."""
        return self.input.size

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted from each channel, on the scale [0, 1]."""
        return self.input.mean

    @property
    def std(self) -> tuple[float, ...]:
        """What each channel is then divided by."""
        return self.input.std

    @property
    def channels(self) -> int:
        """Channels of the network's input; a photo can fill 3, or 1 in grey."""
        return self.input.channels

    @property
    def preprocessing(self) -> str:
        """What happens to a photo, in words: "resize 256 bicubic, crop 224, mean 0.5, std 0.5"."""
        return self.input.describe()

    @property
    def device(self) -> torch.device:
        """Where the network's parameters are; the CPU if it has none."""
        return next((tensor.device for tensor in _tensors(self.net)), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The network's precision: that of its first floating parameter; float32 if it has none."""
        return next((tensor.dtype for tensor in _tensors(self.net) if tensor.is_floating_point()), torch.float32)

    def preprocess(self, photo: Photo | Sequence[Photo]) -> Tensor:
        """A photo, uint8 RGB (H, W, 3), as the network's input: float32 (1, C, h, w), on its device.

        Several photos give (N, C, h, w), and a video network gets each repeated along time, (N, C, T,
        h, w). ModelError for something else than a photo, for a network that takes other than 1 or 3
        channels, and for photos of several shapes where the network takes them whole.
        """
        inputs = [self.input.tensor(self.input.pixels(each)) for each in _photos(photo)]
        if len({each.shape for each in inputs}) > 1:
            raise ModelError(
                f"{self.name} takes photos in their own shape, and these have several: pass them one by one"
            )
        return torch.cat(inputs).to(self.device)

    def view(self, photo: Photo) -> Photo:
        """The photo as the network sees it, resized and cropped but not normalised: uint8 RGB (h, w, 3)."""
        pixels = self.input.pixels(check_photo(photo))
        return np.repeat(pixels, 3 // pixels.shape[2], axis=2)

    def crop_box(self, shape: Sequence[int]) -> tuple[float, float, float, float]:
        """The part of a photo of `shape` (H, W, ...) that `preprocess` keeps: top, left, bottom, right.

        In photo pixels; beyond the photo's edges where the input is padded.
        """
        return self.input.box(shape)

    def normalize(self, x: Tensor) -> Tensor:
        """RGB in [0, 1], (N, 3, h, w), to the network's own input range; differentiable.

        The luma, (N, 1, h, w), for a one-channel network; (N, 3, T, h, w) for a video network.
        """
        return self.input.normalize(x)

    def predict(self, photo: Photo | Sequence[Photo], top: int = 5) -> Any:
        """The `top` classes with their probabilities, best first: [(class name, probability), ...].

        Several photos give one such list each. Of a segmentation network: the share of the picture;
        of a detection network: its best boxes as (class, score). The network runs in evaluation mode
        and is left as it was. ModelError if it cannot run on the photo, if its output is not finite,
        and if the class names are not as many as its outputs.
        """
        answers = [top_classes(self._output(each), self.classes, top)[0] for each in _photos(photo)]
        return answers if _is_several(photo) else answers[0]

    def _output(self, photo: Photo) -> Any:
        net = unwrap(self.net)
        x = self.preprocess(photo).to(self.dtype)
        try:
            with evaluating(net), torch.no_grad():
                return net(x)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ModelError(f"{self.name} cannot run on an input of the shape {tuple(x.shape)}: {reason}") from error


def wrap_model(
    net: nn.Module,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    classes: Sequence[str] | str | Path | None = None,
    name: str | None = None,
) -> Model:
    """Your own network as a `Model`: `wrap_model(net, size=96, mean=0.5, std=0.25, classes=["cat", "dog"])`.

    size: the side, or (h, w), that photos are resized and cropped to. mean, std: one number, or one a
    channel, on the scale [0, 1]. classes: names, or a file of them. What is left out comes from the
    network's `pretrained_cfg` if it has one, as timm's do; else size is 224 and mean and std are
    ImageNet's, (0, 1) for other than three channels, and `preprocessing` says that they are assumed.
    The network is not changed, nor its mode. It may be compiled or in DataParallel.
    """
    if isinstance(net, Model):
        raise ModelError("expected a network, got a viztool Model: wrap its .net, or use it as it is")
    inner = unwrap(net)
    return Model(
        net=net,
        name=name or type(inner).__name__,
        input=own_preprocessing(inner, size, mean, std),
        classes=None if classes is None else read_classes(classes),
    )


def _tensors(net: nn.Module) -> list[Tensor]:
    return [*net.parameters(), *net.buffers()]


def _is_several(photo: Any) -> bool:
    return isinstance(photo, (list, tuple)) or (isinstance(photo, np.ndarray) and photo.ndim == 4)


def _photos(photo: Photo | Sequence[Photo]) -> list[Photo]:
    if not _is_several(photo):
        return [check_photo(photo)]
    if len(photo) == 0:
        raise ModelError("no photo was given: the list is empty")
    return [check_photo(each) for each in cast("Sequence[Photo]", photo)]
