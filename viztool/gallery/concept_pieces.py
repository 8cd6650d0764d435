"""What hangs in the gallery about what a class is made of."""

from __future__ import annotations

from viztool.gallery.piece import Piece

CONCEPT_PIECES = (
    Piece(
        "concepts_espresso",
        "What a class is made of",
        "What an espresso is made of",
        "Eight concepts of a late block, over 40 tiles of one photo. The coffee in the cup and the white of its rim "
        "are most of the class, the bowl of the spoon a tenth; the wood of the table, which fills more of the layer "
        "than any other, counts for next to nothing. Together they make up a third of the layer and nearly all of the "
        "score. Without the two that matter most little is left; in random orders it takes far more. The fourth is not "
        "to be leant on: with another seed it is another one.",
        ("concepts", "{tiles}", "--label", "coffee", "--target", "espresso", "-l", "blocks.5", "--count", "8"),
        slow=True,
    ),
)
