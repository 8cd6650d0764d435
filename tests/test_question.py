"""Networks that change their input in place: every look gets it fresh, and the caller's tensor stays as it is."""

import pytest
import torch
from torch import nn

import viztool
from viztool.attribution import METHODS as ATTRIBUTIONS
from viztool.cam import METHODS, class_activation_map
from viztool.hooks.replay import Replay
from viztool.hooks.tail import TailPass
from viztool.targets.question import Question


class Centred(nn.Module):
    """Takes the mean colour off its input, in place or not, and then goes on as any network does."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.relu = nn.ReLU()
        self.last = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 5)
        self.images = 0

    def forward(self, x):
        self.images += len(x)
        x = x.sub_(0.7) if self.in_place else x - 0.7
        x = self.act(self.last(self.relu(self.norm(self.stem(x)))))
        return self.head(x.mean((2, 3)))


def both():
    nets = []
    for in_place in (True, False):
        torch.manual_seed(3)
        net = Centred(in_place).eval()
        net.norm.running_mean.normal_(0, 0.3)
        nets.append(net)
    return nets


@pytest.fixture
def x():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(5))


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))


@pytest.mark.parametrize("layer", [None, "act"])
@pytest.mark.parametrize("method", METHODS)
def test_every_map_is_that_of_the_same_network_without_in_place(method, layer, x):
    layer = None if method == "fullgrad" else layer
    given = x.clone()
    maps = [class_activation_map(net, x, method, 2, layer) for net in both()]
    assert torch.equal(x, given)
    same(maps[0].raw, maps[1].raw)
    same(maps[0].score, maps[1].score)


@pytest.mark.parametrize("method", ATTRIBUTIONS)
def test_every_attribution_is_that_of_the_same_network_without_in_place(method, x):
    given = x.clone()
    options = {"samples": 20} if method == "rise" else {}
    maps = [viztool.attribute(net, x, method, 2, **options) for net in both()]
    assert torch.equal(x, given)
    same(maps[0].raw, maps[1].raw)


def test_every_number_of_an_evaluation_is(x):
    given = x.clone()
    found = []
    for net in both():
        heatmap = class_activation_map(net, x, "gradcam", 1, "act")
        found.append(viztool.evaluate_heatmap(net, x, heatmap, steps=4, draws=2))
    assert torch.equal(x, given)
    same(found[0].probability, found[1].probability)
    for name, score in found[0].scores.items():
        same(score.value, found[1].scores[name].value)


def test_feature_maps_leave_the_callers_tensor_as_it_is(x):
    given = x.clone()
    (maps, _), (expected, _) = (viztool.feature_maps(net, x, "act") for net in both())
    assert torch.equal(x, given)
    assert maps.numbers["layers"] == expected.numbers["layers"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_replay_gives_the_networks_output_and_leaves_the_callers_tensor_as_it_is(times, x):
    net, plain = both()
    given = x.clone()
    rest = Replay(net, x, "act")
    expected = plain(x).detach().repeat(times, 1)
    for _ in range(2):
        same(rest(rest.activations.repeat(times, 1, 1, 1)), expected)
    assert torch.equal(x, given)


def test_a_tail_leaves_the_callers_tensor_as_it_is(x):
    net, plain = both()
    given = x.clone()
    same(TailPass(net, x, "act").output.detach(), plain(x).detach())
    assert torch.equal(x, given)


class TestQuestion:
    def test_nobody_can_overwrite_its_input(self, x):
        net, plain = both()
        given = x.clone()
        question = Question(net, x, 1)
        x.zero_()
        question.x.zero_()
        same(question.score, plain(given)[:, 1].detach())
        same(question.scores(given[None])[0], plain(given)[:, 1].detach())
        assert torch.equal(question.x, given)

    def test_scores_and_gradients_of_changed_copies(self, x):
        net, plain = both()
        question = Question(viztool.wrap_model(net, output="softmax"), x, [1, 3])
        copies = torch.randn(5, *x.shape, requires_grad=True)
        scores = torch.stack([plain(each)[[0, 1], [1, 3]] for each in copies])
        probabilities = torch.stack([plain(each).softmax(1)[[0, 1], [1, 3]] for each in copies])
        (gradients,) = torch.autograd.grad(scores.sum(), copies)
        same(question.scores(copies.detach()), scores.detach())
        same(question.confidences(copies.detach()), probabilities.detach())
        same(question.gradients(copies.detach()), gradients)

    @pytest.mark.parametrize(("layers", "ask"), [((), "output"), (("act",), "output"), (("act",), "layer_gradients")])
    def test_one_forward_answers_for_output_target_score_and_gradients(self, layers, ask, x):
        net, _ = both()
        question = Question(net, x, None, layers=layers)
        question.output if ask == "output" else question.layer_gradients()
        assert question.target.classes == tuple(question.output.argmax(1).tolist())
        assert not question.score.requires_grad
        assert net.images == len(x)

    def test_memory_that_does_not_suffice_for_a_chunk_is_asked_for_half_of_it(self, x):
        class Small(Centred):
            def forward(self, x):
                if len(x) > 4:
                    raise torch.OutOfMemoryError
                return super().forward(x)

        torch.manual_seed(3)
        net = Small(True).eval()
        copies = torch.randn(6, *x.shape)
        question = Question(net, x, 1)
        with torch.no_grad():
            expected = torch.stack([net(each.clone())[:, 1] for each in copies])
        same(question.scores(copies), expected)
        same(question.gradients(copies), torch.stack([question.gradients(each[None])[0] for each in copies]))


class Finder(nn.Module):
    """A detection network with one kind of box, class 3, which it finds where the picture excites it enough."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()

    def forward(self, x):
        found = []
        for score in self.relu(self.conv(torch.stack(list(x)))).amax((1, 2, 3)).sigmoid():
            kept = score[None][score[None] > 0.9]
            found.append({"boxes": kept.new_zeros(len(kept), 4), "labels": torch.full((len(kept),), 3), "scores": kept})
        return found


def test_a_class_that_is_not_found_in_a_changed_copy_has_a_score_of_0_there():
    torch.manual_seed(0)
    net, x = Finder().eval(), 3 * torch.randn(1, 3, 10, 10)
    question = Question(net, x, 3)
    assert float(question.score) > 0.9
    assert question.scores(torch.stack([x, x * 0])).flatten().tolist() == [float(question.score), 0]
