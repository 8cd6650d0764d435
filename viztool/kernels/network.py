"""A private, frozen copy of a network that runs up to some layers."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from viztool.errors import LayerError, ModelError, ViztoolError
from viztool.hooks.capture import capture
from viztool.hooks.evaluating import evaluating
from viztool.hooks.layouts import Layouts
from viztool.hooks.naming import named_layers, unwrap
from viztool.hooks.select import Pattern, exactly, name_of
from viztool.hooks.turns import running
from viztool.hooks.watch import watch
from viztool.kernels.ceiling import Ceilings
from viztool.kernels.objectives import OUTPUT
from viztool.models.folding import folded, results_in
from viztool.models.model import Model
from viztool.models.reading import Reading
from viztool.tensors.compare import alike
from viztool.tensors.layout import Layout, to_maps
from viztool.tensors.size import Size
from viztool.tensors.tree import tensors_in

_TOLERANCE = 1e-3
"""Of a layer's output, as a share of its largest value: what folding may change by rounding in another order."""


class Stopped:
    """The maps of some layers for pictures (N, C, h, w) in [0, 1]; the rest of the network does not run.

    The network is a frozen copy in evaluation mode that shares its weights with the model's, batch norms folded
    into convolutions where that changes nothing: the model's own network is not touched.

    mixed: compute in mixed precision, which is enough for a direction to go and faster on a GPU.

    reading: of the network's output, if that is among the layers.

    spoiled: what the layers put out for one picture if some of that is not finite, else None. The weights that
    are to blame then count as zero: the gradient of a channel that does not use them would not be finite either.

    Raises LayerError for an unknown layer, or one without maps or a vector; ModelError if the network cannot run
    on pictures of this size.
    """

    def __init__(
        self, model: Model, layers: Iterable[Pattern], size: Size, *, fold: bool = True, mixed: bool = False
    ) -> None:
        known = named_layers(unwrap(model.net))
        self._asked = {layer: name_of(known, layer) for layer in layers}
        self.layers = sorted(set(self._asked.values()))
        self._model = model
        self._mixed = False
        self.reading: Reading | None = None
        self._net = _private(model.net)
        probe = self._normalized(torch.full((1, model.channels, *size), 0.5, device=model.device))
        probe = probe + 0.1 * torch.randn(probe.shape, generator=torch.Generator().manual_seed(0)).to(probe)
        self._layouts = self._follow(probe)
        as_given = self._run(probe)
        self.widths = {name: maps.shape[1] for name, maps in as_given.items()}
        self.spoiled: dict[Pattern, Tensor] | None = None
        if any(not bool(maps.isfinite().all()) for maps in as_given.values()):
            self.spoiled = self._as_asked(as_given)
            _without_nan(self._net)
            as_given = self._run(probe)
        if fold:
            self._fold(probe, as_given)
        self._format = torch.contiguous_format
        self._use_channels_last(probe)
        self._mixed = mixed and model.dtype == torch.float32

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self._model.device

    @property
    def channels(self) -> int:
        """Of the pictures."""
        return self._model.channels

    def __call__(self, pictures: Tensor, *, below: bool = False) -> dict[Pattern, Tensor]:
        """By layer, (N, C, h, w), in the graph of the pictures; a vector as (N, K, 1, 1).

        below: of a layer that ends in a ceiling, such as a ReLU6, what comes before it.
        """
        return self._as_asked(self._run(self._normalized(pictures).contiguous(memory_format=self._format), below=below))

    def _as_asked(self, maps: dict[str, Tensor]) -> dict[Pattern, Tensor]:
        return {layer: maps[name] for layer, name in self._asked.items()}

    def _normalized(self, pictures: Tensor) -> Tensor:
        return self._model.input.standardize(pictures).to(self._model.dtype)

    def _follow(self, probe: Tensor) -> dict[str, Layout | None]:
        named = named_layers(self._net)
        layouts = Layouts(named)
        with torch.no_grad(), watch(named, enter=layouts.enter, exit=layouts.exit):
            self._outputs(probe)
        return {layer: layouts.of(layer) for layer in self.layers if layer != OUTPUT}

    def _run(self, x: Tensor, *, below: bool = False) -> dict[str, Tensor]:
        outputs = self._outputs(x, below=below)
        return {layer: self._as_maps(layer, outputs[layer], x) for layer in self.layers}

    def _outputs(self, x: Tensor, *, below: bool = False) -> dict[str, Any]:
        ceilings = Ceilings()
        try:
            half = torch.autocast(x.device.type, torch.bfloat16) if self._mixed else nullcontext()
            seen = ceilings if below else nullcontext()
            with evaluating(self._net), half, capture(self._net, exactly(self.layers), stop=True) as acts, seen:
                self._net(x)
        except (ViztoolError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            h, w = self._model.size
            raise ModelError(
                f"{self._model.name} cannot run on pictures of {x.shape[-2]} × {x.shape[-1]}: {reason}; "
                f"try its own size, {h} × {w}"
            ) from error
        return {layer: ceilings.below(acts[layer]) for layer in self.layers}

    def _as_maps(self, layer: str, output: Any, x: Tensor) -> Tensor:
        if layer != OUTPUT:
            return _maps_of(layer, self._layouts[layer], output, x)
        if self.reading is None:
            # Of the first output, so that every other one is read alike.
            self.reading = self._model.reader(x).settle(output)
        return self.reading.scores(output)[..., None, None]

    def _fold(self, probe: Tensor, expected: dict[str, Tensor]) -> None:
        """Take the folded copy if the layers are still there and put out the same."""
        own = self._net
        with torch.no_grad(), evaluating(own):
            self._net = folded(own, probe)
            known = named_layers(self._net)
            if any(layer not in known for layer in self.layers):
                self._net = own
                return
            found = self._run(probe)
        if any(not alike(expected[layer], found[layer], _TOLERANCE) for layer in self.layers):
            self._net = own

    def _use_channels_last(self, probe: Tensor) -> None:
        """Faster wherever the network allows it; one that takes views of its maps may not."""
        if probe.dim() != 4:
            return
        try:
            self._format = torch.channels_last
            x = probe.contiguous(memory_format=torch.channels_last).requires_grad_()
            with torch.enable_grad():
                sum(maps.sum() for maps in self._run(x).values()).backward()  # type: ignore[union-attr]
        except (ModelError, RuntimeError):
            self._format = torch.contiguous_format


def _private(net: nn.Module) -> nn.Module:
    """A copy whose parameters share their memory with those of `net` and ask for no gradient."""
    inner = unwrap(net)
    memo = results_in(inner)
    for parameter in inner.parameters():
        own = parameter.detach()
        memo[id(parameter)] = nn.Parameter(own.clone() if own.is_inference() else own, requires_grad=False)
    try:
        with running(inner):
            return copy.deepcopy(inner, memo)
    except Exception as error:
        raise ModelError(
            f"{type(inner).__name__} cannot be copied ({next(iter(str(error).splitlines()), type(error).__name__)}): "
            "remove what cannot be from it, such as tensors that are results"
        ) from error


def _without_nan(net: nn.Module) -> None:
    for module in net.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and not bool(parameter.isfinite().all()):
                clean = torch.nan_to_num(parameter.detach(), 0.0, 0.0, 0.0)
                module._parameters[name] = nn.Parameter(clean, requires_grad=False)
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point() and not bool(buffer.isfinite().all()):
                module._buffers[name] = torch.nan_to_num(buffer, 0.0, 0.0, 0.0)


def _maps_of(layer: str, layout: Layout | None, output: Any, x: Tensor) -> Tensor:
    first = next(tensors_in(output), None)
    if first is None or not first.is_floating_point():
        raise LayerError(f"layer {layer!r} puts out no tensor of real numbers; choose another layer")
    if first.dim() == 2 and len(first) == len(x):
        return first[..., None, None]
    maps = to_maps(first, len(x), (x.shape[-2], x.shape[-1]), layout)
    if maps is None:
        raise LayerError(
            f"layer {layer!r} puts out no maps (channels of height × width) and no vector; choose another layer"
        )
    return maps
