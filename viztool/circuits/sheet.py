"""A circuit as a sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from viztool.circuits.found import Found
from viztool.circuits.icons import SHOWN, Icon
from viztool.circuits.knock import Edge
from viztool.circuits.patterns import pattern_rows
from viztool.render.canvas import Canvas
from viztool.render.circuit_sheet import CircuitPage, Node, Side, circuit_page
from viztool.render.colormaps import Picture
from viztool.render.kernel_row import KernelRow
from viztool.render.numbers import counted, number
from viztool.results import made_by

_INSTEAD = {
    "mean": "its mean over the data",
    "zero": "zero",
    "resample": "its map on another photo",
}

_ROUNDING = 1e-5
"""Of the unit's value: what is less is left of differences that cancel."""


def circuit_sheet(circuit: Found) -> Canvas:
    """Inputs, the unit, outputs; below them kernels, what the strongest do together, and what others guess by."""
    drawn = any(icon.optimum is not None for icon in circuit.icons.values())
    columns = ["optimum", "best crop"] if drawn else ["best crop"]
    where = circuit.outputs_layer or "the classes"
    into = "in red the classes for which it speaks" if not circuit.outputs_layer else "in red the units that it drives"
    return circuit_page(
        CircuitPage(
            title=f"What {circuit.layer}/{circuit.channel} is made of, and what it does",
            subtitle=f"{circuit.network} · {circuit.weights_of} · measured on {_photos(circuit)}",
            notes=[
                f"Each line is measured: a channel's whole map is replaced by {_INSTEAD[circuit.replace]}, and the "
                "network runs on from there. Number: what the unit (or class) loses, its value before minus after, "
                "at the place of its maximum; ± is the standard error over photos.",
                "Width: the effect, beside the largest on its side. Red drives, blue holds back.",
                *_of_all(circuit),
            ],
            left=Side(
                f"Inputs: {circuit.inputs_layer}",
                "in red what drives the unit",
                [_node(circuit, circuit.inputs_layer, edge, drawn) for edge in circuit.inputs[:SHOWN]],
                columns,
                _more(len(circuit.inputs) - SHOWN),
            ),
            unit=_unit(circuit, drawn),
            right=Side(
                f"Outputs: {where}",
                into,
                [_node(circuit, circuit.outputs_layer, edge, drawn) for edge in circuit.outputs[:SHOWN]],
                columns if circuit.outputs_layer else [],
                _more(len(circuit.outputs) - SHOWN),
            ),
            facts=_facts(circuit),
            footer=f"seed {circuit.seed} · {made_by()}",
            kernels=_kernels(circuit),
        )
    )


def _photos(circuit: Found) -> str:
    count = len(circuit.photos)
    if count == circuit.of:
        return counted(count, "photos")
    excites = "photo that excites" if count == 1 else "photos that excite"
    return f"the {count} of {circuit.of} {excites} it most"


def _of_all(circuit: Found) -> list[str]:
    """Where the replacement is an average over the very photos that are measured, differences cancel."""
    if circuit.replace == "zero" or len(circuit.photos) < circuit.of:
        return []
    return ["All photos are measured, which the replacement comes from, too: what is read linearly loses 0 on average."]


def _pictures(icon: Icon | None, drawn: bool) -> Sequence[Picture | None]:
    if icon is None:
        return [None, None] if drawn else [None]
    return [icon.optimum, icon.crop] if drawn else [icon.crop]


def _node(circuit: Found, layer: str, edge: Edge, drawn: bool) -> Node:
    error = "" if not np.isfinite(edge.error) else f" ± {number(edge.error, '.2g')}"
    effect = edge.effect if abs(edge.effect) > _ROUNDING * abs(circuit.value) else 0.0
    if not layer:
        name = f"class {edge.channel}" if circuit.names is None else circuit.names[edge.channel]
        return Node(name, effect=effect, error=error)
    icon = circuit.icons.get((layer, edge.channel))
    return Node(
        f"{layer}/{edge.channel}",
        _pictures(icon, drawn),
        "" if icon is None else f"{short(icon.value)} in {icon.photo}",
        effect,
        error,
    )


def _unit(circuit: Found, drawn: bool) -> Node:
    icon = circuit.icons.get((circuit.layer, circuit.channel))
    return Node(
        f"{circuit.layer}/{circuit.channel}",
        _pictures(icon, drawn),
        f"its maximum on these photos: {short(circuit.value)} on average",
    )


def _more(count: int) -> str:
    return f"and {count} with smaller effects" if count > 0 else ""


def _kernels(circuit: Found) -> list[KernelRow]:
    if circuit.kernels is None or circuit.kernels.shape[1:] == (1, 1):
        return []
    used = np.any(circuit.kernels != 0, axis=(1, 2)).tolist()
    strongest = [edge.channel for edge in circuit.inputs[: 2 * SHOWN] if used[edge.channel]]
    if not strongest:
        return []
    h, w = circuit.kernels.shape[1:]
    rows = [
        KernelRow(
            f"The kernels from these inputs to the unit, {h} × {w}, one scale: red drives, blue holds back. What is "
            "not linear on the way is left out.",
            [f"{channel}" for channel in strongest],
            [circuit.kernels[channel] for channel in strongest],
        )
    ]
    return [*rows, *pattern_rows(circuit.kernels)]


def _facts(circuit: Found) -> list[tuple[str, list[str]]]:
    lines = []
    for one in circuit.together:
        what = f"all {one.count}" if one.count == len(circuit.inputs) else f"the {one.count} strongest"
        error = f" ± {number(one.error, '.2g')}" if np.isfinite(one.error) else ""
        lines.append(
            f"{what}: {short(one.effect)}{error}; single effects sum to {short(one.sum)}, "
            f"not explained {short(one.effect - one.sum)}"
        )
    guessed = [
        f"{guess.name} ({guess.of}): " + ("–" if guess.correlation is None else number(guess.correlation, ".2f"))
        for guess in circuit.guesses
    ]
    return [
        ("Knocked out together", lines),
        ("What others guess by: rank correlation with the measured effects", guessed),
    ]


def short(value: float) -> str:
    """Three digits that count."""
    return number(value, ".3g")
