"""Maps of what is no class: of a mask, of a box, of a likeness; and of networks that take more than an image."""

import pytest
import torch
from cam_nets import images
from torch import nn
from torch.nn import functional as F

from viztool.cam import class_activation_map
from viztool.errors import TargetError
from viztool.hooks.tail import TailPass
from viztool.models import hold_inputs
from viztool.targets import box, inside, similarity


class Body(nn.Module):
    """Maps at half the size, with an in-place ReLU behind the convolution."""

    def __init__(self, channels=6):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.act(self.conv(x))


class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), nn.Conv2d(6, 4, 3, padding=1)

    def tail(self, a):
        return {"out": F.interpolate(self.head(a), (12, 10), mode="bilinear")}

    def forward(self, x):
        return self.tail(self.body(x))


class Detector(nn.Module):
    """Takes a batch or a list of images, and puts out a dict for each: cells sorted by score."""

    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), nn.Conv2d(6, 1, 1)

    def tail(self, a):
        scores = self.head(a).flatten(1).sigmoid().sort(1, descending=True).values[:, :5]
        return [{"boxes": torch.zeros(5, 4), "labels": torch.ones(5).long(), "scores": row} for row in scores]

    def forward(self, x):
        return self.tail(self.body(torch.stack(list(x))))


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = Body(), nn.Linear(6, 7)

    def tail(self, a):
        return self.head(torch.tanh(a).mean((2, 3)))

    def forward(self, x):
        return self.tail(self.body(x))


def mask():
    area = torch.zeros(12, 10, dtype=torch.bool)
    area[2:7, 1:5] = True
    return area


REFERENCE = torch.linspace(-1, 1, 7)

# The score once more, from each network's own output.
CASES = {
    "segmentation": (Segmenter, inside(mask(), 2), lambda output: output["out"][:, 2, 2:7, 1:5].mean((1, 2))),
    "detection": (Detector, box(1), lambda output: torch.stack([each["scores"][1] for each in output])),
    "embedding": (Embedder, similarity(REFERENCE), lambda output: F.normalize(output) @ F.normalize(REFERENCE, dim=0)),
}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    make, target, score = CASES[request.param]
    return make().eval(), target, score


def gradient(net, score, a):
    a = a.clone().requires_grad_()
    return torch.autograd.grad(score(net.tail(a)).sum(), a)[0]


def test_grad_cam_of_it(case):
    net, target, score = case
    x = images(3, 12, 10)
    a = net.body(x).detach()
    g = gradient(net, score, a)
    found = class_activation_map(net, x, "hirescam", target, "body")
    torch.testing.assert_close(found.raw, (g * a).sum(1))
    found = class_activation_map(net, x, "gradcam", target, "body")
    torch.testing.assert_close(found.raw, (g.mean((2, 3), keepdim=True) * a).sum(1).relu())
    torch.testing.assert_close(found.score, score(net(x)).detach())
    assert found.classes is None


def test_the_methods_that_run_the_network_often_agree_with_a_loop(case):
    net, target, score = case
    x = images(2, 12, 10)
    with torch.no_grad():
        a = net.body(x)
        y = score(net(x))
        drops = []
        for channel in range(6):
            without = a.clone()
            without[:, channel] = 0
            drops.append((y - score(net.tail(without))) / y.abs())
        up = F.interpolate(a, x.shape[2:], mode="bilinear")
        low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
        masks = (up - low) / (high - low)
        confidence = torch.stack([score(net(x * masks[:, channel : channel + 1])) for channel in range(6)], 1)
    for method, weights in (("ablationcam", torch.stack(drops, 1)), ("scorecam", confidence.softmax(1))):
        expected = (weights[:, :, None, None] * a).sum(1).relu()
        found = class_activation_map(net, x, method, target, "body").raw
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_a_class_of_a_detection_network_is_no_score():
    with pytest.raises(TargetError):
        class_activation_map(Detector().eval(), images(1, 12, 10), "cam", box(0), "body")


class Questioned(nn.Module):
    """Takes an image and a question, and scales the maps by the answer."""

    def __init__(self):
        super().__init__()
        self.body, self.ask, self.head = Body(), nn.Linear(4, 6), nn.Linear(6, 5)

    def tail(self, a, question):
        return self.head((a * self.ask(question)[:, :, None, None]).mean((2, 3)))

    def forward(self, image, question):
        return self.tail(self.body(image), question)


def test_a_network_of_two_inputs_is_looked_at_with_one_of_them_held():
    torch.manual_seed(0)
    net, x, question = Questioned().eval(), images(2, 12, 10), torch.randn(1, 4)
    a = net.body(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.tail(a, question.expand(2, -1))[:, 3].sum(), a)
    held = hold_inputs(net, question)
    found = class_activation_map(held, x, "gradcam", 3, "net.body").raw
    torch.testing.assert_close(found, (g.mean((2, 3), keepdim=True) * a).sum(1).relu().detach())
    # Methods that run it on many images at once ask the question of each.
    with torch.no_grad():
        others = [a * (torch.arange(6) != k).view(1, -1, 1, 1) for k in range(6)]
        y, *without = (net.tail(each, question.expand(2, -1))[:, 3] for each in (a, *others))
        drops = [y - each for each in without]
    weights = torch.stack(drops, 1) / y.abs()[:, None]
    found = class_activation_map(held, x, "ablationcam", 3, "net.body").raw
    torch.testing.assert_close(found, torch.einsum("nk,nkhw->nhw", weights, a.detach()).relu())


def test_the_pass_beneath_takes_several_inputs():
    torch.manual_seed(0)
    net, x, question = Questioned().eval(), images(2, 12, 10), torch.randn(2, 4)
    a = net.body(x).detach().requires_grad_()
    (expected,) = torch.autograd.grad(net.tail(a, question)[:, 3].sum(), a)
    run = TailPass(net, (x, question), "body")
    assert torch.equal(run.gradients(run.output[:, 3])["body"], expected)
    assert run.as_maps("body", expected).shape == (2, 6, 6, 5)
