"""Rows about class activation maps: beside the least that they can cost, and beside other libraries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr
from copy import deepcopy
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from benchmarks.contest import Contest, NotHereError, Work, cpu_seconds, peer, row
from benchmarks.memory import peak_memory
from viztool import class_activation_map, load_model, read_image
from viztool.cam.decomposition import first_component

CLASS = 281
GRAD_CAM = "Grad-CAM, resnet50, batch 8,"
FLOOR = "its floor"
"""A forward with grad after the layer alone, of no parameter, and a backward to the layer."""

EMBEDDED = "the embedded network"
PHOTO = Path(__file__).parents[2] / "gallery" / "inputs" / "coffee.jpg"

PYTORCH_GRAD_CAM, TORCHCAM, CAPTUM = "pytorch-grad-cam", "torchcam", "captum"


@cache
def network(name: str, batch: int) -> tuple[nn.Module, Tensor]:
    """A network with random weights and pictures of noise, on which speed does not depend; or the trained one."""
    if name == EMBEDDED:
        model = load_model()
        return model.net, model.preprocess(read_image(PHOTO))
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval(), torch.rand(batch, 3, 224, 224)


def ours(method: str, name: str, batch: int, layer: str | None) -> Work:
    net, x = network(name, batch)
    return lambda: class_activation_map(net, x, method, CLASS, layer)


# Grad-CAM


def floor(name: str, batch: int, layer: str) -> Work:
    net, x = network(name, batch)
    net = deepcopy(net).requires_grad_(False)

    @contextmanager
    def start() -> Iterator[list[Tensor]]:
        kept: list[Tensor] = []

        def from_here(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
            torch.set_grad_enabled(True)
            kept.append(output.requires_grad_())
            return output

        handle = net.get_submodule(layer).register_forward_hook(from_here)
        try:
            yield kept
        finally:
            handle.remove()

    def work() -> None:
        with torch.no_grad(), start() as kept:
            torch.autograd.grad(net(x)[:, CLASS].sum(), kept[0])

    return work


def by_pytorch_grad_cam(name: str, batch: int, layer: str) -> Work:
    library = peer("pytorch_grad_cam", PYTORCH_GRAD_CAM)
    net, x = network(name, batch)
    net = deepcopy(net)
    cam = library.GradCAM(net, [net.get_submodule(layer)])
    return lambda: cam(x, of_class(batch))


def of_class(batch: int) -> list[Any]:
    """The class for each image of a batch, as pytorch-grad-cam wants it."""
    return [peer("pytorch_grad_cam.utils.model_targets", PYTORCH_GRAD_CAM).ClassifierOutputTarget(CLASS)] * batch


def by_torchcam(name: str, batch: int, layer: str) -> Work:
    library = peer("torchcam.methods", TORCHCAM)
    net, x = network(name, batch)
    net = deepcopy(net)
    cam = library.GradCAM(net, layer)
    return lambda: cam(CLASS, net(x))


def by_captum(name: str, batch: int, layer: str) -> Work:
    library = peer("captum.attr", CAPTUM)
    net, x = network(name, batch)
    net = deepcopy(net)
    cam = library.LayerGradCam(net, net.get_submodule(layer))
    return lambda: cam.attribute(x, target=CLASS, relu_attributions=True)


Theirs = Callable[[str, int, str], Work]


def grad_cam_at(layer: str) -> None:
    """The rows of Grad-CAM at one layer."""

    def against(theirs: Theirs) -> Callable[[ExitStack], Contest]:
        return lambda _: Contest(ours("gradcam", "resnet50", 8, layer), theirs("resnet50", 8, layer))

    def memory(_: ExitStack) -> Contest:
        least = floor("resnet50", 8, layer)
        note = ", ".join(
            f"{name} {peak_memory(work) / peak_memory(least):.1f} ×"
            for name, theirs in (
                (PYTORCH_GRAD_CAM, by_pytorch_grad_cam),
                (TORCHCAM, by_torchcam),
                (CAPTUM, by_captum),
            )
            if (work := installed(theirs, "resnet50", 8, layer)) is not None
        )
        return Contest(ours("gradcam", "resnet50", 8, layer), least, peak_memory, note)

    row(f"{GRAD_CAM} {layer}", FLOOR, mark=1.05, pairs=15)(against(floor))
    row(f"{GRAD_CAM} {layer}; peak memory", FLOOR, mark=1.15, pairs=1)(memory)
    mark = 2.8 if layer == "layer4" else None
    row(f"{GRAD_CAM} {layer}", PYTORCH_GRAD_CAM, figure="gain", mark=mark, pairs=7)(against(by_pytorch_grad_cam))
    row(f"{GRAD_CAM} {layer}", TORCHCAM, figure="gain", pairs=7)(against(by_torchcam))
    row(f"{GRAD_CAM} {layer}", CAPTUM, figure="gain", pairs=7)(against(by_captum))


def installed(theirs: Theirs, *arguments: Any) -> Work | None:
    try:
        return theirs(*arguments)
    except NotHereError:
        return None


grad_cam_at("layer4")
grad_cam_at("layer2")


# The other methods, one image


def quiet(work: Work) -> Work:
    """Without the progress bars that pytorch-grad-cam draws."""

    def silently() -> None:
        with redirect_stderr(StringIO()):
            work()

    return silently


def pytorch_grad_cam_of(method: str, layer: str) -> Work:
    """One of its methods on resnet18 and one image, all its options as they come."""
    library = peer("pytorch_grad_cam", PYTORCH_GRAD_CAM)
    net, x = network("resnet18", 1)
    net = deepcopy(net)
    layers = [net.get_submodule(layer)] if layer else []
    with redirect_stderr(StringIO()):
        cam = getattr(library, method)(net, layers)
    return quiet(lambda: cam(x, of_class(1)))


@row("Ablation-CAM, resnet18, layer4; CPU time", PYTORCH_GRAD_CAM, figure="gain", mark=200, pairs=2)
def ablation_cam(_: ExitStack) -> Contest:
    return Contest(
        ours("ablationcam", "resnet18", 1, "layer4"), pytorch_grad_cam_of("AblationCAM", "layer4"), cpu_seconds
    )


@row("Score-CAM, resnet18, layer4; CPU time", PYTORCH_GRAD_CAM, figure="gain", mark=1.7, pairs=2)
def score_cam(_: ExitStack) -> Contest:
    return Contest(ours("scorecam", "resnet18", 1, "layer4"), pytorch_grad_cam_of("ScoreCAM", "layer4"), cpu_seconds)


@row("Score-CAM, resnet18, layer4; CPU time", TORCHCAM, figure="gain", mark=1.7, pairs=2)
def score_cam_beside_torchcam(_: ExitStack) -> Contest:
    return Contest(ours("scorecam", "resnet18", 1, "layer4"), torchcam_score_cam(), cpu_seconds)


@row("Score-CAM, resnet18, layer4; peak memory", TORCHCAM, mark=1, pairs=1)
def score_cam_memory(_: ExitStack) -> Contest:
    return Contest(ours("scorecam", "resnet18", 1, "layer4"), torchcam_score_cam(), peak_memory)


@row("Score-CAM, the embedded network on a photo; CPU time", TORCHCAM, figure="gain", pairs=2)
def score_cam_of_a_trained_network(_: ExitStack) -> Contest:
    return Contest(ours("scorecam", EMBEDDED, 1, "bn2"), torchcam_score_cam(EMBEDDED, "bn2"), cpu_seconds)


def torchcam_score_cam(name: str = "resnet18", layer: str = "layer4") -> Work:
    library = peer("torchcam.methods", TORCHCAM)
    net, x = network(name, 1)
    net = deepcopy(net)
    cam = library.ScoreCAM(net, layer)

    @torch.no_grad()
    def work() -> None:
        net(x)
        cam(CLASS)

    return work


@row("Eigen-CAM, resnet50, layer4; the decomposition", PYTORCH_GRAD_CAM, figure="gain", mark=300, pairs=7)
def eigen_cam(_: ExitStack) -> Contest:
    library = peer("pytorch_grad_cam.utils.svd_on_activations", PYTORCH_GRAD_CAM)
    maps = torch.randn(1, 2048, 7, 7, generator=torch.Generator().manual_seed(0)).relu()
    array = maps.numpy()
    return Contest(lambda: first_component(maps), lambda: library.get_2d_projection(array))


@row("FullGrad, resnet18", "forward, and backward to the input", mark=1.15, pairs=9)
def full_grad_beside_its_floor(_: ExitStack) -> Contest:
    net, x = network("resnet18", 1)
    net = deepcopy(net).requires_grad_(False)

    def least() -> None:
        start = x.clone().requires_grad_()
        torch.autograd.grad(net(start)[:, CLASS].sum(), start)

    return Contest(ours("fullgrad", "resnet18", 1, None), least)


@row("FullGrad, resnet18", PYTORCH_GRAD_CAM, figure="gain", mark=7, pairs=9)
def full_grad(_: ExitStack) -> Contest:
    return Contest(ours("fullgrad", "resnet18", 1, None), pytorch_grad_cam_of("FullGrad", ""))
