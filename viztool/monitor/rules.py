"""The table of rules: what is a finding, from which number on, over how many samples, and what to do about it.

Thresholds are from the literature where it has one, and else from `scripts/check_monitor.py`, which trains healthy and
faulty networks: each lies between what the two show. `dataclasses.replace` gives a rule with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Rule:
    """quantity: of `viztool.monitor.quantities`, or what the rule looks at besides.

    sense: whether values above or below the threshold are a finding. samples: how many in a row must be. steps: how
    many steps these must be apart at least. source: of the threshold.
    """

    kind: str
    quantity: str
    sense: Literal["above", "below"]
    threshold: float
    samples: int
    advice: str
    source: str
    steps: int = 0


RULES: tuple[Rule, ...] = (
    Rule(
        *("not-finite", "not finite", "above", 0, 1),
        "Lower the learning rate or clip gradients; look for log, sqrt or a division by 0 in this layer, and for "
        "inputs or labels that are no numbers.",
        "one is enough",
    ),
    Rule(
        *("input-not-normalised", "input", "above", 10, 3),
        "Subtract the mean of the data from the input and divide by its standard deviation.",
        "LeCun et al. 1998, section 4.3: a mean near 0, the same scale for all",
    ),
    Rule(
        *("constant-output", "varies", "below", 1e-5, 3),
        "Nothing of the image gets past this layer: look at what it is given, at its weights (all 0?), and for a mask "
        "or a scale that is 0.",
        "healthy layers: above 0.02",
    ),
    Rule(
        *("exploding-gradient", "ratio", "above", 1e3, 3),
        "Clip the gradient's norm, lower the gain of the initial weights, or put a normalisation behind the layers.",
        "Pascanu et al. 2013; healthy nets of 10 layers: below 60",
    ),
    Rule(
        *("exploding-gradient", "surge", "above", 1e2, 3),
        "Clip the gradient's norm or lower the learning rate; look at what changed in the loss or the data.",
        "Pascanu et al. 2013; healthy trainings: below 30 over 3 samples",
    ),
    Rule(
        *("vanishing-gradient", "ratio", "below", 1e-4, 3),
        "Take ReLU for sigmoid or tanh, He's initial weights, residual connections or a normalisation; look for a "
        "factor that scales the gradient.",
        "Glorot and Bengio 2010; He et al. 2015: a ratio near 1; healthy nets of 10 layers: above 1e-3",
    ),
    Rule(
        *("dead-units", "dead", "above", 0.5, 3),
        "Lower the learning rate, give the biases before it back their 0, or take a leaky activation; units without "
        "a gradient do not come back by themselves.",
        "Lu et al. 2019; trainings that work, measured here: up to 0.5",
    ),
    Rule(
        *("saturated", "saturated", "above", 0.5, 3),
        "Make the weights before it smaller or normalise its input; in attention, divide the scores by a larger number "
        "or normalise queries and keys.",
        "Glorot and Bengio 2010, section 3; healthy layers: below 0.2",
    ),
    Rule(
        *("collapsed-features", "rank", "below", 1.5, 3),
        "All units say the same: look for equal initial weights, a mean over the channels, or a loss that asks for "
        "nothing else.",
        "Gao et al. 2017; healthy layers of 8 units and more, over 16 images and more: above 1.8",
    ),
    Rule(
        *("never-updated", "moved", "below", 0, 3),
        "Give the layer's parameters to the optimizer, or say that they are frozen: requires_grad_(False); if no "
        "gradient comes, look for a detach() or no_grad() behind it; if the steps are 0, at the learning rate.",
        "no number moved",
    ),
    Rule(
        *("update-too-large", "stride", "above", 0.1, 3),
        "Lower the learning rate of this layer's parameter group, or warm it up.",
        "about 1e-3 is usual; healthy trainings: below 0.06",
        steps=5,
    ),
    Rule(
        *("update-too-small", "update", "below", 1e-6, 3),
        "Raise the learning rate of this layer's parameter group; in half precision, keep the weights in float32.",
        "about 1e-3 is usual; healthy trainings: above 1e-5, or above 8e-3 of the other layers' (2e-7 in a "
        "MobileNetV3 under SGD at 0.01): not told above a thousandth",
    ),
    Rule(
        *("normalisation-drift", "norm drift", "above", 1.0, 3),
        "Evaluation will see other statistics than training: look at the momentum, at batches that are small or of "
        "another kind, and whether the layer is in evaluation mode now and then.",
        "healthy layers, when their statistics have settled: below 0.4",
    ),
)

KINDS: tuple[str, ...] = tuple(dict.fromkeys(rule.kind for rule in RULES))
"""Worst first."""
