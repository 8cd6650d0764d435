"""A network together with what one must know to show it a photo and read its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from viztool.models.preprocess import Photo, Preprocessing, check_photo
from viztool.models.reader import Reader, ending_of, is_zoo
from viztool.models.reading import NO_CLASSES, Output, check_output
from viztool.models.stem import Changes, own_preprocessing
from viztool.render.predictions import Prediction


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A network, its name, its class names, where its weights are from, and how it takes a photo.

    net: as it was given, in its own mode. classes: one name an output, or None if they are not known.
    weights: in words, such as "IMAGENET1K_V2" or "random weights". input: what `preprocess` does.
    output: how the output is read, "softmax", "sigmoid", "binary", "scores", "none" or a callable from it to
    (N, K); None if nobody said it.
    """

    net: nn.Module
    name: str
    input: Preprocessing
    classes: tuple[str, ...] | None = None
    weights: str = "as given"
    output: Output | None = None

    def __repr__(self) -> str:
        classes = "no class names" if self.classes is None else f"{len(self.classes)} classes"
        return f"Model({self.name}: {self.weights}; {classes}; {self.preprocessing})"

    @property
    def size(self) -> tuple[int, int]:
        """(h, w) of the network's input; the nominal one where photos go in whole (see `preprocessing`)."""
        return self.input.size

    @property
    def mean(self) -> tuple[float, ...]:
        """What is subtracted from each channel, on the scale [0, 1]; [0, 255] of a network that takes such values."""
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
        return self.preprocess_and_view(photo)[1]

    def preprocess_and_view(self, photo: Photo) -> tuple[Tensor, Photo]:
        """`preprocess` and `view` of one photo, which is resized only once for both."""
        pixels = self.input.pixels(check_photo(photo))
        return self.input.tensor(pixels).to(self.device), np.repeat(pixels, 3 // pixels.shape[2], axis=2)

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
        """The `top` classes with a number each, best first: [(class name, number), ...].

        The number depends on how the output is read (`output`):
        - "softmax", of classes that exclude each other: their probabilities. Of a segmentation network: the
          share of the picture.
        - "sigmoid", of labels: each one's own probability; they need not sum to 1.
        - "binary", one output for two classes: the probability of both.
        - "scores": the network's own numbers, of maps and tokens their mean over positions.
        - "none": a ModelError.
        - A callable makes (N, K) of the output; that is read as if nothing was said.
        Where nothing was said: one output and two names are binary; numbers that are not negative and sum to 1
        are probabilities; as many outputs as class names, and the 1000 of torchvision's and timm's networks, are
        softmax, or each its own probability if the network ends in a sigmoid; all else is scores. A detection
        network gives its best boxes as (class, score).

        Several photos give one such list each. The network runs in evaluation mode and is left as it was.
        ModelError if it cannot run on the photo, if its output is not finite, and if the class names are not as
        many as its outputs.
        """
        if top < 1:
            raise ModelError(f"top must be at least 1, got {top}")
        if self.output == "none":
            raise ModelError(NO_CLASSES)
        answers = [self._answer(each, top) for each in _photos(photo)]
        return answers if _is_several(photo) else answers[0]

    def reader(self, x: Tensor) -> Reader:
        """How the output for `x`, (N, C, ..., h, w), is to be read."""
        net = unwrap(self.net)
        return Reader(self.output, self.classes, self.weights, is_zoo(net), ending_of(net, x))

    def _answer(self, photo: Photo, top: int) -> list[Prediction]:
        x = self.preprocess(photo).to(self.dtype)
        output = self._output(x)
        return list(self.reader(x).settle(output).predictions(output, top)[0])

    def _output(self, x: Tensor) -> Any:
        net = unwrap(self.net)
        try:
            with evaluating(net), torch.no_grad():
                return net(x.clone())
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
    *,
    output: Output | None = None,
    channel_order: str | None = None,
    value_range: float | None = None,
    resize: str | None = None,
) -> Model:
    """Your own network as a `Model`: `wrap_model(net, size=96, mean=0.5, std=0.25, classes=["cat", "dog"])`.

    size: the side, or (h, w), that photos are resized and cropped to. mean, std: one number, or one a
    channel, on the scale of `value_range`. classes: names, or a file of them. What is left out comes from the
    network's `pretrained_cfg` if it has one, as timm's do; else size is 224 and mean and std are
    ImageNet's, (0, 1) for other than three channels, and `preprocessing` says that they are assumed.
    output: how its output is read, "softmax", "sigmoid", "binary", "scores", "none", or a callable from it to
    (N, K); what `Model.predict` says holds where it is left out.
    channel_order: "rgb" (the default) or "bgr". value_range: 1 (the default), or 255 for a network that takes
    values from 0 to 255: mean and std are in that order and on that scale. resize: "cover" (the default: the
    photo's shorter side fills the input, the rest is cut off), "squash" (both sides fill it, whatever the photo's
    shape) or "inside" (all of the photo is in it, the rest is black).
    The network is not changed, nor its mode. It may be compiled or in DataParallel.
    """
    if isinstance(net, Model):
        raise ModelError("expected a network, got a viztool Model: wrap its .net, or use it as it is")
    inner = unwrap(net)
    return Model(
        net=net,
        name=name or type(inner).__name__,
        input=Changes(mean, std, channel_order, value_range, resize).of(own_preprocessing(inner, size)),
        classes=None if classes is None else read_classes(classes),
        output=check_output(output),
    )


def _tensors(net: nn.Module) -> Iterator[Tensor]:
    """One after another, as the first will often do."""
    yield from net.parameters()
    yield from net.buffers()


def _is_several(photo: Any) -> bool:
    return isinstance(photo, (list, tuple)) or (isinstance(photo, np.ndarray) and photo.ndim == 4)


def _photos(photo: Photo | Sequence[Photo]) -> list[Photo]:
    if not _is_several(photo):
        return [check_photo(photo)]
    if len(photo) == 0:
        raise ModelError("no photo was given: the list is empty")
    return [check_photo(each) for each in cast("Sequence[Photo]", photo)]
