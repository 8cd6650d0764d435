"""Random networks: which blocks, with which numbers. The same seed gives the same network."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fuzzing.blocks import (
    Act,
    Block,
    ChannelsLast,
    Concat,
    Conv,
    DictSkip,
    Gated,
    Head,
    Layout,
    MaxPool,
    Network,
    Residual,
    Resize,
    Scribble,
    Split,
    Tokens,
    Twice,
)
from fuzzing.rules import STRAIGHT
from fuzzing.twin import twin

Mode = Literal["zeros", "replicate", "reflect"]

MOST_CHANNELS = 14
SIDES = (3, 26)
"""Of maps between blocks: smaller ones say little, larger ones cost."""


@dataclass
class Case:
    """A network, an input, and what is known of them.

    traits: words by which the checks choose. target: a class for each image.
    """

    seed: int
    net: Network
    x: Tensor
    traits: set[str]
    words: list[str]
    target: list[int]
    rng: random.Random = field(repr=False)

    def score(self, output: object) -> Tensor:
        """(N,): the score of each image's class."""
        scores = output["logits"] if isinstance(output, dict) else output
        assert isinstance(scores, Tensor)
        return scores[range(len(scores)), self.target]

    def score_of(self, output: object, label: int) -> Tensor:
        """The first image's score of a class."""
        scores = output["logits"] if isinstance(output, dict) else output
        assert isinstance(scores, Tensor)
        return scores[0, label]

    @property
    def precise(self) -> bool:
        return self.x.dtype == torch.float64

    def layouts(self) -> dict[str, Layout]:
        """Of the layers that hold maps in another form than (N, C, h, w)."""
        found: dict[str, Layout] = {}
        for name, module in self.net.named_modules(remove_duplicate=False):
            if isinstance(module, Block):
                own = module.layouts()
                found.update({f"{name}.{inner}": layout for inner, layout in own.items()})
                for inner, layout in own.items():  # an activation holds a module
                    for deeper, _ in module.get_submodule(inner).named_modules():
                        if deeper and isinstance(module.get_submodule(inner), Act):
                            found[f"{name}.{inner}.{deeper}"] = layout
        return found


def make(seed: int) -> Case:
    """The network of this seed."""
    return _Maker(seed).case()


class _Maker:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.seed = seed
        self.traits: set[str] = set()
        self.straight = self.rng.random() < 0.35
        self.biases = self.rng.random() < 0.8
        if self.straight:
            self.traits.add("straight")
        if not self.biases:
            self.traits.add("no biases")

    def case(self) -> Case:
        rng = self.rng
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            batch, channels = rng.choice([1, 1, 2, 3]), rng.choice([1, 2, 3, 3, 3, 4])
            x = torch.randn(batch, channels, rng.randint(9, 24), rng.randint(9, 24))
            blocks: list[nn.Module] = []
            words: list[str] = []
            here = x.double()
            while len(blocks) < rng.choice([3, 4, 5, 6]):
                before = set(self.traits)
                word, make = rng.choice(self._grammar() if blocks else self._grammar()[:1])
                try:
                    block = make(here.shape[1], (here.shape[2], here.shape[3])).double()
                    there = self._tried([*blocks, block], x.double())
                except (RuntimeError, ValueError):
                    self.traits = before
                    continue
                blocks.append(block)
                words.append(word)
                here = there
            classes = rng.choice([1, 3, 5, 7])
            way = rng.choice(["mean", "module", "grid", "flat", "max", "convolution", "dict"])
            way = "mean" if self.straight and way in ("max", "dict") else way
            sides = (here.shape[2], here.shape[3])
            start = rng.choice(["", "", "in place", "view"])
            start = "" if self.straight else start
            net = Network(start, blocks, Head(way, here.shape[1], sides, classes, self.biases))
            words = [f"start {start}" if start else "", *words, f"head {way}"]
            _settle(net)
            if rng.random() < 0.75:
                net, x = net.double(), x.double()
            else:
                net = net.float()
            net.train(training := rng.random() < 0.25 and self._trains(net, x))
            if training:
                self.traits.add("training")
            for index, parameter in enumerate(net.parameters()):
                if rng.random() < 0.1:
                    parameter.requires_grad_(False)
                elif index % 3 == 0:
                    parameter.grad = torch.randn_like(parameter)
            if rng.random() < 0.2:
                x = x.contiguous(memory_format=torch.channels_last)
        target = [rng.randrange(classes) for _ in range(batch)]
        return Case(self.seed, net, x, self.traits, [word for word in words if word], target, rng)

    def _tried(self, blocks: list[nn.Module], x: Tensor) -> Tensor:
        """What the blocks put out, if they run forwards and backwards, in place or not, to maps of a fair size."""
        whole = nn.Sequential(*blocks).eval()
        start = x.clone().requires_grad_()
        with torch.enable_grad():
            there: Tensor = whole(start.clone())
            there.sum().backward()
        whole.zero_grad()
        with torch.no_grad():
            plain = twin(whole)(x.clone())
        if not torch.allclose(plain, there):
            raise AssertionError(f"seed {self.seed}: a block of the grammar is not the same out of place")
        low, high = SIDES
        fits = all(low <= side <= high for side in there.shape[2:]) and there.shape[1] <= MOST_CHANNELS
        if not fits or not bool(there.isfinite().all()) or float(there.detach().std()) < 1e-3:
            raise ValueError("of no fair size")
        return there.detach()

    @staticmethod
    def _trains(net: nn.Module, x: Tensor) -> bool:
        try:
            twin(net).train()(x.clone())
        except (RuntimeError, ValueError):
            return False
        return True

    def _grammar(self) -> list[tuple[str, Callable[[int, tuple[int, int]], nn.Module]]]:
        words: list[tuple[str, Callable[[int, tuple[int, int]], nn.Module]]] = [
            ("convolution", self.convolution),
            ("convolution", self.convolution),
            ("convolution", self.convolution),
            ("residual", self.residual),
            ("residual", self.residual),
            ("concat", self.concat),
            ("shared", self.shared),
            ("transposed", self.transposed),
            ("upsampling", self.upsampling),
            ("pooling", self.pooling),
            ("pooling", self.pooling),
            ("in place", lambda width, sides: Scribble(self.rng.choice(["channel", "row", "view"]))),
            ("split", self.split),
            ("dict", self.dict_skip),
            ("parametrized", self.parametrized),
            ("dropout", self.dropout),
        ]
        if not self.straight:
            words += [
                ("gated", self.gated),
                ("channels last", self.channels_last),
                ("tokens", self.tokens),
            ]
        return words

    def act(self) -> Act:
        rng = self.rng
        kinds = sorted(STRAIGHT) if self.straight else ["relu", "relu", "relu6", "leaky", "silu", "gelu", "tanh", "elu"]
        kinds = kinds if self.straight else [*kinds, "hardswish", "sigmoid"]
        return Act(rng.choice(kinds), rng.choice(["module", "module in place", "in place", "method", "clamp"]))

    def norm(self, width: int) -> nn.Module | None:
        rng = self.rng
        if not self.biases:
            return None
        kind = rng.choice(["batch", "batch", "none", "group", "instance"])
        if self.straight and kind in ("group", "instance"):
            kind = "batch"
        if kind == "batch":
            return nn.BatchNorm2d(width, affine=rng.random() < 0.8)
        if kind == "group" and width % 2 == 0:
            self.traits.add("norm over positions")
            return nn.GroupNorm(2, width)
        if kind == "instance":
            self.traits.add("norm over positions")
            return nn.InstanceNorm2d(width, affine=True)
        return None

    def convolve(self, width: int, to: int | None = None, same: bool = False) -> nn.Conv2d:
        rng = self.rng
        to = to or rng.choice([2, 4, 5, 6, 8])
        groups = rng.choice([group for group in (1, 1, 2, width) if width % group == 0 and to % group == 0])
        kernel = (rng.choice([1, 2, 3, 3, 5]), rng.choice([1, 2, 3, 3, 5]))
        modes: list[Mode] = ["zeros", "zeros", "zeros", "replicate", "reflect"]
        if same:
            kernel = (kernel[0] | 1, kernel[1] | 1)
            return nn.Conv2d(width, to, kernel, padding="same", groups=groups, bias=self.biases)
        return nn.Conv2d(
            width,
            to,
            kernel,
            stride=(rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2])),
            padding=(rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2)),
            dilation=(rng.choice([1, 1, 2]), rng.choice([1, 1, 3])),
            groups=groups,
            bias=self.biases and rng.random() < 0.7,
            padding_mode=self._noted(rng.choice(modes)),
        )

    def _noted(self, mode: Mode) -> Mode:
        if mode == "reflect":
            self.traits.add("reflection")
        return mode

    def convolution(self, width: int, sides: tuple[int, int]) -> nn.Module:
        conv = self.convolve(width)
        return Conv(conv, self.norm(conv.out_channels), self.act() if self.rng.random() < 0.8 else None)

    def _same(self, width: int, to: int | None = None) -> Conv:
        conv = self.convolve(width, to or width, same=True)
        return Conv(conv, self.norm(conv.out_channels), self.act() if self.rng.random() < 0.5 else None)

    def residual(self, width: int, sides: tuple[int, int]) -> nn.Module:
        way = self.rng.choice(["plain", "onto the skip", "onto the sum", "activated skip"])
        return Residual(self._same(width), self.act(), way)

    def concat(self, width: int, sides: tuple[int, int]) -> nn.Module:
        branches = [self._same(width, self.rng.choice([2, 3])) for _ in range(self.rng.choice([1, 2, 2]))]
        return Concat(*branches, keeps=self.rng.random() < 0.5)

    def shared(self, width: int, sides: tuple[int, int]) -> nn.Module:
        self.traits.add("shared")
        return Twice(self._same(width), self.rng.choice([2, 3]))

    def transposed(self, width: int, sides: tuple[int, int]) -> nn.Module:
        rng = self.rng
        self.traits.add("upsampling")
        stride = rng.choice([1, 2])
        kernel = rng.choice([2, 3, 4])
        conv = nn.ConvTranspose2d(
            width,
            rng.choice([2, 4]),
            kernel,
            stride,
            padding=rng.randint(0, kernel // 2),
            bias=self.biases,
            output_padding=rng.randint(0, stride - 1),
            groups=rng.choice([1, 2]) if width % 2 == 0 else 1,
        )
        return Conv(conv, None, self.act())

    def upsampling(self, width: int, sides: tuple[int, int]) -> nn.Module:
        self.traits.add("upsampling")
        mode = self.rng.choice(["nearest", "bilinear"])
        return Resize(mode) if self.rng.random() < 0.5 else nn.Upsample(scale_factor=2, mode=mode)

    def pooling(self, width: int, sides: tuple[int, int]) -> nn.Module:
        rng = self.rng
        kernel = rng.choice([2, 3])
        stride, padding, ceil = rng.choice([1, 2, 2]), rng.randint(0, kernel // 2), rng.random() < 0.4
        kind = rng.choice(["max", "max function", "mean", "adaptive"])
        if kind == "max":
            return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil)
        if kind == "max function":
            return MaxPool(kernel, stride, padding, rng.choice([1, 1, 2]), ceil)
        if kind == "mean":
            return nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil)
        self.traits.add("adaptive")
        return nn.AdaptiveAvgPool2d((max(3, sides[0] // 2), max(3, sides[1] // 2)))

    def split(self, width: int, sides: tuple[int, int]) -> nn.Module:
        if width % 2:
            raise ValueError("no halves")
        return Split(self._same(width // 2))

    def dict_skip(self, width: int, sides: tuple[int, int]) -> nn.Module:
        self.traits.add("dict")
        return DictSkip(self._same(width))

    def parametrized(self, width: int, sides: tuple[int, int]) -> nn.Module:
        self.traits.add("parametrized")
        conv = self.convolve(width, same=True)
        ways: list[Callable[[nn.Module], Any]] = [parametrizations.weight_norm, parametrizations.spectral_norm]
        wrap = self.rng.choice(ways)
        wrap(conv)
        conv.eval()
        return Conv(conv, None, self.act())

    def dropout(self, width: int, sides: tuple[int, int]) -> nn.Module:
        return nn.Dropout(0.3, inplace=self.rng.random() < 0.5) if self.rng.random() < 0.5 else nn.Dropout2d(0.3)

    def gated(self, width: int, sides: tuple[int, int]) -> nn.Module:
        self.traits.add("gated")
        return Gated(width, self.rng.choice(["in place", "product"]))

    def channels_last(self, width: int, sides: tuple[int, int]) -> nn.Module:
        return ChannelsLast(width, self.act(), sides)

    def tokens(self, width: int, sides: tuple[int, int]) -> nn.Module:
        if sides[0] * sides[1] > 150:
            raise ValueError("too many")
        self.traits.add("attention")
        return Tokens(width, self.act(), sides, self.rng.choice([0, 0, 1, 2]))


def _settle(net: nn.Module) -> None:
    """Norms as after a training: fresh ones change nothing."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
        if (
            isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | nn.InstanceNorm2d | nn.LayerNorm)
            and layer.weight is not None
        ):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, 0, 0.3)
