"""Arrays in as few bytes as they need: the planes of their bytes, one after the other, which gzip then makes small."""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Kind = Literal["f32", "f24", "u8", "bytes"]
"""f32: as they are. f24: floats of 24 bits at most, as many as the blob is made with. u8: 256 steps between the
least and the largest of each row. bytes: uint8 as they are."""

Reference = dict[str, Any]
"""Where an array is, and in what form: ready for JSON."""


class Blob:
    """One run of bytes that holds many arrays; what is the same is held once.

    bits: of the fractions of numbers of kind f24, 15 at most: what is rounded away takes no room when packed.
    """

    def __init__(self, bits: int = 15) -> None:
        self._bits = min(15, bits)
        self._parts: list[bytes] = []
        self._size = 0
        self._known: dict[tuple[bytes, Kind, int], Reference] = {}
        self.spent: dict[str, int] = {}
        """Bytes by what they are for."""

    def add(self, array: npt.NDArray[Any], kind: Kind, what: str, bits: int = 0) -> Reference:
        """Put an array in. u8: its rows are its first axis. what: what it is for. bits: at least, of kind f24."""
        bits = max(bits, self._bits)
        content = np.ascontiguousarray(array, np.uint8 if kind == "bytes" else np.float32)
        digest = hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
        if (digest, kind, bits) not in self._known:
            reference = {"kind": kind, "at": self._size, "shape": list(content.shape)}
            if kind == "u8":
                self._put(_steps(content), what)
            else:
                self._put(_planes(content, kind, bits), what)
            self._known[digest, kind, bits] = reference
        return self._known[digest, kind, bits]

    def joined(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)

    def _put(self, content: bytes, what: str) -> None:
        self._parts.append(content)
        self._size += len(content)
        self.spent[what] = self.spent.get(what, 0) + len(content)


def _planes(content: npt.NDArray[Any], kind: Kind, fraction: int) -> bytes:
    """The first byte of each number, then the second of each: neighbours share exponents and not fractions."""
    if kind == "bytes":
        return bytes(content.tobytes())
    bits = content.astype("<f4").view("<u4").ravel()
    if kind == "f24":
        gone = np.uint32(23 - fraction)
        rounded = (bits + (np.uint32(1) << (gone - np.uint32(1)))) >> gone << gone
        bits = np.where(np.isfinite(content).ravel(), rounded, bits)
    own = bits.astype("<u4").view(np.uint8).reshape(-1, 4)
    return bytes(own[:, : 0 if kind == "f24" else None : -1].T.tobytes())


def _steps(content: npt.NDArray[Any]) -> bytes:
    """For each row the least number and the step, float32, then a byte for each number."""
    rows = content.reshape(len(content), -1)
    finite = np.where(np.isfinite(rows), rows, 0)
    low = finite.min(1, initial=0)
    step = (finite.max(1, initial=0) - low) / 255
    codes = np.rint((finite - low[:, None]) / np.where(step > 0, step, 1)[:, None])
    return bytes(np.concatenate([low, step]).astype("<f4").tobytes() + codes.astype(np.uint8).tobytes())
