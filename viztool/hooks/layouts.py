"""Follow through a forward where the channels of each layer's output stand, and in which order its tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from viztool.errors import LayerError
from viztool.tensors.kinds import of_kind
from viztool.tensors.layout import (
    LAST,
    MOST_PREFIX_TOKENS,
    NO_MAP,
    SECOND,
    Layout,
    fits,
    map_size,
    to_channels,
    to_maps,
)
from viztool.tensors.size import Size, in_proportion
from viztool.tensors.tokens import Placed, order_after, pooled
from viztool.tensors.tree import tensors_in
from viztool.tensors.views import Fact, of_view


class Picture(NamedTuple):
    """The input of a forward: how many pictures, and (H, W) of each."""

    batch: int
    size: Size


@dataclass
class _Frame:
    """A layer that runs: what it was given, and what the layers in it have put out so far."""

    name: str
    given: list[tuple[Tensor, Layout | None]]
    inside: list[Fact] = field(default_factory=list)


class Layouts:
    """What is known of the layout of each layer's output, from the forward that has run last.

    Tell it when each layer starts and ends. The kind of a layer decides first: a convolution has its
    channels second, a linear layer last, if those of its input are. A layer that gives back what it was given, or
    a view of it, or what the last layer inside put out, has the layout of that; one that adds to it (a residual
    block) has it too. Only where nothing of the sort is known does the shape decide (`Layout` is None), and
    then an axis that is as long as there are tokens is no side of a map: so are attention's own tensors.

    Windows and blocks of tokens have no map. What a layer without weights does to the order of tokens (Hiera's
    unrolling) is asked of the layer itself, and undone.
    """

    def __init__(self, named: Mapping[str, nn.Module]) -> None:
        first: dict[int, str] = {}
        self._watched = {name: first.setdefault(id(module), name) for name, module in named.items()}
        self.picture: Picture | None = None
        self.whole = False
        """Whether a forward has run to its end, so that what it did not run is known, too."""
        self._found: dict[str, Layout | None] = {}
        self._begin()

    def _begin(self) -> None:
        self._frames: list[_Frame] = [_Frame("", [])]
        # By the address of its memory, which a weak reference keeps from being given to another one.
        self._facts: dict[int, tuple[StorageWeakRef, list[Fact]]] = {}
        self._sides: list[Size] = []
        self._tokens: set[int] = set()
        self._placed: dict[int, Placed] = {}

    def enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        with torch._C.DisableTorchFunction():  # what looks on at the functions of a forward need not see these
            if name == "":
                self._begin()
                self._note_picture(args, kwargs)
            given = [(tensor, self.of_tensor(tensor)) for tensor in tensors_in((*args, *kwargs.values()))]
            self._frames.append(_Frame(name, given))

    def exit(self, name: str, module: nn.Module, output: Any) -> None:
        """The layer has ended; of an output of several tensors the first counts."""
        frame = self._frames.pop()
        while frame.name != name:  # a layer that raised, in a network that went on without it
            lost = frame.inside
            frame = self._frames.pop()
            frame.inside += lost
        with torch._C.DisableTorchFunction():
            inside = [output] if isinstance(output, Tensor) else list(tensors_in(output))
            if len(inside) == 1:  # alone, or beside what is no tensor, such as the sides of the map
                layout = self._judge(module, frame, inside[0])
                self._note(inside[0], layout)
            else:
                layout = self._of_first(inside[0]) if inside else None
        self._found[name] = layout
        self.whole = self.whole or name == ""

    def replace(self, output: Any, onward: Any) -> None:
        """The network goes on with `onward` in place of the output of a layer that has ended."""
        for before, after in zip(tensors_in(output), tensors_in(onward), strict=True):
            layout = self.of_tensor(before)
            if layout is not None:
                self._remember(after, layout)

    def of(self, layer: str) -> Layout | None:
        """The layout of the layer's last output; None if only its shape tells."""
        return self._found.get(self._watched[layer])

    def have(self, layers: Iterable[str]) -> bool:
        """Whether all of these have run."""
        return all(self._watched[layer] in self._found for layer in layers)

    def of_tensor(self, tensor: Tensor) -> Layout | None:
        """The layout of what a layer put out, or of a view of it, while the forward runs."""
        if tensor.layout is not torch.strided or tensor.is_nested:
            return None
        _, facts = self._facts.get(tensor.untyped_storage()._cdata, (None, []))
        shape, stride = tuple(tensor.shape), tensor.stride()
        for fact in reversed(facts):
            if fact.shape == shape and fact.stride == stride:
                return fact.layout
        views = (of_view(fact, shape, stride) for fact in reversed(facts))
        return next((layout for layout in views if layout is not None), None)

    def stage_size(self, layer: str, output: Any, *, stretched: bool = False) -> Size | None:
        """(H, W) of the maps that the layer has just put out, or None if it holds none in the picture's proportions.

        stretched: also of maps in other proportions, where it is known that they are maps.
        """
        if isinstance(output, tuple) and len(inside := list(tensors_in(output))) == 1:
            output = inside[0]
        layout = self.of(layer)
        size = self.map_size(output, layout) if isinstance(output, Tensor) else None
        if size is None or self._in_proportion(size):
            return size
        return size if stretched and layout is not None and output.dim() == 4 else None

    def maps(self, layer: str, tensor: Tensor) -> Tensor:
        """What the layer puts out for any number of images, or a gradient at it, as maps (n, C, h, w).

        Raises LayerError if it holds none.
        """
        return _required(layer, self.find(layer, tensor))

    def find(self, layer: str, tensor: Tensor) -> Tensor | None:
        """As `maps`, but None if it holds none."""
        return None if self.picture is None else to_maps(tensor, len(tensor), self.picture.size, self.of(layer))

    def channels(self, layer: str, tensor: Tensor) -> Tensor:
        """As `maps`, but in the memory of the tensor: what is written to a whole channel is written to it."""
        maps = None if self.picture is None else to_channels(tensor, len(tensor), self.picture.size, self.of(layer))
        return _required(layer, maps)

    def settle(self) -> None:
        """The forward has ended: let go of all but what was found."""
        self._begin()

    def map_size(self, tensor: Tensor, layout: Layout | None) -> Size | None:
        """(H, W) of the maps in a tensor of this layout, or None."""
        if self.picture is None or tensor.dim() == 0:
            return None
        return map_size(tuple(tensor.shape), len(tensor), self.picture.size, layout)

    def _note_picture(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """The first pictures tell maps from other outputs."""
        listed = bool(args) and isinstance(args[0], list | tuple)
        picture = next((tensor for tensor in tensors_in((args, kwargs)) if tensor.dim() >= (3 if listed else 4)), None)
        if picture is not None:
            # A detection network takes pictures (C, H, W) in a list, and makes a batch of them itself.
            batch = picture.shape[0] if picture.dim() >= 4 else len(args[0])
            self.picture = Picture(batch, (picture.shape[-2], picture.shape[-1]))
            if picture.dim() == 4:
                self._remember(picture, SECOND)

    def _note(self, output: Tensor, layout: Layout | None) -> None:
        if layout is None:
            return
        fact = self._remember(output, layout)
        if fact is not None:
            self._frames[-1].inside.append(fact)
        if layout.channels is None:
            return
        sides = self.map_size(output, layout)
        if output.dim() == 4 and sides is not None and sides not in self._sides:
            self._sides.append(sides)
        elif output.dim() == 3:
            self._tokens.add(output.shape[1 if layout.channels == -1 else 2])

    def _remember(self, tensor: Tensor, layout: Layout) -> Fact | None:
        if tensor.layout is not torch.strided or tensor.is_nested:
            return None
        fact = Fact(tuple(tensor.shape), tensor.stride(), layout)
        storage = tensor.untyped_storage()
        self._facts.setdefault(storage._cdata, (StorageWeakRef(storage), []))[1].append(fact)
        return fact

    def _judge(self, module: nn.Module, frame: _Frame, output: Tensor) -> Layout | None:
        if self.picture is None or output.dim() not in (3, 4):
            return None
        if output.shape[0] != self.picture.batch:
            return NO_MAP
        layout = self.of_tensor(output)
        if layout is None:
            layout = (
                self._by_kind(module, frame, output)
                or self._reordered(module, frame, output)
                or self._by_what_ran(frame, output)
            )
        if layout is None and output.dim() == 4:
            return self._by_known_sides(output) or (NO_MAP if self._of_attention(module, output) else None)
        if layout is None:
            known = self._grid(output.shape[1]) is not None and self._grid(output.shape[2]) is None
            layout = LAST if known else None
        if layout is None:
            return None
        return self._with_tokens(layout, output) if output.dim() == 3 else layout

    def _of_first(self, output: Tensor) -> Layout | None:
        """Of several tensors: rows or columns that an LSTM took for its batch are no maps."""
        other = self.picture is not None and output.dim() in (3, 4) and output.shape[0] != self.picture.batch
        return NO_MAP if other else self.of_tensor(output)

    def _by_kind(self, module: nn.Module, frame: _Frame, output: Tensor) -> Layout | None:
        given = frame.given[0][1] if frame.given else None
        if isinstance(module, nn.Softmax | nn.LogSoftmax | nn.Softmin):
            over = (module.dim if module.dim is not None else 1) % output.dim()
            channels = 1 if given is None or given.channels is None else given.channels % output.dim()
            return given or SECOND if over == channels and output.dim() == 4 else NO_MAP
        kind = of_kind(module)
        if kind is SECOND and output.dim() == 3:
            return Layout(1)
        if kind is SECOND:
            sides = (output.shape[2], output.shape[3])
            if given is not None or sides in self._sides:
                return SECOND
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or self._in_proportion(sides):
                return NO_MAP if self._count_places(sides) else SECOND
            return NO_MAP
        if kind is LAST:
            if given is not None:
                # What was no channel, such as the tokens that an MLP mixes, is none now.
                return given if given.channels == -1 else NO_MAP
            if output.dim() == 3:
                return NO_MAP if self._mixes_places(frame) else LAST
            sides = (output.shape[1], output.shape[2])
            return LAST if sides in self._sides or fits(sides, self._size) else NO_MAP
        return None

    def _by_what_ran(self, frame: _Frame, output: Tensor) -> Layout | None:
        """Of a layer that puts out something new: the layout of what it was given, or was made inside, in this form."""
        shape = tuple(output.shape)
        given = [(tuple(tensor.shape), layout) for tensor, layout in frame.given if layout is not None]
        made = [(fact.shape, fact.layout) for fact in reversed(frame.inside)]
        for form, layout in given + made:
            if form == shape:
                return layout
        for form, layout in made + given:
            if len(form) == len(shape) and layout.channels is not None:
                channels = layout.channels % len(form)
                if all(form[axis] == shape[axis] for axis in range(len(form)) if axis != channels):
                    return layout
        # Made smaller or larger by a function.
        four = [(form, layout) for form, layout in made + given if len(form) == len(shape) == 4]
        if not four or four[0][1] is not SECOND:
            return None
        sides = (shape[2], shape[3])
        pooled = four[0][0][1] == shape[1] and not self._count_places(sides)
        return SECOND if pooled or self._in_proportion(sides) else None

    def _reordered(self, module: nn.Module, frame: _Frame, output: Tensor) -> Layout | None:
        """Tokens that a layer without weights has put in another order."""
        if output.dim() != 3 or next(chain(module.children(), module.parameters(), module.buffers()), None) is not None:
            return None
        if type(module).__module__.startswith("torch.") or len(frame.given) != 1:
            return None
        tensor, layout = frame.given[0]
        if tensor.shape != output.shape or tensor is output or (layout is not None and layout.channels != -1):
            return None
        count = output.shape[1]
        order, grid = order_after(module, count), self._sides_of(count)
        if order is None or grid is None or grid[0] * grid[1] != count:
            return None if order is None else NO_MAP
        self._placed = {count: Placed(grid, order)}
        return LAST

    def _with_tokens(self, layout: Layout, output: Tensor) -> Layout:
        """The layout with the grid and the order of so many tokens."""
        if layout.channels is None:
            return layout
        count = output.shape[1 if layout.channels == -1 else 2]
        if not self._placed:
            return Layout(layout.channels, self._grid(count))
        if count not in self._placed:
            found = next((small for known in self._placed.values() if (small := pooled(known, count))), None)
            if found is None:
                return NO_MAP
            self._placed[count] = found
        placed = self._placed[count]
        return Layout(layout.channels, placed.grid, None if placed.row_by_row else placed.order)

    def _grid(self, count: int) -> Size | None:
        """The sides of the latest maps that are so many tokens, or as many but for class tokens and registers."""
        over = [(count - h * w, (h, w)) for h, w in reversed(self._sides)]
        return min((each for each in over if 0 <= each[0] <= MOST_PREFIX_TOKENS), default=(0, None), key=_first)[1]

    def _sides_of(self, count: int) -> Size | None:
        return self._grid(count) or map_size((1, count, 1), 1, self._size)

    def _by_known_sides(self, output: Tensor) -> Layout | None:
        """The layout of a tensor that a function made, if only one reading of it has the sides of maps before it."""
        second, last = tuple(output.shape[2:]) in self._sides, tuple(output.shape[1:3]) in self._sides
        return None if second == last else SECOND if second else LAST

    def _of_attention(self, module: nn.Module, output: Tensor) -> bool:
        """Whether a tensor of unknown origin is of heads and tokens, such as the weights that attention drops."""
        sides = (output.shape[2], output.shape[3])
        if sides in self._sides or tuple(output.shape[1:3]) in self._sides:
            return False
        tokens = sides[0] in self._tokens or sides[1] in self._tokens or self._count_places(sides)
        return tokens or isinstance(module, nn.Dropout) or self._of_places_around(sides)

    def _of_places_around(self, sides: Size) -> bool:
        """Whether one axis counts the places of a map that a layer which runs was given, and the other is no side."""
        given = (tensor for frame in self._frames[1:] for tensor, layout in frame.given if layout is SECOND)
        maps = (tuple(tensor.shape[2:]) for tensor in given if tensor.dim() == 4)
        return any(h * w in sides and sides[0] * w != sides[1] * h for h, w in maps)

    def _mixes_places(self, frame: _Frame) -> bool:
        """Whether a linear layer is given tokens that were transposed, so that their places are its last axis."""
        shape = tuple(frame.given[0][0].shape) if frame.given else ()
        return len(shape) == 3 and self._grid(shape[1]) is None and self._grid(shape[2]) is not None

    def _count_places(self, sides: Size) -> bool:
        """Whether both axes are as long as there are places in a map: weights from places to places."""
        counts = {h * w for h, w in self._sides} | self._tokens
        return sides[0] in counts and sides[1] in counts

    @property
    def _size(self) -> Size:
        assert self.picture is not None
        return self.picture.size

    def _in_proportion(self, sides: Size) -> bool:
        return in_proportion(sides, self._size)


def _first(each: tuple[int, Size | None]) -> int:
    return each[0]


def _required(layer: str, maps: Tensor | None) -> Tensor:
    if maps is None:
        raise LayerError(
            f"layer {layer!r} puts out no maps (channels of height × width); "
            "choose a layer before the network flattens them"
        )
    return maps
