"""Every method keeps every rule."""

import pytest
import torch
from torch import nn

import viztool
from viztool.cam import METHODS, class_activation_map
from viztool.errors import LayerError, ModelError, TargetError, ViztoolError

NAMES = (
    *("cam", "gradcam", "gradcam++", "smoothgradcam++", "xgradcam", "hirescam", "layercam", "elementwise"),
    *("scorecam", "sscam", "iscam", "ablationcam", "eigencam", "eigengradcam", "fullgrad", "kpcacam", "fem"),
    *("shapleycam", "finercam", "random"),
)


class Linear(nn.Module):
    """Ends in global average pooling and one linear layer."""

    def __init__(self, bias=True):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5, bias=bias)

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        return self.head(self.act(self.last(x)).mean((2, 3)))


class Shared(Linear):
    """The same with one in-place ReLU at both places, an extra step in place, and a dict for an output."""

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(self.last(x))
        return {"logits": self.head((x * 1.5).mean((2, 3)))}


def linear():
    torch.manual_seed(3)
    return Linear().eval()


def shared():
    torch.manual_seed(3)
    return Shared().eval()


def transformer():
    import timm

    torch.manual_seed(3)
    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_classes=5).eval()


NETWORKS = {"linear": (linear, 16), "shared": (shared, 16), "transformer": (transformer, 64)}
NEEDS_LINEAR_HEAD = {"cam"}


def images(size, count=3):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))


def allowed(method, network):
    return not (method in NEEDS_LINEAR_HEAD and network != "linear")


CASES = [(method, network) for method in NAMES for network in NETWORKS if allowed(method, network)]


def test_the_names_are_those_of_the_contract():
    assert tuple(NAMES) == METHODS


@pytest.mark.parametrize(("method", "network"), CASES)
class TestEveryMethod:
    @pytest.fixture
    def net(self, network):
        return NETWORKS[network][0]()

    @pytest.fixture
    def x(self, network):
        return images(NETWORKS[network][1])

    def test_shape_range_and_what_it_says_of_itself(self, method, network, net, x):
        heatmap = class_activation_map(net, x, method, 2)
        assert heatmap.raw.dtype == torch.float32
        assert heatmap.raw.shape[0] == heatmap.map.shape[0] == len(x)
        assert heatmap.map.shape[1:] == x.shape[2:]
        assert heatmap.raw.isfinite().all()
        assert heatmap.map.min() >= 0
        assert heatmap.map.max() <= 1
        assert (heatmap.method, heatmap.target, heatmap.classes) == (method, ("class 2",) * 3, (2, 2, 2))
        if not heatmap.signed:
            assert (heatmap.raw >= 0).all()
        with torch.no_grad():
            output = net(x)
        scores = (output["logits"] if isinstance(output, dict) else output)[:, 2]
        torch.testing.assert_close(heatmap.score, scores)

    def test_a_batch_is_what_its_images_are(self, method, network, net, x):
        together = class_activation_map(net, x, method, [0, 1, 2]).raw
        for index in range(len(x)):
            alone = class_activation_map(net, x[index : index + 1], method, index).raw
            torch.testing.assert_close(
                together[index : index + 1], alone, rtol=1e-3, atol=1e-4 * together.abs().max().item()
            )

    def test_the_callers_mode_and_frozen_weights_change_nothing(self, method, network, net, x):
        expected = class_activation_map(net, x, method, 1, seed=4).raw
        with torch.no_grad():
            assert torch.equal(class_activation_map(net, x, method, 1, seed=4).raw, expected)
        with torch.inference_mode():
            assert torch.equal(class_activation_map(net, x * 1, method, 1, seed=4).raw, expected)
        net.requires_grad_(False)
        assert torch.equal(class_activation_map(net, x, method, 1, seed=4).raw, expected)

    def test_half_precision(self, method, network, net, x):
        heatmap = class_activation_map(net.bfloat16(), x.bfloat16(), method, 1)
        assert heatmap.raw.dtype == torch.float32
        assert heatmap.raw.isfinite().all()

    def test_the_network_is_left_alone(self, method, network, net, x):
        net.train()
        next(net.children()).eval()
        first = next(net.parameters())
        first.grad = torch.ones_like(first)
        state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        modes = [module.training for module in net.modules()]
        generator = torch.random.get_rng_state()
        class_activation_map(net, x, method, 1)
        assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())
        assert [module.training for module in net.modules()] == modes
        assert all(parameter.requires_grad for parameter in net.parameters())
        assert (first.grad == 1).all()
        assert all(parameter.grad is None for parameter in list(net.parameters())[1:])
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
        assert not any("forward" in vars(module) for module in net.modules())
        assert torch.equal(torch.random.get_rng_state(), generator)

    def test_the_same_seed_gives_the_same_map(self, method, network, net, x):
        maps = [class_activation_map(net, x, method, 1, seed=7).raw for _ in range(2)]
        assert torch.equal(*maps)


class TestErrors:
    X = images(16, 2)

    @pytest.mark.parametrize(
        ("arguments", "kind", "message"),
        [
            (("gradcam+",), ViztoolError, "no method is called 'gradcam+'; nearest: "),
            (("gradcam", 9), TargetError, "class 9 is not one of the network's 5 classes, 0 to 4"),
            (("gradcam", [1]), TargetError, "1 targets for 2 images; give one for all, or one for each"),
            (("gradcam", 1, "head"), LayerError, "layer 'head' puts out no maps (channels of height × width); choose"),
            (("gradcam", 1, "lost"), LayerError, "no layer matches 'lost'; nearest: "),
        ],
    )
    def test_exact_messages(self, arguments, kind, message):
        with pytest.raises(kind) as raised:
            class_activation_map(linear(), self.X, *arguments)
        assert str(raised.value).startswith(message)

    def test_cam_needs_its_head(self):
        with pytest.raises(ViztoolError, match="gradcam"):
            class_activation_map(transformer(), images(64), "cam", 1)

    def test_a_network_that_is_not_finite(self):
        net = linear()
        with torch.no_grad():
            net.head.weight[1] = float("nan")
        with pytest.raises(ModelError, match="not finite"):
            class_activation_map(net, self.X, "gradcam", 1)


def test_a_photo_and_a_class_by_name():
    net = linear()
    model = viztool.wrap_model(net, size=16, classes=["a", "b", "c", "d", "e"])
    photo = torch.randint(0, 256, (20, 30, 3), dtype=torch.uint8).numpy()
    heatmap = class_activation_map(model, photo, target="c", source="noise.png")
    expected = class_activation_map(net, model.preprocess(photo), target=2)
    assert torch.equal(heatmap.raw, expected.raw)
    assert heatmap.target == ("c",)
    assert heatmap.numbers["images"][0]["source"] == "noise.png"
    assert heatmap.picture().shape[1] == 1340
