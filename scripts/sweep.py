"""Run every network of torchvision, with random weights, through what looks at layers, and check what it says of them.

    python scripts/sweep.py [--only PATTERN] [--timm] [--check NAME]

Capture is judged by plain forward hooks in a forward of their own: each output is hashed at once, before a
later layer can write into it, and the capture of a second forward must have the same bits. What is drawn as a
map is judged by a spot of the input, at three sizes that are not square: it must change most there.
"""

from __future__ import annotations

import fnmatch
import gc
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # before torch is imported: threads that spin while they wait cost a core

import click
import numpy as np
import torch
from _cam_check import check_cam, first_tensor
from _spot_check import check_spots
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import viztool
from viztool.errors import LayerError
from viztool.features import LayerMaps
from viztool.hooks.select import STAGES
from viztool.models import Model
from viztool.models.catalog import TIMM, Entry, entries
from viztool.render.colormaps import Picture

PHOTO = Path(__file__).parents[1] / "gallery" / "inputs" / "cat.jpg"

SIDE = 224
"""Of the input where a network takes any: random weights have no native size, and 600 px would show nothing more."""

DETECTION_SIDES = (224, 320)
"""To which a detection network scales the photo, shorter and longer side, if it is not built for one size."""

BOXES = 32
"""That a two-stage network looks into: with random weights it would be a thousand, none better than another."""

SMALL = ("atto", "femto", "pico", "nano", "xxs", "xxt", "xs", "xtiny", "mini", "tiny", "micro", "small", "_s")
"""How timm calls its small networks, the smallest first."""

CHECKS = ("capture", "layer_table", "feature_maps", "gradcam", "spots")

LINE = "{:<36} {:>11} {:>6} {:>7} {:>5}  {:<6} {:<10} {:>7}  {}"

Fingerprint = tuple[bytes, ...]


@dataclass
class Truth:
    """What the layers put out in a plain forward, by name in the order in which they ended."""

    calls: dict[str, list[Fingerprint]] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    output: Fingerprint = ()


@dataclass
class Report:
    """One network: what was compared, and what was not as it must be.

    maps: "ok", or why there are none. cam: the layer that Grad-CAM chose by itself.
    """

    entry: Entry
    input: str = ""
    layers: int = 0
    tensors: int = 0
    wrong: int = 0
    table: str = ""
    maps: str = ""
    cam: str = ""
    spots: str = ""
    seconds: float = 0.0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def check(self, what: str) -> Iterator[None]:
        """What is raised inside is a failure of this check alone."""
        try:
            yield
        except Exception as error:
            text = " ".join(str(error).split())
            self.failures.append(f"{what}: {'' if isinstance(error, AssertionError) else type(error).__name__} {text}")


def sweep(entry: Entry, photo: Picture, checks: Collection[str]) -> Report:
    """Put one network through these of the checks."""
    report = Report(entry)
    start = time.perf_counter()
    torch.manual_seed(0)
    with report.check("load"):
        model = load(entry)
        x = model.preprocess(photo)
        report.input = " × ".join(str(side) for side in x.shape[2:])
        plain_forward(model.net, x, grad=False)  # some networks keep a table of positions from their first forward
        before = state(model.net)
        if {"capture", "layer_table", "feature_maps"} & set(checks):
            sweep_layers(report, model, photo, x, checks)
        if "gradcam" in checks and entry.task == "classification":
            with report.check("gradcam"):
                report.cam = check_cam(model, x)
        if "spots" in checks and entry.task in ("classification", "segmentation"):
            with report.check("spots"):
                report.spots = str(check_spots(entry, model.net))
        if state(model.net) != before:
            report.failures.append("the network is not as it was")
    report.seconds = time.perf_counter() - start
    return report


def sweep_layers(report: Report, model: Model, photo: Picture, x: Tensor, checks: Collection[str]) -> None:
    """What the layers put out, in all its forms."""
    # Attention has a kernel of its own where there is no grad, so each way has its own truth.
    for grad in (True, False):
        with report.check("capture with grad" if grad else "capture"):
            truth = plain_forward(model.net, x, grad=grad)
            report.layers = len(truth.calls)
            if "capture" in checks:
                check_capture(report, model.net, x, truth, grad=grad)
    if "layer_table" in checks:
        with report.check("layer_table"):
            check_table(model, x, truth)
            report.table = "ok"
    if "feature_maps" in checks:
        with report.check("feature_maps"):
            report.maps = check_maps(model, photo, x, truth)


def load(entry: Entry) -> Model:
    any_side = entry.source == "torchvision" and entry.task in ("classification", "segmentation")
    model = viztool.load_model(entry.name, weights=None, size=SIDE if any_side else None)
    if entry.task == "detection":
        net: Any = model.net
        if net.transform.fixed_size is None:
            net.transform.min_size, net.transform.max_size = (DETECTION_SIDES[0],), DETECTION_SIDES[1]
        if hasattr(net, "rpn"):
            net.rpn._post_nms_top_n["testing"] = net.roi_heads.detections_per_img = BOXES
    wake(model.net)
    return model


@torch.no_grad()
def wake(net: nn.Module) -> None:
    """Give weights that begin as zeros, such as heads, a little: nothing depends on what is before them."""
    for parameter in net.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.02)


def state(net: nn.Module) -> list[Any]:
    """All of a network that a look at it could change: tensors by version, since what is written moves it."""
    tensors = [*net.parameters(), *net.buffers()]
    return [
        [(id(tensor), tensor._version, tensor.requires_grad, tensor.grad is None) for tensor in tensors],
        [(module.training, sorted(vars(module))) for module in net.modules()],
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in net.modules()],
        [len(module._backward_hooks) + len(module._backward_pre_hooks) for module in net.modules()],
    ]


def plain_forward(net: nn.Module, x: Tensor, *, grad: bool) -> Truth:
    """The oracle. It shares nothing with viztool: its own hooks, its own way to find tensors in outputs."""
    truth = Truth()

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            truth.calls.setdefault(name, []).append(fingerprint(output))
            truth.shapes[name] = next((tuple(tensor.shape) for tensor in tensors_of(output)), None)

        return hook

    with torch.set_grad_enabled(grad):
        with hooked({name: module for name, module in net.named_modules() if name}, note):
            net(x.clone())
        truth.output = fingerprint(net(x.clone()))  # without a single hook
    return truth


@contextmanager
def hooked(layers: Mapping[str, nn.Module], hook: Callable[[str], Any]) -> Iterator[None]:
    """With plain forward hooks: that of the layer `name` is `hook(name)`."""
    handles = [layer.register_forward_hook(hook(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def tensors_of(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for item in output.values():
            yield from tensors_of(item)
    elif isinstance(output, list | tuple):
        for item in output:
            yield from tensors_of(item)
    elif hasattr(output, "__dict__"):  # torchvision's ImageList
        for item in vars(output).values():
            yield from tensors_of(item)


def fingerprint(output: Any) -> Fingerprint:
    """Of every tensor in the output: its type, its shape and all its bits. NaN is NaN."""
    return tuple(
        hashlib.sha1(np.ascontiguousarray(tensor.detach().numpy()).data, usedforsecurity=False).digest()
        + repr((tensor.dtype, tuple(tensor.shape))).encode()
        for tensor in tensors_of(output)
    )


def check_capture(report: Report, net: nn.Module, x: Tensor, truth: Truth, *, grad: bool) -> None:
    """Capture every layer that runs, and compare all bits of all calls."""
    # A layer called "stages", as in some networks of timm, is asked for as what it is: the word has a meaning.
    layers = [f"re:{name}" if name == STAGES else name for name in truth.calls]
    with torch.set_grad_enabled(grad), viztool.capture(net, layers) as acts:
        output = net(x.clone())
    assert fingerprint(output) == truth.output, "the network's own output is another one"
    assert acts.layers == list(truth.calls), "the layers are not in the order in which they ran"
    wrong = []
    for name, calls in truth.calls.items():
        expected = list(chain.from_iterable(calls))
        captured = list(chain.from_iterable(fingerprint(call) for call in acts.calls(name)))
        differ = sum(one != other for one, other in zip_longest(expected, captured))
        report.tensors += len(expected)
        report.wrong += differ
        if differ:
            wrong.append(name)
    assert not wrong, f"{len(wrong)} layers are wrong: {', '.join(wrong[:5])}"


def check_table(model: Model, x: Tensor, truth: Truth) -> None:
    """Calls and shapes against the plain forward, sums against torch's own."""
    # A detection network takes any photo; the others say themselves what they take.
    table = viztool.layer_table(model, x if model.input.resize is None else None)
    assert table.input_shape == tuple(x.shape), f"ran on {table.input_shape}, not {tuple(x.shape)}"
    rows = {row.name: row for row in table.rows}
    for name, calls in truth.calls.items():
        assert rows[name].calls == len(calls), f"{name} ran {len(calls)} times, not {rows[name].calls}"
        shape = truth.shapes[name]
        assert rows[name].output_shape == shape, f"{name} puts out {shape}, not {rows[name].output_shape}"
    parameters = sum(parameter.numel() for parameter in model.net.parameters())
    assert table.parameters == parameters, f"{table.parameters} parameters, not {parameters}"
    # With grad: without it, attention takes a shortcut that torch does not count.
    with FlopCounterMode(display=False) as counter:
        model.net(x.clone())
    macs = counter.get_total_flops() // 2
    assert table.macs == macs, f"{table.macs} multiply-adds, not {macs}"


def check_maps(model: Model, photo: Picture, x: Tensor, truth: Truth) -> str:
    """The maps against those of plain hooks, and a sheet drawn of them. "ok", or why there are none."""
    try:
        result = viztool.feature_maps(model, photo)
    except LayerError:
        with_time = [shape for shape in truth.shapes.values() if shape is not None and len(shape) == 5]
        if with_time:
            return f"none: maps have a time axis, such as {with_time[0]}"
        raise
    assert len(result.layers) > 1, f"only one layer, {result.layers[0].name}"
    named = dict(model.net.named_modules())
    outputs: dict[str, list[Any]] = {layer.name: [] for layer in result.layers}

    def note(name: str) -> Any:
        return lambda _module, _args, output: outputs[name].append(first_tensor(output).detach().clone().numpy())

    with hooked({name: named[name] for name in outputs}, note):
        for grad in (False, True):  # either of the two attention kernels may have been used
            with torch.set_grad_enabled(grad):
                model.net(x.clone())
    wrong = [layer.name for layer in result.layers if not any(is_map_of(layer, each) for each in outputs[layer.name])]
    assert not wrong, f"not the layer's output: {', '.join(wrong)}"
    picture = result.picture()
    assert picture.dtype == np.uint8 and picture.shape[1:] == (1340, 3), f"the sheet is {picture.shape}"
    return "ok"


def is_map_of(layer: LayerMaps, output: Any) -> bool:
    """Whether these are the maps in (1, C, h, w), (1, h, w, C) or tokens (1, T, C), all bits alike.

    Tokens may stand in any order, each of them whole: which place is whose is what the spots judge.
    """
    channels, h, w = layer.maps.shape
    readings = [output[0]]
    if output.ndim == 4:
        readings.append(output[0].transpose(2, 0, 1))
    elif output.ndim == 3 and output.shape[1] >= h * w:
        readings = [output[0, -h * w :].T.reshape(channels, h, w)]
        tokens, places = output[0, -h * w :], layer.maps.reshape(channels, h * w).T
        if tokens.shape == places.shape and sorted(map(bytes, tokens)) == sorted(map(bytes, places.copy())):
            return True
    return any(reading.shape == layer.maps.shape and np.array_equal(reading, layer.maps, True) for reading in readings)


def small_timm() -> list[Entry]:
    """One small network of each of timm's families, as far as the names tell."""
    import timm

    def size(name: str) -> tuple[int, int, str]:
        return next((rank for rank, word in enumerate(SMALL) if word in name), len(SMALL)), len(name), name

    families = [timm.list_models(module=module) for module in timm.list_modules()]
    return [entries()[TIMM + min(names, key=size)] for names in families if names]


@click.command()
@click.option("--only", default="*", metavar="PATTERN", help="Networks whose name holds this, or fits this glob.")
@click.option("--timm", "families", is_flag=True, help="One small network of each of timm's families instead.")
@click.option("--check", "checks", multiple=True, type=click.Choice(CHECKS), help="Only this. Repeatable.")
def main(only: str, families: bool, checks: tuple[str, ...]) -> None:
    """Run networks with random weights through capture, layer_table, feature_maps and Grad-CAM."""
    known = small_timm() if families else [entry for entry in entries().values() if entry.source == "torchvision"]
    chosen = [entry for entry in known if fnmatch.fnmatch(entry.name, only if "*" in only else f"*{only}*")]
    if not chosen:
        raise click.UsageError(f"no network fits {only!r}")
    photo = viztool.read_image(PHOTO)
    click.echo(LINE.format("network", "input", "layers", "tensors", "wrong", "table", "maps", "seconds", "Grad-CAM at"))
    reports = []
    for entry in chosen:
        report = sweep(entry, photo, checks or CHECKS)
        gc.collect()  # graphs and hooks hold one another; the next network needs the room
        reports.append(report)
        click.echo(as_line(report))
        if report.spots:
            click.echo(f"    {report.spots}")
        for failure in report.failures:
            click.echo(f"    {failure}")
    click.echo(summary(reports))
    sys.exit(any(report.failures for report in reports))


def as_line(report: Report) -> str:
    maps, _, why = report.maps.partition(": ")
    line = LINE.format(
        report.entry.name,
        report.input,
        report.layers,
        report.tensors,
        report.wrong,
        report.table or "—",
        maps or "—",
        f"{report.seconds:.1f}",
        report.cam,
    )
    return f"{line}  {why}".rstrip()


def summary(reports: list[Report]) -> str:
    total = Counter(report.entry.task for report in reports)
    passed = Counter(report.entry.task for report in reports if not report.failures)
    drawn = sum(report.maps == "ok" for report in reports)
    without = sum(report.maps.startswith("none") for report in reports)
    return "\n".join(
        [
            "passed: " + ", ".join(f"{passed[task]} of {count} {task}" for task, count in total.items()),
            f"compared: {sum(report.tensors for report in reports):,} tensors, of which wrong: "
            f"{sum(report.wrong for report in reports)}",
            f"feature maps: {drawn} drawn, {without} without 2D maps",
            f"changed at the spot: the maps of {sum(bool(report.spots) for report in reports)} networks",
            f"Grad-CAM: {sum(bool(report.cam) for report in reports)} as plain autograd has it",
        ]
    )


if __name__ == "__main__":
    main()
