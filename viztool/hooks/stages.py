"""The last layer at each resolution: what a network has made of the picture before it shrinks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod

from torch import nn

from viztool.errors import LayerError
from viztool.tensors.size import Size

ONE_STAGE = 2.0
"""Maps whose areas differ by less than this factor are one stage: an unpadded convolution trims the border."""

_FEWEST_BLOCKS = 4
"""A network that never shrinks its maps is drawn at four depths, so it needs as many blocks."""


@dataclass
class StageTracker:
    """Finds the stages of a network while its forward runs.

    Tell it when each layer starts and ends. `alive` are the layers that may still turn out to be the
    last at their resolution, so that a caller who keeps outputs can drop the others at once.

    - A layer that ends gives way to the next one at the same resolution.
    - Inside a block with one change of resolution (a strided residual block, a transition), the layers
      before the change are steps of that block and not the end of the stage before it. Only in a plain
      sequence, which may be the whole trunk, they count if nothing else has had their resolution.
    - A map of one channel beside others of the same size is a picture (the edges that a side output makes of a
      stage, the places that attention weighs) and not what the network has made of its input.
    - A layer that is called twice has no one output, and a map of 1 × 1 shows nothing: neither counts.
    - A network that never changes resolution (a Vision Transformer) gives its blocks at 1/4, 2/4, 3/4
      and the whole of its depth.

    repeats: let layers that are called several times count by their last call.
    """

    blocks: list[str] = field(default_factory=list)
    repeats: bool = False
    _open: list[list[tuple[str, Size]]] = field(default_factory=lambda: [[]])
    _running: list[str] = field(default_factory=list)
    _ended: set[str] = field(default_factory=set)
    _block_sizes: dict[str, Size] = field(default_factory=dict)
    _of_many_channels: set[Size] = field(default_factory=set)

    @property
    def alive(self) -> set[str]:
        return {name for frame in self._open for name, _ in frame} | set(self._block_sizes)

    def enter(self, name: str) -> None:
        self._open.append([])
        self._running.append(name)

    def exit(self, name: str, size: Size | None, *, channels: int = 2, sequence: bool = False) -> None:
        """The layer, perhaps a plain sequence of others, has ended with maps of this size, or with none."""
        if size is not None and channels > 1:
            self._of_many_channels.add(size)
        elif size in self._of_many_channels:
            size = None
        inside = self._open.pop()
        while self._running.pop() != name:  # a layer that raised, in a network that went on without it
            inside = self._open.pop() + inside
        if size is not None:
            sizes = {inner for _, inner in inside} | {size}
            if len(sizes) == 2:
                elsewhere = {inner for frame in self._open for _, inner in frame}
                inside = [(inner, own) for inner, own in inside if sequence and own not in elsewhere]
        frame = self._open[-1] + inside
        if name in self._ended:
            frame = [kept for kept in frame if kept[0] != name]
        if size is not None and prod(size) > 1 and (self.repeats or name not in self._ended):
            frame.append((name, size))
            if name in self.blocks:
                self._block_sizes[name] = size
        self._ended.add(name)
        last = {own: kept for kept, own in frame}
        self._open[-1] = [(kept, own) for kept, own in frame if last[own] == kept]

    def stages(self) -> list[str]:
        """The stages of the forward that has ended, in execution order."""
        stages: list[tuple[str, Size]] = []
        for name, size in (kept for frame in self._open for kept in frame):
            if stages and 1 / ONE_STAGE < prod(size) / prod(stages[-1][1]) < ONE_STAGE:
                stages.pop()
            stages.append((name, size))
        count = len(self._block_sizes)
        if len(stages) <= 1 and count >= _FEWEST_BLOCKS:
            blocks = list(self._block_sizes)
            return [blocks[count * quarter // 4 - 1] for quarter in range(1, 5)]
        return [name for name, _ in stages]


def repeated_blocks(layers: Mapping[str, nn.Module]) -> list[str]:
    """The names of the longest run of layers of one class that stand side by side in a list or sequence."""
    longest: list[str] = []
    for name, module in layers.items():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        run: list[str] = []
        kind: type[nn.Module] | None = None
        for child, block in module.named_children():
            if type(block) is not kind:
                run, kind = [], type(block)
            run.append(f"{name}.{child}" if name else child)
            if len(run) > len(longest):
                longest = list(run)
    return longest


@contextmanager
def having_maps() -> Iterator[None]:
    """Around a capture of the stages of a network that surely runs, where nothing captured means that it has none.

    Raises LayerError that says so.
    """
    try:
        yield
    except LayerError:
        raise LayerError("no layer puts out maps (channels of height × width): there is nothing to draw") from None
