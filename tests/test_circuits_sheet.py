"""The circuit sheet and its command: what is drawn is what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from circuit_nets import BothEdges, corner
from click.testing import CliRunner

from viztool.circuits import circuit
from viztool.cli import main
from viztool.images import write_image
from viztool.inspect.ranks import rank_correlation
from viztool.render.canvas import Canvas, Curve, Placed, Text


def drawn(canvas):
    for one in canvas.drawn:
        if isinstance(one, Placed):
            yield from drawn(one.canvas)
        else:
            yield one


def words(canvas: Canvas) -> list[str]:
    return [one.text for one in drawn(canvas) if isinstance(one, Text)]


def test_lines_are_as_wide_as_effects_and_coloured_by_their_sign():
    found = circuit(BothEdges().eval(), "fires", 0, corner(), inputs="relu", replace="zero")
    sheet = found.drawing()
    lines = [one for one in drawn(sheet) if isinstance(one, Curve)]
    # Two inputs of 0.5, two of 0, then three classes of 1, −0.5 and 0.
    assert [line.thickness for line in lines] == [13, 13, 1, 1, 13, 6, 1]
    drives, holds_back = lines[0].color, lines[5].color
    assert drives != holds_back
    assert [line.color for line in lines[4:6]] == [drives, holds_back]
    said = words(sheet)
    assert [text for text in said if text.startswith(("+", "−"))] == ["+0.5", "+0.5", "+1", "−0.5"]
    assert "the 2 strongest: 0.5; single effects sum to 1, not explained −0.5" in said
    assert {"relu/0", "fires/0", "class 0"} <= set(said)


def test_numbers_are_ready_for_json_and_say_all_that_is_drawn():
    found = circuit(BothEdges().eval(), "fires", 0, corner(), inputs="relu", replace="zero")
    numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
    assert numbers["inputs"] == {
        "layer": "relu",
        "edges": [
            {"channel": channel, "effect": effect, "error": None}
            for channel, effect in ((0, 0.5), (1, 0.5), (2, 0.0), (3, 0.0))
        ],
    }
    assert numbers["together"][0] == {"count": 2, "effect": 0.5, "error": None, "sum": 1.0}
    assert np.array_equal(found.arrays["inputs"], [[0.5, 0.5, 0, 0]])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1),
        ([1, 1, 2, 3], [1, 2, 3, 4], 0.9486832980505138),  # scipy.stats.spearmanr
        ([1, 1, 1], [1, 2, 3], None),
    ],
)
def test_rank_correlation(one, other, expected):
    found = rank_correlation(np.array(one, float), np.array(other, float))
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.fixture
def photos(desk: Path) -> Path:
    for at in range(3):
        write_image(f"photos/{at}.png", np.random.default_rng(at).integers(0, 256, (40, 50, 3), np.uint8))
    return desk


NET = ["-m", "nets.py:build", "--weights", "none", "--size", "24"]


def test_the_command_draws_and_tells(photos):
    Path("nets.py").write_text(
        "from torch import nn\n\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), "
        "nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))\n"
    )
    asked = ["circuit", "photos", "-l", "2", "-c", "1", "--top", "2", "--no-kernels", "--json", "--npz", *NET]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)["results"][0]
    assert told["files"] == ["2_1_circuit.png", "2_1_circuit.npz"]
    assert all(Path(file).exists() for file in told["files"])
    assert (told["inputs"]["layer"], told["outputs"]["layer"]) == ("1", "")
    assert (len(told["photos"]), told["of"]) == (2, 3)
    assert len(told["outputs"]["edges"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--replace", "zero"], "--replace is of what is measured: give PHOTOS, or --atlas"),
        (["photos", "--atlas", "x"], "give either PHOTOS, or --atlas"),
        (["photos", "--inputs", "nothing"], "'nothing'"),
        (["photos", "--replace", "noise"], "'noise' is not one of 'mean', 'zero', 'resample'"),
    ],
)
def test_wrong_usage_is_said(photos, arguments, message):
    done = CliRunner().invoke(main, ["circuit", *arguments, "-l", "0", "-c", "0", "--no-kernels", *NET])
    assert done.exit_code == 2
    assert message in done.output


def test_icons_are_what_the_channels_answered_to_most():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 2, 3)).eval()
    photos = torch.randn(3, 3, 12, 12)
    found = circuit(net, "1", 0, photos, inputs="0", outputs=None)
    with torch.no_grad():
        highest = net[0](photos).amax((2, 3))
    for channel in range(4):
        icon = found.icons["0", channel]
        assert icon.photo == f"image {int(highest[:, channel].argmax())}"
        assert icon.value == pytest.approx(float(highest[:, channel].amax()))
        assert icon.crop.shape == (3, 3, 3)
