"""The input that shows nothing, with which some attributions compare."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from viztool.errors import ModelError, ViztoolError
from viztool.models.model import Model
from viztool.tensors.blur import gaussian_blur

Baseline: TypeAlias = Literal["mean", "black", "blur"] | Tensor

_BLUR = 10 / 224
"""Standard deviation of the blur, as a share of the input's shorter side (Fong and Vedaldi 2017: 10 pixels)."""


def baseline_of(model: Model | nn.Module, x: Tensor, baseline: Baseline) -> Tensor:
    """The baseline of each input in `x` (N, C, ..., H, W), in its shape.

    baseline: "mean", zeros: the colour that the preprocessing subtracts; "black", of a `Model`, which knows its
    own; "blur", the input without its details; or a normalised tensor that broadcasts to the input.
    Raises ViztoolError for another name or shape, ModelError for the black of a bare network.
    """
    if isinstance(baseline, Tensor):
        try:
            return baseline.detach().to(x).expand_as(x).clone()
        except RuntimeError:
            raise ViztoolError(
                f"a baseline of {tuple(baseline.shape)} does not fit inputs of {tuple(x.shape)}"
            ) from None
    if baseline == "mean":
        return torch.zeros_like(x)
    if baseline == "blur":
        return gaussian_blur(x, _BLUR)
    if baseline == "black":
        if not isinstance(model, Model):
            raise ModelError("what is black to a bare network is not known; use wrap_model first, or give a tensor")
        black = model.normalize(torch.zeros(1, 3, *x.shape[-2:], device=x.device))
        return black.to(x).expand_as(x).clone()
    raise ViztoolError(f"no baseline is called {baseline!r}; there are mean, black, blur, or a tensor")
