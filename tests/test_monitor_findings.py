"""Findings: each kind in its layer with its number, none of a healthy training, and what heals is gone."""

from __future__ import annotations

import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monitor_nets import batches, small, train
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.monitor import RULES

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from faults.put import FAULTS
from faults.train import healed, run_fault, two_at_once

ARCHITECTURES = ("plain", "residual", "BatchNorm", "transformer")


@pytest.mark.parametrize(("number", "kind"), list(enumerate(FAULTS)))
def test_each_kind_of_fault_is_found_in_its_layer(number, kind):
    outcome = run_fault(kind, ARCHITECTURES[number % 4], seed=40 + number)
    assert outcome.found, outcome.said


def test_a_fault_that_is_taken_away_is_gone_and_two_are_both_found():
    assert healed("plain", 40)
    assert two_at_once("plain", 40)


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, 0.02, momentum=0.9), lambda p: torch.optim.Adam(p, 2e-3)]
)
def test_a_healthy_training_has_no_finding_at_any_sample(make):
    net = small()
    said = []
    optimizer = make(net.parameters())
    with viztool.monitor(net, optimizer, every=2, on_sample=lambda health, sample: said.extend(health.findings)):
        losses = train(net, optimizer, 60)
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert said == []


def test_evidence_has_the_number_and_the_threshold():
    net = small()
    with torch.no_grad():
        net[1].bias[:6] = -100
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=2, quiet=True) as health:
        train(net, optimizer, 5)
    (finding,) = health.findings
    assert (finding.kind, finding.layer, finding.since_step) == ("dead-units", "2", 0)
    assert finding.evidence == (
        "6 of 8 units were never above 0 in 48 images (75 %, threshold 50 %); the rate of each is at most 0.062"
    )
    assert "Lower the learning rate" in finding.advice
    assert health.numbers["findings"] == [vars(finding)]


def test_thresholds_can_be_changed():
    rules = [replace(rule, threshold=0.9) if rule.kind == "dead-units" else rule for rule in RULES]
    net = small()
    with torch.no_grad():
        net[1].bias[:6] = -100
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=1, rules=rules, quiet=True) as health:
        train(net, optimizer, 6)
    assert health.findings == []


def test_the_kinds_are_the_twelve_of_the_contract():
    assert {rule.kind for rule in RULES} == set(FAULTS) and len(FAULTS) == 12


@pytest.mark.parametrize("every", [1, 7])
def test_the_layer_where_the_first_nan_came_from_is_named_also_between_samples(every):
    class Log(nn.Module):
        broken = False

        def forward(self, x):
            return torch.log(x * 0) if self.broken else x

    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), Log(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 5)
    )
    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def break_it(step):
        net[2].broken = step >= 9

    with viztool.monitor(net, optimizer, every=every, quiet=True) as health:
        train(net, optimizer, 16, before=break_it)
    assert [(finding.kind, finding.layer) for finding in health.findings] == [("not-finite", "2")]
    assert health.findings[0].since_step == 9
    # Between samples the layer is known a step later: that is the same finding, not one that is gone.
    assert [(span.layer, span.since, span.until) for span in health.run.spans] == [("2", 9, None)]


def test_a_nan_in_a_weight_between_samples_is_found_in_its_layer_before_the_step_that_spreads_it():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)

    def put(step):
        if step == 5:
            with torch.no_grad():
                net[3].weight[0, 0, 0, 0] = torch.nan

    with viztool.monitor(net, optimizer, every=50, quiet=True) as health:
        train(net, optimizer, 8, before=put)
    (finding,) = health.findings
    assert (finding.kind, finding.layer, finding.since_step) == ("not-finite", "3", 5)
    assert finding.evidence == "1 value is NaN or infinite in its weights"


@pytest.mark.parametrize(("depth", "rate"), [(8, 0.1), (10, 0.1), (14, 0.1)])
def test_a_gradient_that_is_lost_step_by_step_is_told_of_the_layer_that_gets_least(depth, rate):
    """And nothing else: that the outputs fade, too, and that the steps are small, comes of the same."""
    torch.manual_seed(0)
    net = nn.Sequential()
    for at in range(depth):
        net.append(nn.Linear(192 if at == 0 else 32, 32))
        net.append(nn.Sigmoid())
    net.append(nn.Linear(32, 5))
    optimizer = torch.optim.SGD(net.parameters(), rate)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for x, labels in batches(8):
            optimizer.zero_grad()
            F.cross_entropy(net(x.flatten(1)), labels).backward()
            optimizer.step()
    assert [(finding.kind, finding.layer) for finding in health.findings] == [("vanishing-gradient", "0")]


def test_frozen_layers_are_no_fault():
    net = small()
    net[0].requires_grad_(False)
    net[1].requires_grad_(False)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.02)
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        train(net, optimizer, 6)
    assert health.findings == []


def test_a_warning_is_given_once():
    net = small()
    optimizer = torch.optim.SGD(net[3].parameters(), 0.01)
    viztool.monitor(net, optimizer, every=1)
    with pytest.warns(
        UserWarning, match="viztool.monitor, step 2: never-updated in . since step 0: none of its parame"
    ) as said:
        train(net, optimizer, 8)
    assert sorted(str(each.message).partition(" since")[0] for each in said) == [
        f"viztool.monitor, step 2: never-updated in {layer}" for layer in ("0", "1", "8")
    ]


@pytest.mark.parametrize("place", ["loss", "batch"])
def test_of_a_nan_between_samples_that_no_forward_shows_again_no_layer_is_named(place):
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with viztool.monitor(net, optimizer, every=50, quiet=True) as health:
        for step, (x, labels) in enumerate(batches(60)):
            bad = torch.nan if step == 7 else 1.0
            optimizer.zero_grad()
            (F.cross_entropy(net(x * bad if place == "batch" else x), labels) * bad).backward()
            optimizer.step()
            if step == 10:
                found = list(health.findings)
    for (finding,) in (found, health.findings):  # also when a sample sees that all is NaN
        assert (finding.kind, finding.layer, finding.since_step) == ("not-finite", "", 7)
        assert finding.evidence == (
            "the gradient of the loss became NaN or infinite between samples; the first layer is not known"
        )
        assert str(finding).startswith("not-finite in the network since step 7: ")
    assert "in the network" in health.in_words
    assert health.html
    assert health.drawing()


@pytest.mark.parametrize(("size", "samples"), [(1, 32), (2, 16), (6, 6), (10, 4), (16, 3)])
def test_dead_units_of_small_batches_are_told_from_as_many_samples_as_have_32_images(size, samples):
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 5))
    with torch.no_grad():
        net[1].weight[:2] = 0
        net[1].bias[:2] = 1  # always above 0
        net[1].bias[2:] = -100
    optimizer = torch.optim.SGD(net.parameters(), 0.001)
    since = []
    with viztool.monitor(net, optimizer, every=1, quiet=True) as health:
        for count, (x, labels) in enumerate(batches(samples + 3, size=size), 1):
            optimizer.zero_grad()
            F.cross_entropy(net(x), labels).backward()
            optimizer.step()
            dead = [finding for finding in health.findings if finding.kind == "dead-units"]
            assert bool(dead) == (count >= samples)
            since += [(each.layer, each.since_step) for each in dead]
            if count == samples:
                assert dead[0].evidence.startswith(f"6 of 8 units were never above 0 in {size * samples} images (75 %")
    assert set(since) == {("2", 0)}


def test_to_look_for_the_origin_leaves_the_random_numbers_of_python_and_numpy_as_they_are():
    class Drawn(nn.Module):
        def forward(self, x):
            drawn.append((random.random(), np.random.rand()))
            return x

    def run(monitored):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        net = nn.Sequential(Drawn(), nn.Flatten(), nn.Linear(192, 5))
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        health = viztool.monitor(net, optimizer, every=50, quiet=True) if monitored else None
        for step, (x, labels) in enumerate(batches(12)):
            drawn.append(step)
            optimizer.zero_grad()
            (F.cross_entropy(net(x), labels) * (torch.nan if step == 7 else 1)).backward()
            optimizer.step()
        if health is not None:
            assert [finding.kind for finding in health.findings] == ["not-finite"]
            health.close()

    drawn: list[object] = []
    run(False)
    alone, drawn = drawn, []
    run(True)
    again = drawn.index(8) + 1
    assert drawn[again] == drawn[again + 1]  # what the forward that was run once more drew
    del drawn[again]
    assert drawn == alone
