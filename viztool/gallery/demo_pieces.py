"""The gallery's demos: each claim of the textbooks, and the questions that a demo asks of a network."""

from __future__ import annotations

from viztool.demos import CLAIMS, Demo, demos, network_demos
from viztool.gallery.piece import Piece

_CLAIMS, _NETWORKS = "What textbooks claim", "The same, asked of a network"
_NETWORK = "tf_efficientnet_lite0"
_OPTIONS = {"convolution": ("--stride", "2", "--padding", "1", "--size", "8x8")}
_PHOTOS = {
    name: tuple(f"{{inputs}}/{photo}.jpg" for photo in photos.split())
    for name, photos in {
        "activations": "cat coffee astronaut rocket camera coffee_and_cat",
        "pooling-invariance": "cat coffee astronaut rocket camera coffee_and_cat",
        "receptive-field": "cat",
        "checkerboard": "cat",
    }.items()
}
"""Of a network that is asked what it does on photos: several say more than one."""


def _caption(demo: Demo) -> str:
    if not demo.claims:
        return "A small training, several times over: its spread over the seeds is drawn."
    words = {"true": "true", "conditional": "true with a condition", "false": "false as it is usually said"}
    return " ".join(f"Claim {number} of 33: {words[CLAIMS[number].verdict]}." for number in demo.claims)


def _name(demo: str) -> str:
    return f"demo_{demo.replace('-', '_')}"


DEMO_PIECES = (
    *(
        Piece(
            _name(demo.name),
            _CLAIMS,
            demo.title,
            _caption(demo),
            ("demo", demo.name, *_OPTIONS.get(demo.name, ())),
            suffix=".gif" if demo.moves else ".png",
            slow=demo.trains,
        )
        for demo in demos().values()
    ),
    *(
        Piece(
            f"{_name(name)}_network",
            _NETWORKS,
            demos()[name].title,
            "The question of the demo, put to the embedded network.",
            ("demo", name, *_PHOTOS.get(name, ()), "-m", _NETWORK),
        )
        for name in network_demos()
    ),
)
"""A piece for each demo, in the order of the claims, and for each question to a network."""
