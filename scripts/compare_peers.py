"""Compare the class activation maps with those of other libraries, and say why numbers differ.

    python scripts/compare_peers.py [--only PATTERN] [--markdown]

Needs the extra `bench`. Each figure is the largest difference between two maps at the layer's resolution, after the
ReLU, before any scaling, as a share of the peer's largest value. Where it is not rounding, the peer's own rule is
computed once more: the last column is what is then left, so that a reason is one that was checked.
"""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import _peer_rules as rules
import click
import torch
import torchvision
from _peer_rules import Case, Rule
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn

import viztool
from viztool.errors import LayerError

PHOTO = Path(__file__).parents[1] / "gallery" / "inputs" / "cat.jpg"
ROUNDING = 1e-3
"""A share of the largest value: sums of hundreds of numbers in another order."""

PYTORCH_GRAD_CAM, TORCHCAM, CAPTUM = "pytorch-grad-cam", "torchcam", "captum"


@dataclass(frozen=True)
class Comparison:
    """A method that a peer has too.

    theirs: its map, (1, h, w). rule: what it computes, if not the method. signed: whether it matters that a score
    is below zero.
    """

    method: str
    peer: str
    theirs: Callable[[Case], Tensor]
    why: str = ""
    rule: Rule | None = None
    signed: bool = False


def pytorch_grad_cam(name: str) -> Callable[[Case], Tensor]:
    def theirs(case: Case) -> Tensor:
        library = import_module("pytorch_grad_cam")
        targets = import_module("pytorch_grad_cam.utils.model_targets")
        net = deepcopy(case.net)
        layers = [] if name == "FullGrad" else [net.get_submodule(case.layer)]
        # It scales its maps to 0 … 1 and to the input; without that, they are what its rule gives.
        scaling = "fullgrad_cam" if name == "FullGrad" else "base_cam"
        with patch(f"pytorch_grad_cam.{scaling}.scale_cam_image", lambda cam, size=None: cam):
            cam = getattr(library, name)(net, layers)
            if name == "FinerCAM":  # it chooses the classes to compare with only if no target is given
                made = cam(case.x, target_idx=case.target)
            else:
                made = cam(case.x, [targets.ClassifierOutputTarget(case.target)])
        return torch.as_tensor(made).reshape(1, *made.shape[-2:])

    return theirs


def torchcam(name: str, **options: Any) -> Callable[[Case], Tensor]:
    def theirs(case: Case) -> Tensor:
        library = import_module("torchcam.methods")
        with getattr(library, name)(deepcopy(case.net), case.layer, **options) as cam:
            torch.manual_seed(rules.SEED)
            scores = cam.model(case.x.clone())
            torch.manual_seed(rules.SEED)
            found: Tensor = cam(case.target, scores, normalized=False)[0]
        return found.detach().relu()

    return theirs


def captum(case: Case) -> Tensor:
    net = deepcopy(case.net)
    cam = import_module("captum.attr").LayerGradCam(net, net.get_submodule(case.layer))
    found: Tensor = cam.attribute(case.x, target=case.target, relu_attributions=True)
    return found[:, 0].detach()


P, T = pytorch_grad_cam, torchcam
COMPARISONS = [
    Comparison("cam", TORCHCAM, T("CAM")),
    Comparison("gradcam", PYTORCH_GRAD_CAM, P("GradCAM")),
    Comparison("gradcam", TORCHCAM, T("GradCAM")),
    Comparison("gradcam", CAPTUM, captum),
    Comparison(
        "gradcam++",
        PYTORCH_GRAD_CAM,
        P("GradCAMPlusPlus"),
        "adds 1e-6 below α's line, where gradients are often smaller",
        rules.epsilon_in_alpha,
    ),
    Comparison(
        "gradcam++", TORCHCAM, T("GradCAMpp"), "never divides: its α is g², written into a copy", rules.undivided_alpha
    ),
    Comparison(
        "smoothgradcam++",
        TORCHCAM,
        T("SmoothGradCAMpp", num_samples=rules.SAMPLES),
        "takes ReLU(g) and A of the last noisy sample alone, and Σ(g³·A) for g³·ΣA",
        rules.last_sample,
    ),
    Comparison("xgradcam", PYTORCH_GRAD_CAM, P("XGradCAM"), "adds 1e-7 to ΣA", rules.epsilon_in_share(1e-7)),
    Comparison("xgradcam", TORCHCAM, T("XGradCAM"), "adds 1e-8 to ΣA", rules.epsilon_in_share(1e-8)),
    Comparison("hirescam", PYTORCH_GRAD_CAM, P("HiResCAM")),
    Comparison("layercam", PYTORCH_GRAD_CAM, P("LayerCAM")),
    Comparison("layercam", TORCHCAM, T("LayerCAM")),
    Comparison("elementwise", PYTORCH_GRAD_CAM, P("GradCAMElementWise")),
    Comparison(
        "scorecam",
        PYTORCH_GRAD_CAM,
        P("ScoreCAM"),
        "enlarges masks with their corners on the image's corners (align_corners=True)",
        rules.corners_aligned,
    ),
    Comparison(
        "scorecam", TORCHCAM, T("ScoreCAM"), "normalises masks before it enlarges them", rules.normalised_before
    ),
    Comparison(
        "sscam",
        TORCHCAM,
        T("SSCAM", num_samples=rules.SAMPLES),
        "other random numbers; normalises masks before it enlarges them",
        rules.normalised_before_noise,
    ),
    Comparison(
        "iscam",
        TORCHCAM,
        T("ISCAM", num_samples=rules.SAMPLES),
        "adds up the strengths of its masks, to more than 1",
        rules.strength_adds_up,
    ),
    Comparison(
        "ablationcam",
        PYTORCH_GRAD_CAM,
        P("AblationCAM"),
        "divides by the score with its sign; puts 1e7 below the smallest activation where that is not zero",
        rules.ablated_far_below,
        signed=True,
    ),
    Comparison(
        "eigencam",
        PYTORCH_GRAD_CAM,
        P("EigenCAM"),
        "centres the activations; its component has any sign",
        rules.centred_activations,
    ),
    Comparison(
        "eigengradcam",
        PYTORCH_GRAD_CAM,
        P("EigenGradCAM"),
        "centres the products; its component has any sign",
        rules.centred_products,
    ),
    Comparison(
        "fullgrad",
        PYTORCH_GRAD_CAM,
        P("FullGrad"),
        "scales each channel by itself, so that biases cancel; sees no batch norm of another class",
        rules.channel_by_channel,
    ),
    Comparison(
        "kpcacam",
        PYTORCH_GRAD_CAM,
        P("KPCA_CAM"),
        "gives its component the sign by which the largest entry is positive",
        rules.largest_is_positive,
    ),
    Comparison(
        "fem",
        PYTORCH_GRAD_CAM,
        P("FEM"),
        "weights the activations by the share of outliers, not outliers by the mean",
        rules.share_of_outliers,
    ),
    Comparison("shapleycam", PYTORCH_GRAD_CAM, P("ShapleyCAM")),
    Comparison(
        "finercam",
        PYTORCH_GRAD_CAM,
        P("FinerCAM"),
        "γ = 1, and the other classes weighted by their probabilities, which it derives too",
        rules.weighted_by_confidence,
    ),
    Comparison("finercam", TORCHCAM, T("FinerCAM")),
]


BELOW = "resnet18, a score below 0"


def cases() -> Iterator[Case]:
    """A network with random weights, for its best and its worst class, and the embedded one on a photo."""
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None, num_classes=10).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training: fresh ones have no bias
            layer.running_mean = torch.randn(layer.num_features) * 0.3
            layer.running_var = torch.rand(layer.num_features) + 0.5
            nn.init.normal_(layer.bias, 0, 0.3)
    x = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        scores = net(x)[0]
    yield Case("resnet18, random", net, x, "layer4", int(scores.argmax()))
    yield Case(BELOW, net, x, "layer4", int(scores.argmin()))
    model = viztool.load_model()
    x = model.preprocess(viztool.read_image(PHOTO))
    with torch.no_grad():
        target = int(model.net(x).argmax())
    yield Case("the default network, a cat", model.net, x, "blocks.4", target)


def ours(case: Case, comparison: Comparison) -> Tensor:
    layer = None if comparison.method == "fullgrad" else case.layer
    return viztool.class_activation_map(case.net, case.x, comparison.method, case.target, layer).raw.relu()


def difference(found: Tensor, theirs: Tensor) -> float:
    """The largest, as a share of the largest value; infinite where only one map is empty."""
    if not bool(theirs.any()):
        return float("inf") if bool(found.any()) else 0.0
    return float((found - theirs).abs().max() / theirs.abs().max())


def compare(case: Case, comparison: Comparison) -> tuple[str, ...]:
    """A line of the table."""
    name = (comparison.method, comparison.peer, case.name)
    with ExitStack() as stack:
        stack.enter_context(redirect_stderr(StringIO()))  # progress bars
        stack.enter_context(redirect_stdout(StringIO()))  # and warnings
        try:
            found = ours(case, comparison)
            theirs = comparison.theirs(case).float()
        except ImportError:
            return (*name, "", "not installed; pip install '.[bench]'", "")
        except LayerError as error:
            return (*name, "", str(error).partition(";")[0], "")
        except Exception as error:
            return (*name, "", f"it fails: {type(error).__name__}: {' '.join(str(error).split())[:90]}", "")
    apart = difference(found, theirs)
    if apart < ROUNDING:
        return (*name, f"{apart:.0e}", "the same", "")
    if comparison.rule is None:
        return (*name, f"{apart:.2g}", "NOT EXPLAINED", "")
    left = difference(comparison.rule(case), theirs)
    return (*name, f"{apart:.2g}", comparison.why if left < ROUNDING else "NOT EXPLAINED", f"{left:.0e}")


@click.command()
@click.option("--only", default="*", metavar="PATTERN", help="Methods whose name fits this glob.")
@click.option("--markdown", is_flag=True, help="Print the table in Markdown.")
def main(only: str, markdown: bool) -> None:
    """Compare class activation maps with those of other libraries."""
    chosen = [each for each in COMPARISONS if fnmatch.fnmatch(each.method, only)]
    if not chosen:
        raise click.UsageError(f"no method fits {only!r}")
    headings = ("method", "peer", "network", "difference", "why", "left by its rule")
    found = list(cases())
    lines = [compare(case, each) for each in chosen for case in found if each.signed or case.name != BELOW]
    if markdown:
        click.echo("\n".join(f"| {' | '.join(line)} |" for line in (headings, ("---",) * len(headings), *lines)))
    else:
        table = Table(*headings, box=box.SIMPLE)
        for line in lines:
            table.add_row(*map(escape, line), style="red" if "NOT" in line[4] else "")
        Console(width=None if sys.stdout.isatty() else 190).print(table)
    sys.exit(any("NOT" in line[4] for line in lines))


if __name__ == "__main__":
    main()
