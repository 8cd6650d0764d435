"""The algebra against sets: each unit with the set of pixels it sees, computed one by one."""

import random
from fractions import Fraction

import pytest

from viztool.inspect import windows
from viztool.inspect.lattice import Lattice, Windows

UNITS = range(-12, 13)


def random_windows(rng: random.Random) -> Windows:
    kind = rng.choice(
        ["sliding", "transposed", "nearest", "exact", "linear", "cubic", "corners", "adaptive", "shifted"]
    )
    ratio = Fraction(rng.randint(1, 6), rng.randint(1, 6))
    kernel, stride, padding, dilation = rng.randint(1, 5), rng.randint(1, 3), rng.randint(0, 3), rng.randint(1, 3)
    return {
        "sliding": lambda: windows.sliding(kernel, stride, padding, dilation),
        "transposed": lambda: windows.transposed(kernel, stride, padding, dilation),
        "nearest": lambda: windows.nearest(ratio),
        "exact": lambda: windows.nearest_exact(ratio),
        "linear": lambda: windows.interpolated(ratio, cubic=False, align_corners=False),
        "cubic": lambda: windows.interpolated(ratio, cubic=True, align_corners=False),
        "corners": lambda: windows.interpolated(ratio, cubic=False, align_corners=True),
        "adaptive": lambda: windows.adaptive(rng.randint(3, 9), rng.randint(2, 9)),
        "shifted": lambda: windows.shifted(rng.randint(-3, 3), rng.randint(1, 3)),
    }[kind]()


def sources(layer: Windows, unit: int) -> list[int]:
    """The units that one unit is computed from."""
    turn, r = divmod(unit, len(layer.units))
    return [tap + turn * layer.step for tap in layer.units[r]]


def pixels(layers: list[Windows], unit: int) -> set[int]:
    """The pixels that a unit of the last layer sees, by going back through all of them."""
    units = {unit}
    for layer in reversed(layers):
        units = {source for one in units for source in sources(layer, one)}
    return units


def test_composition_is_the_hull_of_the_pixels_of_each_unit():
    rng = random.Random(0)
    compared = 0
    for _ in range(300):
        layers = [random_windows(rng) for _ in range(rng.randint(1, 4))]
        lattice = Lattice(axis=0)
        for layer in layers:
            lattice = lattice and lattice.through(layer)
        if lattice is None:
            assert all(not pixels(layers, unit) for unit in UNITS)
            continue
        spans = []
        for unit in UNITS:
            seen = pixels(layers, unit)
            # Where a stride jumps over taps, a unit may see pixels with holes between: the hull counts.
            assert lattice.span(unit) == ((min(seen), max(seen) + 1) if seen else (float("inf"), float("-inf")))
            spans.append(max(seen) + 1 - min(seen) if seen else 0)
            compared += 1
        if len(lattice.first) <= len(UNITS):
            assert lattice.size == max(spans)
    assert compared > 5000


def test_union_is_the_hull_of_both():
    rng = random.Random(1)
    joined = apart = 0
    while joined < 200 or apart < 50:
        one, other = (Lattice(0).through(random_windows(rng)) for _ in range(2))
        if one is None or other is None:
            continue
        union = one.union(other)
        if one.stride != other.stride:
            assert union is None
            apart += 1
            continue
        for unit in UNITS:
            (first, end), (others_first, others_end) = one.span(unit), other.span(unit)
            assert union.span(unit) == (min(first, others_first), max(end, others_end))
        joined += 1


def test_lattices_of_different_axes_have_no_union():
    assert Lattice(0).union(Lattice(1)) is None


def test_period_is_the_shortest():
    """Enlarged twofold and then taken at every second unit, all is as before."""
    enlarged = Lattice(0).through(windows.nearest(Fraction(1, 2)))
    assert len(enlarged.first) == 2
    assert enlarged.through(windows.shifted(0, 2)) == Lattice(0)


@pytest.mark.parametrize(
    ("layer", "size", "stride", "offset"),
    [
        (windows.sliding(7, 2, 3), 7, 2, -3),
        (windows.sliding(3, 1, 2, 2), 5, 1, -2),
        (windows.transposed(2, 2), 1, Fraction(1, 2), Fraction(-1, 4)),
        (windows.transposed(4, 2, 1), 2, Fraction(1, 2), Fraction(-3, 4)),
        (windows.nearest(Fraction(1, 2)), 1, Fraction(1, 2), Fraction(-1, 4)),
        (windows.interpolated(Fraction(1, 2), cubic=False, align_corners=False), 2, Fraction(1, 2), Fraction(-3, 4)),
        (windows.interpolated(Fraction(1, 2), cubic=True, align_corners=False), 4, Fraction(1, 2), Fraction(-7, 4)),
        (windows.adaptive(7, 3), 3, Fraction(7, 3), Fraction(-1, 3)),
        (windows.adaptive(12, 4), 3, 3, 0),
    ],
)
def test_one_layer(layer, size, stride, offset):
    """Worked out by hand. Unit i of an enlarged map is centred on (i + 1/2) · stride."""
    lattice = Lattice(0).through(layer)
    assert (lattice.size, lattice.stride, lattice.offset) == (size, stride, offset)


def test_what_never_repeats_is_no_lattice():
    long = windows.nearest(Fraction(1, 4095))
    assert Lattice(0).through(long) is not None
    assert Lattice(0).through(long).through(windows.nearest(Fraction(1, 2))) is None
    one, other = (Lattice(0, (*range(1, n), 0), (n,) * n, n) for n in (3001, 2999))
    assert one.stride == other.stride
    assert one.union(other) is None


def test_units_that_see_nothing():
    """A transposed convolution whose stride is greater than its kernel leaves gaps."""
    lattice = Lattice(0).through(windows.transposed(1, 2))
    assert lattice.span(0) == (0, 1)
    assert lattice.span(1) == (float("inf"), float("-inf"))
    assert Lattice(0).through(windows.transposed(1, 2)).through(windows.shifted(1, 2)) is None
