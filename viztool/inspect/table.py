"""The table of a network's layers: as numbers, as text, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from viztool.inspect.receptive_field import ReceptiveField
from viztool.render.canvas import Canvas
from viztool.render.table import Column, draw_table
from viztool.render.written_table import html_table, plain_table
from viztool.results import Result


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    depth: 1 for the network's own children. calls: how often it ran; some never do (an auxiliary head, a
    `ModuleList`, which has no forward). output_shape, receptive_field: of the first tensor that its last
    call put out, None if there is none. parameters, macs: with those of the layers inside it. uncounted: operations
    in it that multiply and add, such as "aten::_fft_r2c", whose multiply-adds are not known and not in `macs`.
    """

    name: str
    type: str
    depth: int
    is_leaf: bool
    calls: int
    output_shape: tuple[int, ...] | None
    parameters: int
    macs: int
    receptive_field: ReceptiveField | None
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class LayerTable(Result):
    """The layers of a network in the order in which they first run, each before those inside it.

    A layer that never runs stands behind the one that it is defined after. parameters, macs, uncounted: of the whole
    network; a parameter that is shared counts once.
    """

    network: str
    input_shape: tuple[int, ...] | None
    rows: tuple[LayerRow, ...]
    parameters: int
    macs: int
    uncounted: tuple[str, ...] = ()

    @property
    def numbers(self) -> dict[str, Any]:
        """Everything in the table, ready for JSON."""
        return {
            "network": self.network,
            "input_shape": self.input_shape and list(self.input_shape),
            "parameters": self.parameters,
            "macs": self.macs,
            "uncounted": list(self.uncounted),
            "layers": [
                {
                    **asdict(row),
                    "output_shape": row.output_shape and list(row.output_shape),
                    "uncounted": list(row.uncounted),
                    "receptive_field": row.receptive_field and row.receptive_field.numbers,
                }
                for row in self.rows
            ],
        }

    def drawing(self) -> Canvas:
        """The table, drawn. A bar behind a number is its share of the network's."""
        parameters, macs = max(self.parameters, 1), max(self.macs, 1)
        cells = list(zip(*(_cells(row) for row in self.rows), strict=True)) or [()] * len(_HEADINGS)
        shares: dict[str, list[float]] = {
            "parameters": [row.parameters / parameters for row in self.rows],
            "multiply-adds": [row.macs / macs for row in self.rows],
        }
        columns = [
            Column(heading, column, "right" if heading in shares else "left", shares.get(heading, ()))
            for heading, column in zip(_HEADINGS, cells, strict=True)
        ]
        shape = "" if self.input_shape is None else f"input {_sides(self.input_shape)} · "
        total = f"{shape}{self.parameters:,} parameters · {_macs(self.macs, self.uncounted)} multiply-adds"
        if self.uncounted:
            total += f" · not counted: {', '.join(self.uncounted)}"
        return draw_table(self.network, total, columns, [row.depth - 1 for row in self.rows])

    @property
    def in_words(self) -> str:
        """How large the network is."""
        macs = _macs(self.macs, self.uncounted)
        return f"{self.network}: {len(self.rows)} layers, {self.parameters:,} parameters, {macs} multiply-adds"

    def __str__(self) -> str:
        """The table as plain text."""
        return plain_table(self._lines(), _NUMERIC)

    def _repr_html_(self) -> str:
        return html_table(self._lines(), _NUMERIC)

    def _lines(self) -> list[tuple[str, ...]]:
        rows = [("  " * (row.depth - 1) + name, *rest) for row in self.rows for name, *rest in [_cells(row)]]
        missed = f"not counted: {', '.join(self.uncounted)}" if self.uncounted else ""
        total = ("total", "", "", f"{self.parameters:,}", _macs(self.macs, self.uncounted), missed)
        return [_HEADINGS, *rows, total]


_HEADINGS = ("layer", "type", "output", "parameters", "multiply-adds", "receptive field")
_NUMERIC = (3, 4)


def _cells(row: LayerRow) -> tuple[str, ...]:
    return (
        row.name.rpartition(".")[2],
        row.type,
        "" if row.output_shape is None else _sides(row.output_shape),
        f"{row.parameters:,}",
        _macs(row.macs, row.uncounted),
        "" if row.receptive_field is None else str(row.receptive_field),
    )


def _macs(macs: int, uncounted: Sequence[str]) -> str:
    return f"more than {macs:,}" if uncounted else f"{macs:,}"


def _sides(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
