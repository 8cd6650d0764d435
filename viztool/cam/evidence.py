"""What a method may ask for: what one layer of a run put out, the gradients there, and the scores of changed inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from viztool.cam.run import Run
from viztool.hooks.replay import Replay
from viztool.models.outputs import is_detection
from viztool.models.repeated import at_once, in_parts

BYTES_AT_ONCE = 32 * 2**20


@dataclass(eq=False)
class Evidence:
    """One layer of a run of N images. Nothing is computed before a method asks for it.

    All tensors are float32, whatever the network computes in.
    """

    run: Run
    layer: str

    @cached_property
    def activations(self) -> Tensor:
        """A, (N, C, h, w)."""
        kept = self.replay.activations if "replay" in self.__dict__ else self.run.tail.activations[self.layer]
        return self.run.as_maps(self.layer, kept).float()

    @cached_property
    def gradients(self) -> Tensor:
        """∂y/∂A of each image's own score y, (N, C, h, w)."""
        return self.run.as_maps(self.layer, self.run.gradients()[self.layer]).float()

    @cached_property
    def scores(self) -> Tensor:
        """y, (N,)."""
        return self.run.scores(self.run.output)[0].detach().float()

    @cached_property
    def replay(self) -> Replay:
        """What comes after the layer, for changed activations of it. Who asks for this first runs no other forward."""
        replay = Replay(self.run.net, self.run.x, self.layer)
        self.run.saw(replay.output)
        return replay

    def on(self, x: Tensor) -> Evidence:
        """The same layer and target on other inputs."""
        return Evidence(self.run.on(x, (self.layer,)), self.layer)

    def generator(self, *stream: int) -> torch.Generator:
        """Random numbers of the run's seed, on the CPU, so that they are the same everywhere; a stream for each key."""
        generator = torch.Generator()
        seed = self.run.seed
        for key in stream:
            seed = (seed * 1_000_003 + key + 1) % 2**63
        return generator.manual_seed(seed)

    def masked_scores(self, masks: Callable[[range], Tensor], count: int) -> Tensor:
        """The score of each image under each of `count` masks, (N, count).

        masks: from the indices of some masks to these masks, (N, k, H, W) at the size of the input; they
        are made and used in chunks. A mask multiplies the input as the network gets it: what it hides
        becomes 0, the mean colour of most preprocessings.
        """
        x, batch = self.run.x, len(self.run)
        step = max(1, at_once(x.device) // batch)

        def scores(chunk: Tensor) -> Tensor:
            masked = (chunk[:, :, None].to(x) * x).flatten(0, 1)
            return self.run.scores(self.run.often(masked), len(chunk)).float()

        found = []
        for start in range(0, count, step):
            chunk = masks(range(start, min(start + step, count))).transpose(0, 1)
            found.append(in_parts(scores, chunk))
        return torch.cat(found).T

    def scores_without(self) -> Tensor:
        """The score of each image without each channel: what is behind the layer runs with its map at zero. (N, C)."""
        rest, batch = self.replay, len(self.run)
        channels = self.activations.shape[1]
        step = max(1, BYTES_AT_ONCE // (rest.activations.numel() * rest.activations.element_size()))
        if is_detection(rest.output):
            step = 1  # such a network makes its batch itself, of pictures in several sizes
        found = []
        for start in range(0, channels, step):
            times = min(step, channels - start)
            changed = rest.activations.repeat(times, *(1,) * (rest.activations.dim() - 1))
            maps = self.run.as_maps(self.layer, changed)
            for index in range(times):
                maps[index * batch : (index + 1) * batch, start + index] = 0
            with torch.no_grad():
                found.append(self.run.scores(rest(changed), times).float())
        return torch.cat(found).T

    def upsampled(self, maps: Tensor) -> Tensor:
        """Maps (N, k, h, w) at the size of the input, bilinear."""
        return F.interpolate(maps, self.run.x.shape[-2:], mode="bilinear")
