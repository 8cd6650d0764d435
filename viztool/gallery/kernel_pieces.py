"""What hangs in the gallery about what kernels look for."""

from __future__ import annotations

from viztool.gallery.piece import Piece

_ROOM = "What a kernel looks for"

_CLASSES = ("goldfinch", "peacock", "tarantula", "tiger", "daisy", "espresso", "castle", "volcano")
_STEPS = ("--steps", "256")  # two thirds of the time for nearly the same pictures


def _each(option: str, *values: str) -> tuple[str, ...]:
    return tuple(word for value in values for word in (option, value))


KERNEL_PIECES = (
    Piece(
        "kernels_stages",
        _ROOM,
        "From edges to textures to parts to classes",
        "The embedded network, a band for each stage: the picture that excites each unit most, found by gradient "
        "ascent from noise; no photo was used. Of the first block single units are drawn, as the 7 × 7 pixels that "
        "they see; of the others, each picture keeps at least three quarters of its activation when it is shifted and "
        "turned.",
        ("kernels", *_each("-l", *(f"blocks.{stage}" for stage in range(7))), *_each("--target", *_CLASSES), *_STEPS),
        slow=True,
    ),
    Piece(
        "kernels_middle",
        _ROOM,
        "Eight channels of a middle block",
        "Of each its weights, what excites it most, what excites it least, and the numbers that say whether to believe "
        "the pictures.",
        ("kernels", "-l", "blocks.4", *_STEPS),
        slow=True,
    ),
    Piece(
        "kernels_param",
        _ROOM,
        "The same class by pixels, Fourier, MACO ...",
        "One objective, one seed, and five things that the picture is made from. Pixels end in a fine pattern, half "
        "of their energy at high frequencies, and reach half of the activation of Fourier coefficients. MACO may only "
        "move the phases of a spectrum that photos have, at about four fifths of it. A pyramid reaches as much as "
        "that, with seven times the high frequencies. A small network of x and y (CPPN) finds next to nothing of these "
        "classes.",
        ("kernels", "--target", "tarantula", "--target", "goldfinch", "--compare", "param"),
        slow=True,
    ),
    Piece(
        "kernels_transforms",
        _ROOM,
        "What each transform is for",
        "The same channels with one kind of random transform left out, and with none. With none the activation is the "
        "highest, and two thirds of it are gone when the picture is shifted and turned: the number alone would choose "
        "the worst picture.",
        ("kernels", "-l", "blocks.4", "-c", "14,84", "--compare", "transforms", *_STEPS),
        slow=True,
    ),
    Piece(
        "kernels_redirect",
        _ROOM,
        "Dead units, before and after",
        "Behind a ReLU6, these six units get no gradient from where an ascent starts, so nothing ever happens. With "
        "gradients redirected in the first steps all wake up; then what the ReLU6 is given is climbed, beyond the 6 "
        "that it puts out at most.",
        ("kernels", "-l", "bn2", "-c", "0-5", "--compare", "redirect", "--steps", "128"),
        slow=True,
    ),
    Piece(
        "kernels_growth",
        _ROOM,
        "How they grow",
        "Three channels of a middle block, from nothing to their optima; the steps lie closer at the start, where most "
        "happens.",
        ("kernels", "-l", "blocks.4", "-c", "14,42,84", "--no-negative", *_STEPS),
        suffix=".gif",
        slow=True,
    ),
)
