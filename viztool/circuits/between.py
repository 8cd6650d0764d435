"""What a layer puts out when an earlier one puts out something else: only what stands between the two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from viztool.circuits.windows import Window
from viztool.errors import ModelError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers
from viztool.hooks.replay import Replay
from viztool.hooks.select import exactly
from viztool.hooks.watch import watch
from viztool.inspect.survey import Site
from viztool.models.outputs import is_detection


class Channels(NamedTuple):
    """All positions of a layer's channels. maps: (C, h, w) or (C, 1, 1). others: (C, t), tokens that are no place."""

    maps: Tensor
    others: Tensor


class Between:
    """The part of a network from one layer to a later one, for one image, in evaluation mode.

    >>> between = Between(net, x, source, target)  # doctest: +SKIP
    >>> given = between.copies(8)  # as the layer put them out
    >>> between.replace(given, 0, [3], between.none)  # in the first of them a channel is out
    >>> between(given)  # (8, C, h, w): what the later layer makes of each

    net: the network itself. x: (1, C, H, W). target: None for the network's output, which `read` turns into (k, K).
    """

    def __init__(
        self, net: nn.Module, x: Tensor, source: Site, target: Site | None, read: Callable[[Any], Tensor] | None = None
    ) -> None:
        self._named = named_layers(net)
        self._net, self._source, self._target, self._read = net, source, target, read
        self._replay = Replay(net, x, exactly([source.name])[0])

    @property
    def output(self) -> Any:
        """What the network puts out for the image."""
        return self._replay.output

    def copies(self, count: int) -> Tensor:
        """What the layer put out, so many times."""
        own = self._replay.activations
        return own.repeat(count, *(1,) * (own.dim() - 1))

    def maps(self, given: Tensor) -> Tensor:
        """The channels of copies, (count, C, h, w), in their memory."""
        return self._source.maps(given)

    @property
    def own(self) -> Channels:
        """What the layer put out."""
        given = self.copies(1)
        return Channels(self.maps(given)[0], self._source.others(given)[0])

    @property
    def none(self) -> Channels:
        """0 everywhere."""
        return Channels(*map(torch.zeros_like, self.own))

    def replace(self, given: Tensor, at: int, channels: Sequence[int], instead: Channels) -> None:
        """Put others' channels in one of the copies, at all positions: a class token, too, carries them on."""
        picked = list(channels)
        self.maps(given)[at, picked] = instead.maps[picked]
        self._source.others(given)[at, picked] = instead.others[picked]

    def __call__(self, given: Tensor, windows: Mapping[str, Window] | None = None) -> Tensor:
        """What the later layer makes of each of k changed copies: (k, C, h, w); of a vector (k, C, 1, 1).

        windows: by name the parts of layers' maps, outside of which nothing is computed, in the order in which the
        layers run. Of the later layer's map the part is then given that begins at `offset(windows)`.
        """
        # Of detectors each image's classes are read alone: each has its own number of boxes.
        classes = self._target is None and is_detection(self.output)
        if len(given) > 1 and not classes and self._replay.at_once:
            try:
                return self._run(given, windows)
            except torch.OutOfMemoryError:
                raise
            except Exception:
                pass  # of a detector a layer may run on as many boxes as there are: one at a time it goes
        return self._one_at_a_time(given, windows)

    def _one_at_a_time(self, given: Tensor, windows: Mapping[str, Window] | None = None) -> Tensor:
        try:
            rows = [self._run(one, windows) for one in given.split(1)]
        except (torch.OutOfMemoryError, ViztoolError):
            raise
        except Exception as error:
            why = str(error).strip().split("\n")[0]
            raise ModelError(
                f"the network does not run on changed channels of layer {self._source.name!r}: {why}"
            ) from error
        # Of a detector there are as many classes as it found; one that it did not find has a score of 0.
        most = max(row.shape[1] for row in rows)
        return torch.cat([torch.cat([row, row.new_zeros(1, most - row.shape[1], *row.shape[2:])], 1) for row in rows])

    def _run(self, given: Tensor, windows: Mapping[str, Window] | None = None) -> Tensor:
        if self._target is None:
            assert self._read is not None
            with torch.no_grad():
                return self._read(self._replay(given))[..., None, None]
        once = self._target.calls == 1
        with (
            torch.no_grad(),
            self._cut(windows or {}),
            capture(self._net, exactly([self._target.name]), stop=once, copy=not once) as acts,
        ):
            self._replay(given)
        return self._target.maps(acts[self._target.name])

    def gradient(self, unit: tuple[int, int, int]) -> Channels:
        """At what the layer put out, of a later unit: (channel, row, column)."""
        assert self._target is not None
        with torch.enable_grad(), frozen(self._net):
            leaf = self._replay.activations.detach().clone().requires_grad_()
            with capture(self._net, exactly([self._target.name]), stop=self._target.calls == 1) as acts:
                self._replay(leaf.clone())
            channel, row, column = unit
            value = self._target.maps(acts[self._target.name])[0, channel, row, column]
            gradient = torch.autograd.grad(value, leaf, allow_unused=True)[0] if value.requires_grad else None
        if gradient is None:
            gradient = torch.zeros_like(leaf)
        return Channels(self._source.maps(gradient)[0], self._source.others(gradient)[0])

    def _cut(self, windows: Mapping[str, Window]) -> AbstractContextManager[None]:
        layers = {name: self._named[name] for name in windows}
        cuts = dict(zip(windows, _within(list(windows.values())), strict=True))

        def cut(name: str, module: nn.Module, output: Any) -> Any:
            rows, columns = cuts[name]
            return output[..., rows, columns]

        return watch(layers, exit=cut)


def offset(windows: Mapping[str, Window]) -> tuple[int, int]:
    """Where in its whole map the part of the later layer's map begins that is left of it."""
    if not windows:
        return 0, 0
    last = list(windows.values())[-1]
    return last.first[0] // last.steps[0], last.first[1] // last.steps[1]


def _within(windows: Sequence[Window]) -> list[list[slice]]:
    """Each as rows and columns of what the one before left of the map."""
    found, begun = [], (Fraction(0), Fraction(0))
    for window in windows:
        before = [int(start * step) for start, step in zip(begun, window.steps, strict=True)]
        found.append(
            [slice(first - at, end - at) for first, end, at in zip(window.first, window.end, before, strict=True)]
        )
        begun = (Fraction(window.first[0], window.steps[0]), Fraction(window.first[1], window.steps[1]))
    return found
