"""What is drawn as a map is one: the kind of a layer decides, and the spot that is brightened is where it changes."""

from __future__ import annotations

import pytest
import timm
import torch
from spot_oracle import SPOTS, captured, found, spotted
from torch import Tensor, nn
from torchvision import models

from viztool.cam import class_activation_map
from viztool.errors import LayerError
from viztool.features import feature_maps
from viztool.hooks import capture
from viztool.hooks.layout_memory import layouts_of
from viztool.hooks.tail import TailPass
from viztool.tensors.tokens import Placed, order_after, pooled

ALL = len(SPOTS)
SIZE = (64, 96)


def test_the_map_of_a_stage_has_its_sides_and_not_its_channels() -> None:
    net = models.resnet18().eval()
    x = torch.randn(1, 3, 226, 200)
    assert class_activation_map(net, x, layer="layer1").raw.shape == (1, 57, 50)
    assert TailPass(net, x, "layer1").as_maps("layer1", torch.empty(1, 64, 57, 50)).shape == (1, 64, 57, 50)
    with torch.no_grad(), capture(net, "layer1", maps=True) as acts:
        net(x)
    assert acts["layer1"].shape == (1, 64, 57, 50)


@pytest.mark.parametrize("size", [(226, 200), (250, 60), (113, 97), (64, 250)])
@pytest.mark.parametrize("build", [models.resnet18, models.mobilenet_v3_small, models.squeezenet1_1])
def test_convolutions_and_the_layers_after_them_have_their_channels_second(build, size) -> None:
    with torch.device("meta"):
        net, x = build().eval(), torch.empty(2, 3, *size)
    shapes = {}
    for name, module in net.named_modules():
        module.register_forward_hook(lambda _module, _args, output, name=name: shapes.update({name: output.shape}))
    with torch.no_grad():
        net(x)
    layers = [name for name, shape in shapes.items() if name and len(shape) == 4]
    with torch.no_grad(), capture(net, layers, maps=True) as acts:
        net(x)
    assert len(layers) > 50
    assert {name for name in layers if acts[name].shape != shapes[name]} == set()


class ChannelsLast(nn.Module):
    """Patches with their channels last, a residual block on them, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.norm = nn.LayerNorm(12)
        self.mlp = nn.Sequential(nn.Linear(12, 8), nn.GELU(), nn.Linear(8, 12))
        self.after = nn.Conv2d(12, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).permute(0, 2, 3, 1)
        x = x + self.mlp(self.norm(x))
        return self.after(x.permute(0, 3, 1, 2))


# 12 channels on maps of 8 × 12: by the shape alone (N, 12, 8, 12) and (N, 8, 12, 12) are alike.
@pytest.mark.parametrize("size", [(64, 96), (96, 64), (96, 96), (80, 96)])
def test_channels_last_are_told_by_the_kind_of_the_layer(size) -> None:
    layers = ["patches", "norm", "mlp", "mlp.0", "mlp.1", "after"]
    maps = captured(ChannelsLast(), layers, size)
    for layer in layers:
        assert maps[layer].shape[2:] == (size[0] // 8, size[1] // 8), layer
        assert found(maps[layer]) == ALL, layer


class Unroll(nn.Module):
    """Each 2 × 2 patches apart: all upper left ones first, then all upper right ones, and so on."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.last: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor:
        h, w = self.grid
        n, _, c = tokens.shape
        x = tokens.reshape(n, h // 2, 2, w // 2, 2, c).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w, c)
        self.last = x
        return x


class Unrolled(nn.Module):
    """Tokens that are unrolled, so that the maximum over 2 × 2 patches is that over four groups of tokens."""

    def __init__(self, grid: tuple[int, int]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8)
        self.unroll = Unroll(grid)
        self.norm = nn.LayerNorm(12)
        self.after = nn.Linear(12, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(self.unroll(self.patches(x).flatten(2).mT))
        pooled = tokens.view(len(x), 4, -1, 12).amax(1)
        return self.head(self.after(pooled)).mean(1)


def test_the_order_of_unrolled_tokens_is_undone() -> None:
    torch.manual_seed(0)
    net = Unrolled((8, 12))
    maps = captured(net, ["unroll", "norm", "after"], SIZE)
    assert [maps[layer].shape[2:] for layer in maps] == [(8, 12), (8, 12), (4, 6)]
    assert [found(maps[layer]) for layer in maps] == [ALL] * 3
    # Exactly: the patches of the convolution, normalised.
    with torch.no_grad():
        x = spotted(SIZE)
        expected = net.norm(net.patches(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    assert torch.equal(maps["norm"], expected)
    heat = class_activation_map(net, x[1:2], "hirescam", 0, "norm")
    assert heat.raw.shape == (1, 8, 12)


def test_a_channel_of_unrolled_tokens_is_taken_away_whole() -> None:
    torch.manual_seed(0)
    net, x = Unrolled((8, 12)).eval(), spotted(SIZE)[:1]
    raw = class_activation_map(net, x, "ablationcam", 2, "norm").raw
    with torch.no_grad():
        tokens = net.norm(net.unroll(net.patches(x).flatten(2).mT))

        def score(tokens: Tensor) -> Tensor:
            return net.head(net.after(tokens.view(1, 4, -1, 12).amax(1))).mean(1)[0, 2]

        drops = []
        for channel in range(12):
            without = tokens.clone()
            without[..., channel] = 0
            drops.append((score(tokens) - score(without)) / score(tokens))
        maps = net.norm(net.patches(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        expected = (torch.stack(drops)[None, :, None, None] * maps).sum(1).relu()
    torch.testing.assert_close(raw, expected)


def test_a_layer_that_is_asked_for_its_order_is_left_as_it_was() -> None:
    layer = Unroll((4, 6))
    order = order_after(layer, 24)
    assert layer.last is None
    assert order is not None
    assert order[:6].tolist() == [0, 2, 4, 12, 14, 16]
    assert order_after(nn.GELU(), 24) is None
    assert order_after(nn.Identity(), 24) is None
    assert order_after(Unroll((4, 5)), 24) is None


def test_tokens_pooled_in_rectangles_have_the_places_of_these() -> None:
    order = order_after(Unroll((4, 6)), 24)
    assert order is not None
    small = pooled(Placed((4, 6), order), 6)
    assert small is not None
    assert small.grid == (2, 3)
    assert small.row_by_row
    assert pooled(Placed((4, 6), torch.arange(24)), 7) is None
    assert pooled(Placed((4, 6), torch.randperm(24, generator=torch.Generator().manual_seed(0))), 6) is None


class Blocks(nn.Module):
    """As in NesT: attention's tokens in blocks (N, blocks, tokens, C), and maps again at the end of the level."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 20, 8, 8)
        self.inside = nn.Sequential(nn.LayerNorm(20), nn.Linear(20, 20), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        n, c, h, w = x.shape
        blocks = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 16, c)
        blocks = self.inside(blocks).view(n, h // 4, w // 4, 4, 4, c)
        return blocks.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def test_tokens_in_blocks_are_no_map_but_their_level_is() -> None:
    net = nn.Sequential(Blocks(), nn.ReLU())
    for layer in ("0.inside", "0.inside.0", "0.inside.1", "0.inside.2"):
        with pytest.raises(LayerError, match=rf"^layer '{layer}' puts out \(5, \d+, 16, 20\), which holds no maps"):
            captured(net, layer, (128, 192))
    for layer, maps in captured(net, ["0", "1"], (128, 192)).items():
        assert found(maps) == ALL, layer


class Attention(nn.Module):
    """Plain attention, with what it is made from as layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.query_norm = nn.LayerNorm(8)
        self.softmax, self.drop = nn.Softmax(-1), nn.Dropout()
        self.project = nn.Linear(16, 16)
        self.over_tokens = nn.Linear(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        n, t, c = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).view(n, t, 3, 2, 8).permute(2, 0, 3, 1, 4)
        weights = self.drop(self.softmax(self.query_norm(q) @ k.mT / 8))
        tokens = tokens + self.project((weights @ v).transpose(1, 2).reshape(n, t, c))
        return tokens + self.over_tokens(tokens.mT).mT


def test_attention_is_no_map_but_its_tokens_are() -> None:
    net = nn.Sequential(Attention(), nn.Identity())
    for layer in ("query_norm", "softmax", "drop", "over_tokens"):
        with pytest.raises(LayerError, match="which holds no maps"):
            captured(net, f"0.{layer}", (64, 64))
    layers = [f"0.{layer}" for layer in ("patches", "norm", "qkv", "project")] + ["0", "1"]
    maps = captured(net, layers, (64, 64))
    assert [maps[layer].shape[2:] for layer in maps] == [(8, 8)] * 6
    assert [found(maps[layer]) for layer in maps if layer != "0.project"] == [ALL] * 5


def test_class_tokens_do_not_change_the_grid_of_patches_that_overlap() -> None:
    net = timm.create_model("pit_xs_224", img_size=(192, 256)).eval()
    assert captured(net, "transformers.0.norm", (192, 256))["transformers.0.norm"].shape == (5, 96, 23, 31)


def test_a_norm_named_after_its_two_dimensions_has_its_channels_second() -> None:
    net = nn.Sequential(nn.Conv2d(3, 16, 1), timm.layers.LayerNormAct2d(16), timm.layers.LayerNorm2d(16)).eval()
    for size in [(16, 16), (16, 12), (12, 16)]:
        maps = captured(net, ["0", "1", "2"], size)
        with torch.no_grad():
            expected = [net[: index + 1](spotted(size)) for index in range(3)]
        assert all(torch.equal(maps[str(index)], expected[index]) for index in range(3))


TIMM = {
    "hiera_tiny_224": ["blocks.0", "blocks.2", "blocks.9", "blocks.11"],
    "nest_tiny": ["levels.0", "levels.1", "norm"],
    "mvitv2_tiny": ["stages.0", "stages.1", "stages.2", "norm"],
    "swinv2_cr_tiny_224": ["stages.0", "stages.1", "stages.2", "stages"],
}


@pytest.mark.parametrize("name", TIMM)
def test_the_stages_of_networks_of_tokens(name) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name).eval()
    result = feature_maps(net, spotted((224, 224)))
    assert [layer.name for layer in result[0].layers] == TIMM[name]
    for index, layer in enumerate(result[0].layers):
        maps = torch.stack([torch.from_numpy(each.layers[index].maps) for each in result])
        assert found(maps) == ALL, layer.name


class Mixed(nn.Module):
    """A functional pool to maps of other proportions, tokens of them, and a layer that is given a dictionary."""

    class Pool(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.max_pool2d(x, (3, 1))

    class Sum(nn.Module):
        def forward(self, state: dict[str, Tensor]) -> Tensor:
            return state["x"] + state["skip"]

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 22, 3, padding=1)
        self.pool = self.Pool()
        self.sum = self.Sum()
        self.branch = nn.Conv2d(22, 5, (1, 5), padding="same")
        self.norm = nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.pool(self.stem(x))
        out = self.branch(self.sum({"x": maps, "skip": maps.relu()}).clone())
        extra = out.new_zeros(len(out), 2, 5)
        return self.norm(torch.cat([extra, out.flatten(2).transpose(1, 2)], 1)).mean(1)


@pytest.mark.parametrize("size", [(12, 6), (9, 5), (18, 22)])
def test_maps_of_other_proportions_go_by_where_they_come_from(size) -> None:
    torch.manual_seed(0)
    net, x = Mixed().eval(), torch.randn(2, 3, *size)
    with torch.no_grad(), capture(net, maps=False) as own:
        net(x)
    with torch.no_grad(), capture(net, ["pool", "sum", "branch", "norm"], maps=True) as acts:
        net(x)
    for layer in ("pool", "sum", "branch"):
        assert torch.equal(acts[layer], own[layer])
    h, w = size[0] // 3, size[1]
    assert torch.equal(acts["norm"], own["norm"][:, 2:].transpose(1, 2).unflatten(2, (h, w)))


class FunctionsThenLayers(nn.Module):
    """Layers that are given what a function made: of channels that are nearly a side, and of heads and places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, 4, 1)
        self.after_sum = nn.Identity()
        self.down = nn.Conv2d(64, 48, 8, 8)
        self.mix = LinearAttention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.mix(self.down(self.after_sum(x + x.mean())))


class LinearAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        q = self.kernel(x.reshape(n, 3, 16, h * w).transpose(-1, -2))
        return (q @ (q.transpose(-1, -2) @ q)).transpose(-1, -2).reshape(x.shape)


def test_what_a_function_made_has_the_sides_of_the_maps_before_it() -> None:
    net, x = FunctionsThenLayers().eval(), torch.randn(1, 3, 226, 200)  # 64 channels beside maps of 57 × 50
    with torch.no_grad(), capture(net, ["stem", "after_sum"], maps=True) as acts:
        net(x)
    assert acts["after_sum"].shape == acts["stem"].shape == (1, 64, 57, 50)


def test_heads_of_places_are_no_map_although_their_sides_are_in_proportion() -> None:
    net, x = FunctionsThenLayers().eval(), torch.randn(1, 3, 256, 160)  # 8 × 5 places of 16: 40 by 16
    with torch.no_grad(), capture(net) as acts:
        net(x)
    assert acts["mix.kernel"].shape == (1, 3, 40, 16)
    no_maps = pytest.raises(LayerError, match=r"'mix.kernel' puts out \(1, 3, 40, 16\), which holds no maps")
    with no_maps, torch.no_grad(), capture(net, "mix.kernel", maps=True):
        net(x)
    with torch.no_grad(), capture(net, "mix", maps=True) as acts:
        net(x)
    assert acts["mix"].shape == (1, 48, 8, 5)


class ByRows(nn.Module):
    """Maps whose every row goes through an LSTM as a sequence of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 4, 4)
        self.lstm = nn.LSTM(6, 9, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x).permute(0, 2, 3, 1)
        n, h, w, c = x.shape
        return self.lstm(x.reshape(n * h, w, c))[0].reshape(n, h, w, -1).permute(0, 3, 1, 2)


def test_rows_that_an_lstm_takes_for_a_batch_are_no_maps() -> None:
    net, x = ByRows().eval(), torch.randn(2, 3, 64, 64)  # rows of 16 places are as many as a map of 4 × 4
    with torch.no_grad(), capture(net) as acts:
        net(x)
    assert layouts_of(net, x).find("lstm", acts["lstm"][0]) is None
