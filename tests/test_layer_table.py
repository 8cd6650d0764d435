"""The layer table: shapes, parameters, multiply-adds, the order of the rows, and a network left alone."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from viztool import layer_table, load_model, wrap_model
from viztool.errors import ModelError
from viztool.inspect import LayerTable, ReceptiveField

PICTURE = (1, 3, 224, 224)


def on_meta(build, shape=PICTURE, **options):
    with torch.device("meta"):
        return layer_table(build(weights=None, **options), torch.zeros(shape))


def rows_of(table):
    return {row.name: row for row in table.rows}


@pytest.mark.parametrize(
    ("build", "weights"),
    [
        (models.alexnet, models.AlexNet_Weights.IMAGENET1K_V1),
        (models.resnet50, models.ResNet50_Weights.IMAGENET1K_V2),
        (models.densenet121, models.DenseNet121_Weights.IMAGENET1K_V1),
        (models.mobilenet_v3_small, models.MobileNet_V3_Small_Weights.IMAGENET1K_V1),
        (models.convnext_tiny, models.ConvNeXt_Tiny_Weights.IMAGENET1K_V1),
        (models.vit_b_16, models.ViT_B_16_Weights.IMAGENET1K_V1),
        (models.swin_t, models.Swin_T_Weights.IMAGENET1K_V1),
    ],
)
def test_totals_are_those_published_with_the_weights(build, weights):
    table = on_meta(build)
    assert table.parameters == weights.meta["num_params"]
    assert round(table.macs / 1e9, 3) == weights.meta["_ops"]


def test_figures():
    assert f"{on_meta(models.resnet50).macs / 1e9:.2f}" == "4.09"
    assert f"{on_meta(models.vit_b_16).macs / 1e9:.1f}" == "17.6"


def test_attention_is_counted_on_the_device_of_the_network_too():
    """Not on meta: the fused path of attention is there, and its products would not be seen."""
    net = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    tokens, dim = 10, 16
    products = 4 * tokens * dim * dim + 2 * tokens * tokens * dim + 2 * tokens * dim * 32
    assert layer_table(net, torch.rand(1, tokens, dim)).macs == products


def test_each_layer_against_the_formulas():
    net = models.resnet18(weights=None)
    shapes = {}
    with torch.no_grad():
        for name, module in net.named_modules():

            def note(module, args, output, name=name):
                shapes[name] = tuple(output.shape)

            module.register_forward_hook(note)
        net.eval()(torch.zeros(2, 3, 64, 96))
    table = layer_table(models.resnet18(weights=None), torch.zeros(2, 3, 64, 96))
    rows = rows_of(table)
    assert list(rows) == [name for name, _ in net.named_modules() if name]
    for name, module in net.named_modules():
        if not name:
            continue
        row = rows[name]
        assert row.output_shape == shapes[name]
        assert row.type == type(module).__name__
        assert row.parameters == sum(parameter.numel() for parameter in module.parameters())
        assert row.is_leaf == (not list(module.children()))
        assert row.depth == len(name.split("."))
        if isinstance(module, nn.Conv2d):
            batch, out, height, width = shapes[name]
            assert row.macs == batch * out * height * width * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            assert row.macs == 2 * module.weight.numel()
        elif row.is_leaf:
            assert row.macs == 0
    inner = [row for row in table.rows if row.is_leaf]
    assert sum(row.macs for row in inner) == table.macs
    assert sum(row.parameters for row in inner) == table.parameters
    assert rows["layer3"].macs == sum(row.macs for row in inner if row.name.startswith("layer3."))
    assert rows["layer1.0.relu"].calls == 2


class OutOfOrder(nn.Module):
    """Defined in another order than it runs, with layers that never do."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(4, 2, 1)
        self.unused = nn.Linear(7, 7)
        self.branches = nn.ModuleList([nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)])
        self.relu = nn.ReLU()
        self.again = self.branches[0]

    def forward(self, x):
        x = self.relu(self.again(x))
        return {"maps": [self.last(self.relu(self.branches[1](x)))], "count": 3}


def test_rows_stand_in_the_order_in_which_layers_first_run():
    net = OutOfOrder()
    table = layer_table(net, torch.zeros(1, 3, 8, 8))
    assert [(row.name, row.calls) for row in table.rows] == [
        ("branches", 0),
        ("branches.0", 1),
        ("branches.1", 1),
        ("relu", 2),
        ("last", 1),
        ("unused", 0),
    ]
    rows = rows_of(table)
    assert (rows["unused"].output_shape, rows["unused"].receptive_field, rows["unused"].macs) == (None, None, 0)
    assert rows["unused"].parameters == 56
    assert rows["branches"].macs == rows["branches.0"].macs + rows["branches.1"].macs == 64 * (12 + 144)
    assert table.macs == 64 * (12 + 144 + 8)


def test_layers_without_a_call_keep_their_place():
    table = layer_table(models.googlenet(weights=None, init_weights=False), torch.zeros(1, 3, 64, 64), depth=1)
    assert [(row.name, row.calls) for row in table.rows[-6:]] == [
        ("inception5b", 1),
        ("aux1", 0),
        ("aux2", 0),
        ("avgpool", 1),
        ("dropout", 1),
        ("fc", 1),
    ]


def test_shared_parameters_count_once():
    linear = nn.Linear(6, 6, bias=False)
    other = nn.Linear(6, 6, bias=False)
    other.weight = linear.weight
    table = layer_table(nn.Sequential(linear, nn.ReLU(), other, linear), torch.zeros(5, 6))
    assert table.parameters == 36
    assert [(row.name, row.parameters, row.calls, row.macs) for row in table.rows] == [
        ("0", 36, 2, 360),
        ("1", 0, 1, 0),
        ("2", 36, 1, 180),
    ]


class Odd(nn.Module):
    def forward(self, x):
        return None


def test_outputs_of_every_kind():
    net = nn.Sequential(nn.LSTM(4, 3), Odd())
    rows = rows_of(layer_table(net, torch.zeros(5, 2, 4)))
    assert rows["0"].output_shape == (5, 2, 3)
    assert rows["0"].receptive_field is None
    assert (rows["1"].output_shape, rows["1"].receptive_field, rows["1"].calls) == (None, None, 1)


def test_detection_networks():
    net = models.detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, min_size=96, max_size=128)
    table = layer_table(net, [torch.rand(3, 96, 128)])
    rows = rows_of(table)
    assert table.input_shape == (3, 96, 128)
    assert rows["backbone.body.layer1"].output_shape == (1, 256, 24, 32)
    assert rows["backbone.body.layer1"].receptive_field.size == (35, 35)
    assert rows["head.classification_head.cls_logits"].calls == 5
    assert table.macs == sum(row.macs for row in table.rows if row.is_leaf)


def test_depth():
    full = layer_table(models.resnet18(weights=None), torch.zeros(1, 3, 32, 32))
    for depth in (1, 2, 3):
        table = layer_table(models.resnet18(weights=None), torch.zeros(1, 3, 32, 32), depth=depth)
        assert table.rows == tuple(row for row in full.rows if row.name.count(".") < depth)
        assert (table.macs, table.parameters) == (full.macs, full.parameters)


def test_a_network_of_one_layer():
    (row,) = layer_table(nn.Conv2d(3, 5, 3), torch.zeros(1, 3, 8, 8)).rows
    assert (row.name, row.type, row.output_shape, row.macs) == ("", "Conv2d", (1, 5, 6, 6), 36 * 5 * 27)
    assert row.receptive_field == ReceptiveField((3, 3), (1, 1), (0, 0))


def test_a_model_brings_its_own_input():
    table = layer_table(load_model())
    rows = rows_of(table)
    assert table.input_shape == (1, 3, 224, 224)
    assert table.network == "tf_efficientnet_lite0"
    assert rows["blocks.2"].output_shape == (1, 40, 28, 28)
    grey = wrap_model(nn.Sequential(nn.Conv2d(1, 2, 3)), size=(20, 30), name="grey")
    assert (layer_table(grey).input_shape, layer_table(grey).network) == ((1, 1, 20, 30), "grey")
    assert layer_table(grey, torch.zeros(2, 1, 9, 9)).rows[0].output_shape == (2, 2, 7, 7)
    many = wrap_model(nn.Sequential(nn.Conv2d(7, 2, 3)).double(), size=16)
    assert layer_table(many).input_shape == (1, 7, 16, 16)


def test_a_video_model_brings_a_clip():
    table = layer_table(load_model("r3d_18", weights=None), depth=1)
    assert table.input_shape == (1, 3, 16, 112, 112)
    assert f"{table.macs / 1e9:.3f}" == "40.697"
    assert rows_of(table)["stem"].receptive_field.size == (3, 7, 7)


def test_numbers_are_the_whole_table():
    table = layer_table(OutOfOrder(), torch.zeros(1, 3, 8, 8))
    numbers = json.loads(json.dumps(table.numbers, allow_nan=False))
    assert numbers["network"] == "OutOfOrder"
    assert numbers["input_shape"] == [1, 3, 8, 8]
    assert (numbers["parameters"], numbers["macs"]) == (table.parameters, table.macs)
    assert numbers["layers"][2] == {
        "name": "branches.1",
        "type": "Conv2d",
        "depth": 2,
        "is_leaf": True,
        "calls": 1,
        "output_shape": [1, 4, 8, 8],
        "parameters": 148,
        "macs": 9216,
        "uncounted": [],
        "receptive_field": {
            "size": [3, 3],
            "stride": [1, 1],
            "offset": [-1, -1],
            "global_context": False,
            "everything": False,
        },
    }
    assert numbers["layers"][-1]["receptive_field"] is None
    assert len(numbers["layers"]) == len(table.rows)


def test_as_text():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Sequential(nn.ReLU(), nn.Flatten()))
    assert str(layer_table(net, torch.zeros(1, 3, 8, 8))).splitlines() == [
        "layer  type        output         parameters  multiply-adds  receptive field",
        "0      Conv2d      1 × 4 × 4 × 4         112          1,728  3 × 3, stride 2 × 2, from −1, −1",
        "1      Sequential  1 × 64                  0              0",
        "  0    ReLU        1 × 4 × 4 × 4           0              0  3 × 3, stride 2 × 2, from −1, −1",
        "  1    Flatten     1 × 64                  0              0",
        "total                                    112          1,728",
    ]


def test_no_layers_at_all():
    table = layer_table(nn.Sequential(nn.Identity()), torch.zeros(1, 3, 4, 4))
    assert (table.parameters, table.macs) == (0, 0)
    assert table.rows[0].receptive_field == ReceptiveField((1, 1), (1, 1), (0, 0))


class Restless(nn.Module):
    """Draws random numbers, overwrites its input, counts its calls and keeps a state."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.register_buffer("count", torch.zeros(1))
        self.register_buffer("state", torch.zeros(3), persistent=False)

    def forward(self, x):
        x.relu_()
        self.count += 1
        self.state = self.state + torch.rand(3)
        return F.relu(self.norm(self.conv(x)), inplace=True)


def everything_about(net):
    return {
        "modes": [int(module.training) for module in net.modules()],
        "buffers": {name: (buffer.clone(), id(buffer)) for name, buffer in net.named_buffers()},
        "parameters": {
            name: (parameter.clone(), parameter.grad.clone(), int(parameter.requires_grad))
            for name, parameter in net.named_parameters()
        },
        "hooks": [
            [len(table) for name, table in vars(module).items() if name.endswith("_hooks")] for module in net.modules()
        ],
        "attributes": [len(vars(module)) for module in net.modules()],
        "random": torch.get_rng_state(),
    }


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_left_as_it_was(fails):
    net = Restless()
    net.norm.eval()
    net.conv.bias.requires_grad_(False)
    for parameter in net.parameters():
        parameter.grad = torch.rand_like(parameter)
    x = torch.randn(1, 3, 8, 8)
    own, before = x.clone(), everything_about(net)
    if fails:
        with pytest.raises(ModelError):
            layer_table(net, x[:, :, :2])
    else:
        layer_table(net, x)
    torch.testing.assert_close(everything_about(net), before, rtol=0, atol=0)
    assert torch.equal(x, own)


def test_user_hooks_still_fire():
    calls = []
    net = nn.Sequential(nn.ReLU())
    net[0].register_forward_hook(lambda *_: calls.append("hook"))
    layer_table(net, torch.zeros(1, 3, 4, 4))
    assert calls == ["hook"]
    assert len(net[0]._forward_hooks) == 1


def test_no_graph_is_made():
    net = nn.Sequential(nn.Conv2d(3, 3, 3))
    seen = []
    net[0].register_forward_hook(lambda module, args, output: seen.append(output.requires_grad))
    layer_table(net, torch.zeros(1, 3, 4, 4, requires_grad=True))
    assert seen == [False]


class Lenient(nn.Module):
    """Goes on when a layer raises."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 1)
        self.broken = nn.Conv2d(5, 5, 3)
        self.conv = nn.Conv2d(3, 2, 1)

    def forward(self, x):
        x = self.first(x)
        try:
            self.broken(x)
        except RuntimeError:
            return self.conv(x)


def test_a_layer_that_raises_inside_a_network_that_goes_on():
    table = layer_table(nn.Sequential(Lenient()), torch.zeros(1, 3, 4, 4))
    assert [(row.name, row.calls, row.macs) for row in table.rows] == [
        ("0", 1, 240),
        ("0.first", 1, 144),
        ("0.broken", 0, 0),
        ("0.conv", 1, 96),
    ]


def test_wrapped_networks():
    net = models.resnet18(weights=None)
    x = torch.zeros(1, 3, 32, 32)
    assert layer_table(nn.DataParallel(net), x).rows == layer_table(net, x).rows
    copied = copy.deepcopy(net)
    copied.compile(backend="eager")
    assert layer_table(copied, x).rows == layer_table(net, x).rows


def message(*args, **options):
    with pytest.raises(ModelError) as caught:
        layer_table(*args, **options)
    return str(caught.value)


def test_errors():
    net = models.resnet18(weights=None)
    assert message(net) == (
        "a network alone does not say what it takes: pass an input too, such as torch.zeros(1, 3, 224, 224)"
    )
    assert message(net, torch.zeros(1, 4, 32, 32)).startswith(
        "ResNet cannot run on an input of the shape (1, 4, 32, 32): Given groups=1, weight of size [64, 3, 7, 7]"
    )
    assert message(nn.LazyLinear(3), torch.zeros(1, 3)) == (
        "the network has lazy layers without a shape; run it once on an input, then look at it"
    )
    assert message(3, torch.zeros(1)) == "expected a network (torch.nn.Module or viztool Model), got int"


def test_the_table_is_frozen():
    table = layer_table(nn.Sequential(nn.ReLU()), torch.zeros(1, 3, 4, 4))
    assert isinstance(table, LayerTable)
    with pytest.raises(AttributeError):
        table.macs = 3
    with pytest.raises(AttributeError):
        table.rows[0].name = "other"
