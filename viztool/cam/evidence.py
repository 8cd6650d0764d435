"""What a method may ask for: what one layer put out, the gradients there, and the scores of changed inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.errors import LayerError
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.layouts import Layouts
from viztool.hooks.replay import Replay
from viztool.hooks.turns import once
from viztool.models.outputs import is_detection
from viztool.models.repeated import in_parts
from viztool.targets.question import Question

BYTES_AT_ONCE = 32 * 2**20


@dataclass(eq=False)
class Evidence:
    """One of the layers of a question about N images. Nothing is computed before a method asks for it.

    All tensors are float32, whatever the network computes in.
    """

    question: Question
    layer: str

    @once
    def activations(self) -> Tensor:
        """A, (N, C, h, w)."""
        return self.as_maps(self._kept).float()

    @once
    def gradients(self) -> Tensor:
        """∂y/∂A of each image's own score y, (N, C, h, w)."""
        return self.as_maps(self.question.layer_gradients()[self.layer]).float()

    @property
    def scores(self) -> Tensor:
        """y, (N,)."""
        return self.question.score

    @once
    def replay(self) -> Replay:
        """What comes after the layer, for changed activations of it. Who asks for this first runs no other forward."""
        replay = Replay(self.question.net, self.question.x, self.layer)
        self.question.saw(replay.output)
        return replay

    def on(self, x: Tensor) -> Evidence:
        """The same layer and target on other inputs."""
        return Evidence(self.question.on(x, (self.layer,)), self.layer)

    def generator(self, *stream: int) -> torch.Generator:
        """Random numbers of the question's seed; a stream for each key."""
        return self.question.generator(*stream)

    def masked_scores(self, masks: Callable[[range], Tensor], count: int) -> Tensor:
        """The score of each image under each of `count` masks, (N, count).

        masks: from the indices of some masks to these masks, (N, k, H, W) at the size of the input; they
        are made and used in chunks. A mask multiplies the input as the network gets it: what it hides
        becomes 0, the mean colour of most preprocessings.
        """
        x = self.question.x
        found = []
        for part in self.question.chunks(count):
            chunk = masks(range(part.start, part.stop)).transpose(0, 1)
            found.append(self.question.scores(chunk[:, :, None].to(x) * x))
        return torch.cat(found).T

    def scores_without(self) -> Tensor:
        """The score of each image without each channel: what is behind the layer runs with its map at zero. (N, C)."""
        rest, batch = self.replay, len(self.question)
        step = max(1, BYTES_AT_ONCE // (rest.activations.numel() * rest.activations.element_size()))
        if is_detection(rest.output):
            step = 1  # such a network makes its batch itself, of pictures in several sizes

        def scores(channels: Tensor) -> Tensor:
            times = len(channels)
            changed = rest.activations.repeat(times, *(1,) * (rest.activations.dim() - 1))
            maps = changed if self.question.has_time else self._layouts.channels(self.layer, changed)
            for index, channel in enumerate(channels.tolist()):
                maps[index * batch : (index + 1) * batch, channel] = 0
            with torch.no_grad():
                return self.question.target.scores(rest(changed), times).float()

        channels = torch.arange(self.activations.shape[1])
        return torch.cat([in_parts(scores, chunk) for chunk in channels.split(step)]).T

    @property
    def times(self) -> int:
        """How many moments stand below one another in each map; 1 where the input has no time."""
        return self._kept.shape[2] if self.question.has_time else 1

    @property
    def _kept(self) -> Tensor:
        return self.replay.activations if "replay" in self.__dict__ else self.question.tail.activations[self.layer]

    def upsampled(self, maps: Tensor) -> Tensor:
        """Maps (N, k, h, w) at the size of the input, bilinear; (N, k, T, H, W) where that has a time."""
        if not self.question.has_time:
            return F.interpolate(maps, self.question.size, mode="bilinear")
        return F.interpolate(maps.unflatten(2, (self.times, -1)), self.question.x.shape[2:], mode="trilinear")

    def as_maps(self, tensor: Tensor) -> Tensor:
        """What the layer puts out for any number of images, or a gradient at it, as maps (n, C, h, w).

        Of an input with a time the moments, (n, C, t, h, w), stand below one another: (n, C, t · h, w).
        """
        if not self.question.has_time:
            return self._layouts.maps(self.layer, tensor)
        if tensor.dim() != 5:
            raise LayerError(
                f"layer {self.layer!r} puts out no maps over time (channels of time × height × width); "
                "choose a layer before the network flattens them"
            )
        return tensor.flatten(2, 3)

    @once
    def _layouts(self) -> Layouts:
        return layouts_of(self.question.net, self.question.x)
