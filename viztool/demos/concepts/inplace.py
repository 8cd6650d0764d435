"""Changing tensors in place, and what autograd says."""

from __future__ import annotations

import torch

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.numbers import number
from viztool.render.panels import BAD, GOOD, Table, Words

_MESSAGE = "is being used in an in-place operation"


def _leaf() -> None:
    torch.ones(3, requires_grad=True).add_(1)


def _leaf_without_grad() -> None:
    with torch.no_grad():
        torch.ones(3, requires_grad=True).add_(1)


def _needed() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def _not_needed() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x + 1
    y.mul_(2)
    y.sum().backward()


def _plain() -> None:
    torch.ones(3).add_(1)


@demo("inplace", "May one change a tensor in place?", claims=[33])
def inplace(photo: Photo, seed: int) -> Story:
    """Five in-place changes, and what torch says to each."""
    story = Story(notes=["No photo is needed for this one."])
    cases = {
        "a leaf that needs gradients": (_leaf, _MESSAGE),
        "the same under no_grad": (_leaf_without_grad, ""),
        "a result that backward needs": (_needed, "modified by an inplace operation"),
        "a result that backward does not need": (_not_needed, ""),
        "a tensor without gradients": (_plain, ""),
    }
    rows = [["changed in place", "torch says"]]
    colors = []
    said: dict[str, str] = {}
    for at, (name, (act, expected)) in enumerate(cases.items(), 1):
        try:
            act()
            said[name] = ""
        except RuntimeError as error:
            said[name] = str(error).splitlines()[0]
        story.equal(f"whether {name} raises", bool(said[name]), bool(expected))
        story.equal(f"whether its message contains {expected!r}", expected in said[name], True)
        rows.append([name, "an error" if said[name] else "fine"])
        colors.append((at, 1, BAD if said[name] else GOOD))
    story.numbers["said"] = said
    story.band(
        "Five cases",
        ["A leaf is a tensor that one made, as a parameter is. In place: add_, mul_, x[0] = 1, ReLU(inplace=True)."],
        Table(rows, colors=tuple(colors), width=520),
    )
    story.band("In torch's words", ["The leaf's error."], Words([said["a leaf that needs gradients"]], across=1))
    leaf = torch.tensor([2.0], requires_grad=True)
    (leaf * leaf).backward()
    assert leaf.grad is not None
    before = float(leaf.grad)
    with torch.no_grad():
        leaf -= 0.1 * leaf.grad
    after = float(leaf.detach())
    story.near("a step of gradient descent under no_grad", after, 1.6, 1e-6)
    story.numbers["step"] = {"from": 2.0, "rate": 0.1, "gradient": before, "to": after}
    story.when_this_fails(
        [
            "Under no_grad it is allowed: it is how every optimizer steps.",
            "Behind a leaf it depends on whether backward needs the old value: exp does, an addition does not.",
        ],
        Words(
            [f"x = 2, y = x², gradient {number(before)}. Under no_grad, x −= 0.1 · gradient: x = {after:.2f}."],
            across=1,
        ),
    )
    return story
