"""The numbers of a layer in a sample: what each is, in which unit, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """title: on a page. unit: of the number. says: its definition. log: shown by its magnitude. signed: around zero."""

    title: str
    unit: str
    says: str
    log: bool = False
    signed: bool = False
    range: tuple[float, float] | None = None


QUANTITIES: dict[str, Quantity] = {
    "dead": Quantity(
        "dead units",
        "share",
        "units never above 0 over the images of the last samples, 3 of them, or as many as have 32 images; the rate of "
        "one is at most 3 / n (Hanley 1983)",
        range=(0, 1),
    ),
    "saturated": Quantity(
        "saturated",
        "share",
        "values within 1 % of a bound of a bounded activation; of attention, rows that give over 99 % to one place",
        range=(0, 1),
    ),
    "mean": Quantity("mean of activations", "", "over all images, units and places", signed=True),
    "sd": Quantity("sd of activations", "", "over all images, units and places", log=True),
    "drift": Quantity(
        "drift of activations",
        "sd",
        "how far the mean is from that of the first samples, in their standard deviations",
        log=True,
    ),
    "gradient": Quantity(
        "gradient at the output",
        "L2 norm",
        "of the loss by all outputs of the batch; with a GradScaler, of the scaled loss",
        log=True,
    ),
    "ratio": Quantity(
        "gradient, of the last layer's",
        "ratio",
        "the norm of the gradient at the output over that at the last layer's (Glorot and Bengio 2010)",
        log=True,
    ),
    "weight gradient": Quantity(
        "gradient of the weights", "L2 norm", "of the layer's own parameters, as the optimizer was given it", log=True
    ),
    "surge": Quantity(
        "gradient, of what it was",
        "ratio",
        "the gradient of the weights over its median in the samples before the last few",
        log=True,
    ),
    "update": Quantity(
        "update / weight",
        "ratio",
        "‖w after the step − w before‖ / ‖w before‖ of the weights (biases and norms left out); about 1e-3 is usual",
        log=True,
    ),
    "stride": Quantity(
        "update / first weight",
        "ratio",
        "‖w after the step − w before‖ over the norm of the weights in the first sample, or now, if that is less (at "
        "least a third of 1 / √fan-in for each): weights that have been driven far off do not hide it",
        log=True,
    ),
    "moved": Quantity(
        "update / weight of all parameters",
        "ratio",
        "the same of every parameter of the layer; 0 if none moved",
        log=True,
    ),
    "not finite": Quantity("not finite", "values", "outputs that are NaN or infinite", log=True),
    "gradient not finite": Quantity(
        "gradient not finite", "values", "entries of the gradient at the output that are NaN or infinite", log=True
    ),
    "rank": Quantity(
        "effective rank",
        "directions",
        "participation ratio of the eigenvalues of the units' correlations, of 64 units at most (Gao et al. 2017); of "
        "batches of fewer than 16 images, of several samples together",
        log=True,
    ),
    "varies": Quantity(
        "depends on the image",
        "share",
        "standard deviation across images over the root mean square of the output; 0 if it is the same for all",
        log=True,
    ),
    "norm drift": Quantity(
        "running statistics off by",
        "sd",
        "median over channels of |μ − μ_running| / σ + |ln(σ / σ_running)| (Ioffe and Szegedy 2015)",
        log=True,
    ),
}
"""In the order of the page, after those that findings are told from.

Of the whole network beside: the input's mean and sd, the loss, the learning rates, the gradient noise scale.
"""
