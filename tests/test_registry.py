"""What there is, by name."""

import pytest

from viztool.errors import ImageError, ViztoolError
from viztool.registry import Registry


@pytest.fixture
def tools():
    registry = Registry[int]("tool")
    for number, name in enumerate(("hammer", "saw", "jig_saw")):
        registry.add(name, number)
    return registry


def test_names_are_in_the_order_in_which_they_came(tools):
    assert tools.names() == ("hammer", "saw", "jig_saw")


def test_it_is_found_however_it_is_spelled(tools):
    assert [tools.find(name) for name in ("saw", "Saw", "Jig-Saw", "jigsaw", "jig saw")] == [1, 1, 2, 2, 2]


def test_an_unknown_one_gets_the_nearest_names(tools):
    with pytest.raises(ViztoolError, match=r"^no tool is called 'hamer'; nearest: hammer$"):
        tools.find("hamer")
    with pytest.raises(ViztoolError, match=r"^no tool is called 'plane'; there are hammer, saw, jig_saw$"):
        tools.find("plane")


def test_the_error_is_of_the_kind_that_was_asked_for():
    with pytest.raises(ImageError, match=r"^no brush is called 'saw'; there are $"):
        Registry[int]("brush", ImageError).find("saw")


def test_a_name_is_taken_once(tools):
    with pytest.raises(ValueError, match=r"^there is a tool 'saw' already$"):
        tools.add("saw", 4)
