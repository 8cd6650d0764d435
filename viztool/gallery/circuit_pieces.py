"""What hangs in the gallery about what units are made of."""

from __future__ import annotations

from viztool.gallery.piece import Piece

_ROOM = "What a unit is made of"


def _circuit(layer: str, channel: int, inputs: str, *outputs: str) -> tuple[str, ...]:
    return ("circuit", "{tiles}", "-l", layer, "-c", str(channel), "--inputs", inputs, *outputs)


CIRCUIT_PIECES = (
    Piece(
        "circuit_early",
        _ROOM,
        "Stripes are made of stripes",
        "An early unit that likes slanting stripes. Its strongest input, measured by taking it out, has stripes of the "
        "same slant, and so has its third. What it feeds most is a unit of the middle, blocks.4/102, that answers to "
        "the rim of a cup: the next sheet. The eight strongest inputs together do what their single effects add up to; "
        "all of them do more.",
        _circuit("blocks.2", 15, "blocks.1", "--outputs", "blocks.4"),
        slow=True,
    ),
    Piece(
        "circuit_middle",
        _ROOM,
        "A rim is made of stripes",
        "The unit of the middle that the stripes feed: what drives it most is the unit of the sheet before. How long "
        "the kernels from its inputs are goes with none of this (rank correlation 0.06); the gradient, with 0.94, is a "
        "good guess. What it feeds most is blocks.6/119: the next sheet.",
        _circuit("blocks.4", 102, "blocks.2", "--outputs", "blocks.6"),
        slow=True,
    ),
    Piece(
        "circuit_late",
        _ROOM,
        "A handle speaks for tools",
        "A late unit that answers to the camera on its tripod and speaks for the revolver, the power drill, the can "
        "opener, the joystick. By its kernel, blue, the rim of the sheet before would hold it back, and unit 8 would "
        "drive it most; measured, the rim drives it, second of 112, and 8 is not among the first six. What happens on "
        "the way, at ReLUs, weights do not tell.",
        _circuit("blocks.6", 119, "blocks.4"),
        slow=True,
    ),
)
