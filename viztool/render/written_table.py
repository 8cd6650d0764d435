"""A table in writing: as plain text for a terminal, as HTML for a notebook."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape


def plain_table(rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """rows: the headings first. right: the columns that stand at the right, numbers say."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def html_table(rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """As `plain_table`; spaces that a cell begins with are kept."""
    lines = [_row("th", rows[0], right), *(_row("td", row, right) for row in rows[1:])]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _row(tag: str, row: Sequence[str], right: Collection[int]) -> str:
    cells = (
        f'<{tag} style="text-align: {"right" if at in right else "left"}; white-space: pre">{escape(cell)}</{tag}>'
        for at, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>"
