import copy
import hashlib
import io

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from viztool.errors import ModelError
from viztool.models import Model, load_model, wrap_model


def photo(height: int = 70, width: int = 90, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def small(channels: int, outputs: int = 4) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, outputs),
    )


class Grown(nn.Module):
    """A backbone inside a network, its head written before it."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(512, 5, 1)
        self.backbone = torchvision.models.resnet18(weights=None)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        return {"aux": x, "out": self.head(x)}


NETWORKS = {
    "resnet18": lambda: torchvision.models.resnet18(weights=None),
    "mobilenet_v3_small": lambda: torchvision.models.mobilenet_v3_small(weights=None),
    "timm ViT": lambda: timm.create_model("test_vit"),
    "timm, grey": lambda: timm.create_model("test_resnet", in_chans=1),
    "colour": lambda: small(3),
    "grey": lambda: small(1),
    "dense": Grown,
    "no convolution": lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 6)),
}
SIZES = {"no convolution": 32, "timm ViT": 160}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    return NETWORKS[name]()


def fingerprint(net: nn.Module) -> tuple:
    """Everything that looking at a network must not change."""
    stream = io.BytesIO()
    torch.save(net.state_dict(), stream)
    return (
        hashlib.sha256(stream.getvalue()).hexdigest(),
        [(name, module.training) for name, module in net.named_modules()],
        [(name, p.requires_grad, None if p.grad is None else p.grad.tolist()) for name, p in net.named_parameters()],
        [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks), "forward" in vars(m))
            for m in net.modules()
        ],
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_predict_is_the_softmax_of_the_network_in_evaluation_mode(name):
    net = build(name)
    model = wrap_model(net, size=SIZES.get(name, 64), output="softmax")
    answers = model.predict(photo(), top=3)
    judge = copy.deepcopy(net).eval()
    with torch.no_grad():
        output = judge(model.preprocess(photo()))
    output = output["out"].softmax(1).mean((2, 3)) if name == "dense" else output.softmax(1)
    values, indices = output[0].topk(3)
    assert [label for label, _ in answers] == [f"class {i}" for i in indices.tolist()]
    np.testing.assert_allclose([p for _, p in answers], values, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_of_the_network_changes(name):
    net = build(name).train()
    first = next(iter(net.children()))
    first.eval()  # a frozen part, as in fine-tuning
    next(net.parameters()).requires_grad_(False)
    last = list(net.parameters())[-1]
    last.grad = torch.ones_like(last)
    net.register_forward_hook(lambda *args: None)
    before = fingerprint(net)
    model = wrap_model(net, size=SIZES.get(name, 64), output="softmax")
    model.predict([photo(), photo(seed=1)])
    model.view(photo())
    with pytest.raises(ModelError):
        model.predict(photo(), top=0)
    assert fingerprint(net) == before
    assert model.net is net
    assert torch.is_grad_enabled()


def test_the_mode_comes_back_when_the_network_fails():
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            raise ValueError("no luck today\nsecond line")

    net = Broken().train()
    model = wrap_model(net, size=8, name="broken")
    with pytest.raises(ModelError) as error:
        model.predict(photo())
    assert str(error.value) == "broken cannot run on an input of the shape (1, 3, 8, 8): no luck today"
    assert net.training and net.conv.training


def test_several_photos_give_several_answers():
    model = wrap_model(small(3), size=32, classes=["a", "b", "c", "d"])
    photos = [photo(seed=i) for i in range(3)]
    singles = [model.predict(each) for each in photos]
    assert model.predict(photos) == model.predict(tuple(photos)) == model.predict(np.stack(photos)) == singles
    assert model.predict(photos[:1]) == singles[:1]
    batch = model.preprocess([*photos, photo(33, 61)])
    assert torch.equal(batch, torch.cat([model.preprocess(each) for each in [*photos, photo(33, 61)]]))


def test_photos_of_several_shapes_that_are_taken_whole():
    model = load_model("lraspp_mobilenet_v3_large", weights=None)
    with pytest.raises(ModelError) as error:
        model.preprocess([photo(), photo(90, 70)])
    assert str(error.value) == (
        "lraspp_mobilenet_v3_large takes photos in their own shape, and these have several: pass them one by one"
    )
    with pytest.raises(ModelError, match=r"^no photo was given: the list is empty$"):
        model.predict([])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_networks_precision_is_kept(dtype):
    net = small(3).eval()
    expected = dict(wrap_model(net, size=32).predict(photo()))
    model = wrap_model(copy.deepcopy(net).to(dtype), size=32)
    assert model.dtype == dtype and model.preprocess(photo()).dtype == torch.float32
    assert dict(model.predict(photo())) == pytest.approx(expected, abs=2e-2)
    assert {p.dtype for p in model.net.parameters()} == {dtype}


def test_a_network_without_parameters():
    model = wrap_model(nn.AdaptiveAvgPool2d(1), size=8, mean=0, std=1)
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    image = np.full((9, 9, 3), (51, 102, 255), dtype=np.uint8)
    (output,) = model.net(model.preprocess(image)).flatten(1)
    torch.testing.assert_close(output, torch.tensor([0.2, 0.4, 1.0]))


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager"), lambda net: nn.Sequential(net)]
)
def test_wrapped_networks_answer_like_the_bare_one(wrap):
    net = small(3)
    expected = wrap_model(net, size=32).predict(photo())
    wrapped = wrap(net)
    model = wrap_model(wrapped, size=32)
    assert model.net is wrapped
    assert model.predict(photo()) == expected


@pytest.mark.parametrize(
    ("net", "size", "channels"),
    [
        (small(3), 224, 3),
        (small(1), 224, 1),
        (small(4), 224, 4),
        (Grown(), 224, 3),
        (nn.Conv3d(1, 2, 3), 224, 1),
        (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 28, 1),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 784, 10)), 28, 3),
        (nn.Sequential(nn.LazyConv2d(4, 3)), 28, 3),
        (nn.ReLU(), 28, 3),
        (timm.create_model("test_resnet", in_chans=1), None, 1),
        (timm.create_model("tresnet_m"), None, 3),  # folds the photo's 3 channels into 48 first
    ],
)
def test_the_networks_channels(net, size, channels):
    model = wrap_model(net, size=size)
    assert model.channels == len(model.mean) == len(model.std) == channels


def test_four_channels_are_more_than_a_photo_has():
    model = wrap_model(small(4), size=32)
    message = (
        "the network takes 4 channels, and a photo gives 3, or 1 in grey: pass the network itself and an already "
        "normalised tensor (N, 4, H, W)"
    )
    for call in (model.preprocess, model.view, model.predict, lambda _: model.normalize(torch.rand(1, 3, 8, 8))):
        with pytest.raises(ModelError) as error:
            call(photo())
        assert str(error.value) == message


def test_what_is_not_given_is_assumed_and_said():
    assert wrap_model(small(3)).preprocessing == (
        "resize 224 bilinear, crop 224, mean 0.485 0.456 0.406, std 0.229 0.224 0.225 (mean and std assumed)"
    )
    assert wrap_model(small(1), size=(28, 20)).preprocessing == (
        "resize 28 × 20 bilinear, crop 28 × 20, grey, mean 0, std 1 (mean and std assumed)"
    )
    given = wrap_model(small(3), 64, (0.1, 0.2, 0.3), 0.5, classes=["a", "b"], name="mine")
    assert (given.name, given.size, given.mean, given.std) == ("mine", (64, 64), (0.1, 0.2, 0.3), (0.5,) * 3)
    assert given.classes == ("a", "b")
    assert given.preprocessing == "resize 64 bilinear, crop 64, mean 0.1 0.2 0.3, std 0.5"
    assert repr(given) == "Model(mine: as given; 2 classes; resize 64 bilinear, crop 64, mean 0.1 0.2 0.3, std 0.5)"


def test_a_timm_network_says_itself_what_it_expects():
    model = wrap_model(timm.create_model("vit_tiny_patch16_224", img_size=96))
    assert model.preprocessing == "resize 106 bicubic, crop 96, mean 0.5, std 0.5"
    assert wrap_model(timm.create_model("test_vit"), size=64).size == (64, 64)
    grey = wrap_model(timm.create_model("resnet18", in_chans=1))
    assert grey.preprocessing == "resize 235 bicubic, crop 224, grey, mean 0.449, std 0.226"


def test_the_name_is_that_of_the_networks_class():
    assert wrap_model(nn.DataParallel(small(3))).name == "Sequential"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wrap_model("resnet18"), "expected a network (torch.nn.Module or viztool Model), got str"),
        (
            lambda: wrap_model(wrap_model(small(1))),
            "expected a network, got a viztool Model: wrap its .net, or use it as it is",
        ),
        (lambda: wrap_model(small(1), mean=[0.5] * 3), "mean has 3 values, and the network takes 1 channels"),
        (lambda: wrap_model(small(3), std=-1), "std must be above 0 in every channel, got -1"),
        (lambda: wrap_model(small(3), classes=[]), "classes is empty: give one name for each output of the network"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError) as error:
        call()
    assert str(error.value) == message


def test_weights_that_are_not_numbers():
    net = small(3)
    with torch.no_grad():
        net[0].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError) as error:
        wrap_model(net, size=32).predict(photo())
    assert str(error.value) == (
        "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std"
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
@pytest.mark.parametrize("name", ["colour", "grey", "dense"])
def test_photos_of_every_shape(shape, name):
    model = wrap_model(build(name), size=64, output="softmax")
    answers = model.predict(photo(*shape))
    assert sum(p for _, p in answers) == pytest.approx(1, abs=1e-5)
    assert model.preprocess(photo(*shape)).shape[2:] == model.view(photo(*shape)).shape[:2] == (64, 64)


def test_a_grey_network_sees_grey():
    view = wrap_model(small(1), size=32).view(photo())
    assert (view == view[..., :1]).all()


def test_a_model_cannot_be_changed():
    model = wrap_model(small(3))
    with pytest.raises(AttributeError):
        model.name = "other"
    assert isinstance(model, Model)
