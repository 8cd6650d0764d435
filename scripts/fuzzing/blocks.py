"""The words of which random networks are made. Each takes maps (N, C, h, w) and gives maps.

A block overwrites what it may (`inplace`), or, in a twin, nothing. What is computed is the same: where a block
overwrites a tensor that is used again, it says so by using the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fuzzing.rules import ACTIVATIONS, Plain

Layout = tuple[str, int, tuple[int, int]]
"""How a layer inside a block holds maps: "last" or "tokens", with so many others before them, and their sides."""


class Block(nn.Module):
    """inplace: overwrite. rule: what the operations do instead, in a twin."""

    def __init__(self) -> None:
        super().__init__()
        self.inplace = True
        self.rule: Plain | None = None

    def layouts(self) -> dict[str, Layout]:
        """Of the layers inside it that put out no (N, C, h, w)."""
        return {}


class Act(Block):
    """An activation: a module of torch's, a function, a method, each in place or not."""

    def __init__(self, kind: str, way: str) -> None:
        super().__init__()
        self.kind, self.way = kind, way
        modules: dict[str, nn.Module] = {
            "relu": nn.ReLU(inplace=way == "module in place"),
            "relu6": nn.ReLU6(inplace=way == "module in place"),
            "leaky": nn.LeakyReLU(0.1, inplace=way == "module in place"),
            "silu": nn.SiLU(inplace=way == "module in place"),
            "gelu": nn.GELU(),
            "tanh": nn.Tanh(),
            "elu": nn.ELU(inplace=way == "module in place"),
            "hardswish": nn.Hardswish(inplace=way == "module in place"),
            "sigmoid": nn.Sigmoid(),
        }
        if way.startswith("module"):
            self.layer = modules[kind]

    def forward(self, x: Tensor) -> Tensor:
        if self.way.startswith("module"):
            result: Tensor = self.layer(x)
            return result
        if self.rule is not None:
            return self.rule.act(self.kind, x)
        if self.inplace and self.way == "in place":
            if self.kind == "relu":
                return F.relu(x, inplace=True)
            if self.kind == "relu6":
                return F.relu6(x, inplace=True)
            if self.kind == "leaky":
                return F.leaky_relu(x, 0.1, inplace=True)
            if self.kind == "sigmoid":
                return x.sigmoid_()
            if self.kind == "tanh":
                return x.tanh_()
        if self.kind == "relu" and self.way == "method":
            return x.relu_() if self.inplace else x.relu()
        if self.kind == "relu":
            return x.clamp_(min=0) if self.inplace else x.clamp(min=0)
        return ACTIVATIONS[self.kind](x)


class Conv(Block):
    """A convolution, perhaps a norm, perhaps an activation."""

    def __init__(self, conv: nn.Module, norm: nn.Module | None, act: Act | None) -> None:
        super().__init__()
        self.conv = conv
        if norm is not None:
            self.norm = norm
        if act is not None:
            self.act = act

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if hasattr(self, "norm"):
            x = self.norm(x)
        return self.act(x) if hasattr(self, "act") else x


class Residual(Block):
    """x + f(x), summed in one of several ways; the activation that follows is the one inside, called again."""

    def __init__(self, body: nn.Module, act: Act, way: str) -> None:
        super().__init__()
        self.body, self.act, self.way = body, act, way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "activated skip":
            x = self.act(x)  # in place, the skip is overwritten, too
        out = self.body(x)
        if not self.inplace or self.way == "plain":
            out = out + x
        elif self.way == "onto the skip":
            out = x.add_(out)
        else:
            out += x
        result: Tensor = self.act(out)
        return result


class Concat(Block):
    """Branches side by side."""

    def __init__(self, *branches: nn.Module, keeps: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.keeps = keeps

    def forward(self, x: Tensor) -> Tensor:
        outs = [branch(x.clone() if self.inplace else x) for branch in self.branches]
        return torch.cat([x, *outs] if self.keeps else outs, 1)


class Twice(Block):
    """One module that is called several times."""

    def __init__(self, body: nn.Module, times: int) -> None:
        super().__init__()
        self.body, self.times = body, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = self.body(x)
        return x


class MaxPool(Block):
    """A maximum pooling by a function."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> None:
        super().__init__()
        self.window = (kernel, stride, padding, dilation, ceil)

    def forward(self, x: Tensor) -> Tensor:
        if self.rule is not None:
            return self.rule.max_pool(x, *self.window)
        kernel, stride, padding, dilation, ceil = self.window
        return F.max_pool2d(x, kernel, stride, padding, dilation, ceil)


class Resize(Block):
    """Upsampling by a function."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode=self.mode)


class Gated(Block):
    """Squeeze and excitation, the product perhaps in place."""

    def __init__(self, width: int, way: str) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x.mean((2, 3), keepdim=True))
        logits = self.excite(torch.relu(squeezed) if self.rule is None else self.rule.act("relu", squeezed))
        if self.rule is not None:
            return self.rule.gate(x, logits)
        gate = logits.sigmoid_() if self.inplace else logits.sigmoid()
        return x.mul_(gate) if self.inplace and self.way == "in place" else x * gate


class Scribble(Block):
    """Work in place on a part, or a view, of what came before."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        if not self.inplace:
            factor = torch.ones_like(x)
            if self.way == "channel":
                factor[:, :1] = 0.5
            elif self.way == "row":
                factor[:, :, 0] = 2.0
            else:
                factor = factor * 0.7
            return x * factor
        if self.way == "channel":
            x[:, :1].mul_(0.5)
        elif self.way == "row":
            x[:, :, 0] *= 2.0
        else:
            x.transpose(2, 3).mul_(0.7)
        return x


class Split(Block):
    """Two halves of the channels, one of them changed; what is inside puts out a tuple."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.halves = Halves()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.halves(x)
        return torch.cat([self.body(first.clone() if self.inplace else first), second], 1)


class Halves(nn.Module):
    """The two halves of the channels."""

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.chunk(2, 1)


class DictSkip(Block):
    """A skip that travels in a dict, from one layer to the next but one."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.start, self.middle, self.end = Leaves(), Within(body), Takes()

    def forward(self, x: Tensor) -> Tensor:
        state: dict[str, Tensor] = {"x": x}
        result: Tensor = self.end(self.middle(self.start(state)))
        return result


class Leaves(Block):
    """Adds the skip to the dict that it is given."""

    def forward(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        state["skip"] = state["x"] * 0.5
        return state


class Within(Block):
    """Changes one entry."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.inplace:
            state["x"] = self.body(state["x"])
            return state
        return {**state, "x": self.body(state["x"])}


class Takes(Block):
    """Uses the skip up."""

    def forward(self, state: dict[str, Tensor]) -> Tensor:
        return state["x"] + state.pop("skip")


class ChannelsLast(Block):
    """A block of ConvNeXt's: norm, linear layers and activation with the channels last."""

    def __init__(self, width: int, act: Act, sides: tuple[int, int]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.grow, self.act, self.shrink = nn.Linear(width, 2 * width), act, nn.Linear(2 * width, width)
        self.sides = sides

    def forward(self, x: Tensor) -> Tensor:
        out = x.permute(0, 2, 3, 1)
        out = self.shrink(self.act(self.grow(self.norm(out))))
        out = out.permute(0, 3, 1, 2)
        return x.add_(out) if self.inplace else x + out

    def layouts(self) -> dict[str, Layout]:
        return dict.fromkeys(("norm", "grow", "shrink", "act"), ("last", 0, self.sides))


class Tokens(Block):
    """A transformer's block on the positions as tokens, perhaps with others before them."""

    def __init__(self, width: int, act: Act, sides: tuple[int, int], prefix: int) -> None:
        super().__init__()
        self.first, self.mix = nn.LayerNorm(width), Attention(width)
        self.second = nn.LayerNorm(width)
        self.grow, self.act, self.shrink = nn.Linear(width, 2 * width), act, nn.Linear(2 * width, width)
        self.extra = nn.Parameter(torch.randn(1, prefix, width)) if prefix else None
        self.sides, self.prefix = sides, prefix

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        if self.extra is not None:
            tokens = torch.cat([self.extra.expand(n, -1, -1), tokens], 1)
        tokens = tokens + self.mix(self.first(tokens))
        tokens = tokens + self.shrink(self.act(self.grow(self.second(tokens))))
        maps: Tensor = tokens[:, self.prefix :].transpose(1, 2).reshape(n, c, h, w)
        return maps

    def layouts(self) -> dict[str, Layout]:
        names = ("first", "mix", "second", "grow", "act", "shrink")
        return dict.fromkeys(names, ("tokens", self.prefix, self.sides))


class Attention(Block):
    """One head, by torch's function."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        mixed = F.scaled_dot_product_attention(q, k, v) if self.rule is None else self.rule.attend(q, k, v)
        result: Tensor = self.proj(mixed)
        return result


class Head(Block):
    """From maps to scores; `linear` after `pool`."""

    def __init__(self, way: str, width: int, sides: tuple[int, int], classes: int, bias: bool) -> None:
        super().__init__()
        self.way = way
        inputs = width * sides[0] * sides[1] if way == "flat" else width * 4 if way == "grid" else width
        if way == "convolution":
            self.fc: nn.Module = nn.Conv2d(width, classes, 1, bias=bias)
        else:
            self.fc = nn.Linear(inputs, classes, bias=bias)
        if way in ("module", "grid"):
            self.pool = nn.AdaptiveAvgPool2d(1 if way == "module" else 2)

    def forward(self, x: Tensor) -> Any:
        if self.way == "convolution":
            return self.fc(x).mean((2, 3))
        if self.way in ("module", "grid"):
            x = self.pool(x).flatten(1)
        elif self.way == "flat":
            x = x.flatten(1)
        elif self.way == "max":
            x = x.amax((2, 3))
        else:
            x = x.mean((2, 3))
        scores = self.fc(x)
        return {"features": x, "logits": scores} if self.way == "dict" else scores


class Network(Block):
    """A beginning that may change its input in place, blocks, and a head."""

    def __init__(self, start: str, blocks: list[nn.Module], head: Head) -> None:
        super().__init__()
        self.start = start
        self.blocks = nn.Sequential(*blocks)
        self.head = head
        self.unused = nn.Conv2d(1, 1, 1)
        self.middle: Tensor
        self.register_buffer("middle", torch.tensor(0.25))

    def forward(self, x: Tensor) -> Any:
        if self.start == "in place":
            x = x.sub_(self.middle).mul_(2.0) if self.inplace else (x - self.middle) * 2.0
        elif self.start == "view":
            if self.inplace:
                x[:, 0].mul_(0.5)
            else:
                x = torch.cat([x[:, :1] * 0.5, x[:, 1:]], 1)
        return self.head(self.blocks(x))
