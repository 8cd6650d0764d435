"""Which earlier layer a layer begins with: the last one before it that leads there."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from viztool.hooks.capture import capture
from viztool.hooks.frozen import frozen
from viztool.hooks.naming import named_layers
from viztool.hooks.select import exactly
from viztool.hooks.watch import watch
from viztool.inspect.one_forward import untouched
from viztool.inspect.survey import Site, Survey


def nearest(net: nn.Module, x: Tensor, known: Survey, name: str) -> Site:
    """Of the layers that ended before one began the last whose output it depends on.

    The one before in time may stand in another branch. Where none leads there by a gradient it is that one. x: an
    input, (1, C, H, W): one forward for each layer that is tried. Raises LayerError if none ended before.
    """
    target, earlier = known.site(name), known.earlier(name)
    return next((site for site in earlier if _leads(net, x, site, target)), earlier[0])


def _leads(net: nn.Module, x: Tensor, source: Site, target: Site) -> bool:
    def begin(name: str, module: nn.Module, output: Any) -> Tensor:
        leaf: Tensor = output.detach().clone().requires_grad_()
        return leaf.clone()

    with (
        untouched(net, x) as own,
        frozen(net),
        torch.enable_grad(),
        watch({source.name: named_layers(net)[source.name]}, exit=begin),
        capture(net, exactly([target.name]), stop=target.calls == 1) as acts,
    ):
        net(own)
    return target.maps(acts[target.name]).requires_grad
