"""Changing tensors in place, and what autograd says."""

from __future__ import annotations

import torch

from viztool.demos.photo import Photo
from viztool.demos.registry import demo
from viztool.demos.story import Story
from viztool.render.charts import Table
from viztool.render.grids import Equation, Grid
from viztool.render.numbers import number
from viztool.render.panels import BAD, GOOD, Words

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


@demo("inplace", "May one change a tensor in place?", claims=[33], sees=False)
def inplace(photo: Photo, seed: int) -> Story:
    """Five in-place changes, and what torch says to each."""
    story = Story()
    _wrong_gradient(story)
    cases = {
        "a leaf that needs gradients": (_leaf, _MESSAGE, "w.add_(1)"),
        "the same under no_grad": (_leaf_without_grad, "", "with no_grad(): w.add_(1)"),
        "a result that backward needs": (_needed, "modified by an inplace operation", "y = x.exp(); y.add_(1)"),
        "a result that backward does not need": (_not_needed, "", "y = x + 1; y.mul_(2)"),
        "a tensor without gradients": (_plain, "", "t.add_(1)"),
    }
    rows = [["changed in place", "such as", "torch says"]]
    colors = []
    said: dict[str, str] = {}
    for at, (name, (act, expected, code)) in enumerate(cases.items(), 1):
        try:
            act()
            said[name] = ""
        except RuntimeError as error:
            said[name] = str(error).splitlines()[0]
        story.equal(f"whether {name} raises", bool(said[name]), bool(expected))
        story.equal(f"whether its message contains {expected!r}", expected in said[name], True)
        rows.append([name, code, "an error" if said[name] else "fine"])
        colors.append((at, 2, BAD if said[name] else GOOD))
    story.numbers["said"] = said
    story.band(
        "Five cases",
        ["A leaf is a tensor that one made, as a parameter is. In place: add_, mul_, x[0] = 1, ReLU(inplace=True)."],
        Table(rows, colors=tuple(colors), width=760),
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


def _wrong_gradient(story: Story) -> None:
    """The gradient of the sum of exp x, and what it would be if backward read a y that was changed."""
    x = torch.tensor([[-1.0, 0, 1, 2]], requires_grad=True)
    y = x.exp()
    (right,) = torch.autograd.grad(y.sum(), x)
    changed = y.detach() + 1
    wrong = changed.clone()  # d exp x / dx is y itself: backward would take what lies there
    off = float((wrong - right).abs().max())
    story.equal("difference of the gradient to exp x", float((right - y.detach()).abs().max()), 0.0)
    story.near("what the gradient would be off by", off, 1.0, 1e-6)
    story.numbers["wrong_gradient"] = {
        "x": x.detach().tolist(),
        "y": y.detach().tolist(),
        "changed": changed.tolist(),
        "off_by": off,
    }

    def grid(values: torch.Tensor, name: str) -> Grid:
        return Grid(values.detach().numpy(), name, form=".1f", cell=44, limit=12)

    story.band(
        "What would go wrong",
        [
            "Backward of y = exp x reads y: the slope of exp is exp. If one adds 1 to y in place, the gradient comes "
            "out wrong without a word. So torch looks at how often y was changed, and refuses."
        ],
        Equation([grid(x, "x"), "→", grid(y, "y = exp x, kept for backward"), "→", grid(changed, "y.add_(1)")]),
        Equation([grid(right, "the gradient of Σ exp x"), "≠", grid(wrong, "what the changed y would give")]),
    )
    story.on_slide(33)
