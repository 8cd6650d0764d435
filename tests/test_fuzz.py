"""The fuzzer itself: its networks are what they say, and it finds a fault that is put there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

from fuzzing.checks import CHECKS
from fuzzing.judge import Judge
from fuzzing.networks import make
from fuzzing.one_case import look
from fuzzing.rules import Plain
from fuzzing.twin import flat, twin

from viztool.hooks.keeper import Keeper
from viztool.targets.question import Question


@pytest.mark.parametrize("seed", range(12))
def test_a_twin_computes_the_same_and_overwrites_nothing(seed):
    case = make(seed)
    torch.manual_seed(0)
    with torch.no_grad():
        x = case.x.clone()
        plain = flat(twin(case.net).eval()(x))
        assert torch.equal(x, case.x)
        given = flat(case.net.eval()(case.x.clone()))
        ruled = flat(twin(case.net, Plain()).eval()(x))
    assert all(torch.equal(one, two) for one, two in zip(plain, given, strict=True))
    assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(ruled, given, strict=True))


def test_a_seed_is_one_network():
    first, second = make(5), make(5)
    assert str(first.net) == str(second.net)
    assert torch.equal(first.x, second.x)
    values = zip(first.net.state_dict().values(), second.net.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in values)
    assert str(make(6).net) != str(first.net)


def wrong(name, seeds):
    judge = Judge()
    for seed in seeds:
        look(make(seed), judge, {name: CHECKS[name]})
    return judge.wrong


def test_a_capture_that_shares_its_tensors_with_the_network_is_found(monkeypatch):
    assert not wrong("capture", range(3, 8))
    monkeypatch.setattr(Keeper, "keep", by_reference(Keeper.keep))
    assert {"capture: values", "capture: gradients"} & wrong("capture", range(3, 8)).keys()


def by_reference(keep):
    """`keep` that hands the network on what it keeps, in place of a clone of it."""

    def kept(self, name, output, inputs):
        call, _ = keep(self, name, output, inputs)
        return call, None

    return kept


def test_a_gradient_that_is_a_little_off_is_found(monkeypatch):
    assert "attribution: gradient" not in wrong("attribution", [3])
    own = Question.gradients
    monkeypatch.setattr(Question, "gradients", lambda self, inputs: own(self, inputs) * 1.001)
    assert "attribution: gradient" in wrong("attribution", [3])
