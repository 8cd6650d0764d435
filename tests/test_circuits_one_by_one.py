"""Effects in networks that go through a batch image by image: against each photo run alone with the channel out."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from viztool.circuits import circuit
from viztool.circuits.between import Between
from viztool.errors import ModelError
from viztool.inspect.survey import survey


class ByImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3), nn.Linear(6, 3)

    def one(self, x):
        return self.fc(torch.relu(self.b(torch.relu(self.a(x))))[0].mean((1, 2)))

    def forward(self, x):
        return torch.stack([self.one(image[None]) for image in x])


@torch.no_grad()
def scores_without(net, layer, channel, x, read):
    """(photos, K) with a channel at 0, each photo alone; channel None: as it is."""

    def out(module, args, output):
        changed = output.clone()
        if channel is not None:
            changed[:, channel] = 0
        return changed

    handle = net.get_submodule(layer).register_forward_hook(out)
    rows = torch.stack([read(net(photo[None])) for photo in x])
    handle.remove()
    return rows


def test_effects_are_those_of_each_photo_alone():
    torch.manual_seed(0)
    net, x = ByImage().eval(), torch.randn(4, 3, 14, 14)
    found = circuit(net, "b", 1, x, inputs="a", replace="zero")
    slow = scores_without(net, "b", None, x, lambda y: y[0]) - scores_without(net, "b", 1, x, lambda y: y[0])
    assert float(slow.mean(0).abs().min()) > 0
    assert [edge.effect for edge in sorted(found.outputs)] == pytest.approx(slow.mean(0).tolist(), abs=1e-6)
    with torch.no_grad():
        before = net.b(torch.relu(net.a(x)))[:, 1].flatten(1)
        after = []
        for channel in range(8):
            maps = net.a(x)
            maps[:, channel] = 0
            after.append(net.b(torch.relu(maps))[:, 1].flatten(1))
    at = before.argmax(1, keepdim=True)
    effects = {edge.channel: edge.effect for edge in found.inputs}
    for channel in range(8):
        expected = float((before.gather(1, at) - after[channel].gather(1, at)).mean())
        assert effects[channel] == pytest.approx(expected, abs=1e-5)


def test_many_copies_give_what_each_gives_alone():
    torch.manual_seed(0)
    net, x = ByImage().eval(), torch.randn(1, 3, 14, 14)
    known = survey(net, x)
    between = Between(net, x, known.site("a"), None, lambda y: y)
    given = between.copies(8)
    for channel in range(8):
        given[channel, channel] = 0
    together = between(given)[..., 0, 0]
    assert torch.equal(together, torch.cat([between(one)[..., 0, 0] for one in given.split(1)]))
    assert len(together.unique(dim=0)) > 1


def detector(kind):
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=4, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=4, padding=1), nn.ReLU()
    )
    body.out_channels = 8
    anchors = AnchorGenerator(((16, 32),), ((1.0,),))
    size = {"num_classes": 3, "min_size": 64, "max_size": 64}
    if kind == "retina":
        net = RetinaNet(body, anchor_generator=anchors, score_thresh=0.0, detections_per_img=20, **size).eval()
        for parameter in net.head.parameters():
            parameter.data *= 15  # it begins nearly blind
        return net
    return FasterRCNN(
        body, rpn_anchor_generator=anchors, box_score_thresh=0.0, box_detections_per_img=20, **size
    ).eval()


def by_class(output):
    found = torch.zeros(3)
    return found.scatter_reduce(0, output[0]["labels"], output[0]["scores"], "amax")


@pytest.mark.parametrize("kind", ["retina", "faster"])
def test_a_detectors_classes_are_measured_one_photo_at_a_time(kind):
    net, x = detector(kind), torch.rand(3, 3, 64, 64)
    found = circuit(net, "backbone.2", 3, x, inputs="backbone.0", replace="zero")
    slow = scores_without(net, "backbone.2", None, x, by_class) - scores_without(net, "backbone.2", 3, x, by_class)
    effects = [edge.effect for edge in sorted(found.outputs)]
    assert np.pad(effects, (0, 3 - len(effects))).tolist() == pytest.approx(slow.mean(0).tolist(), abs=1e-6)
    assert float(slow.abs().max()) > 0


class Breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        y = self.b(self.a(x))
        if not y[:, 1].flatten(1).any(1).all():
            raise IndexError("nothing there\nat all")
        return self.fc(y.mean((2, 3)))


def test_what_does_not_run_even_alone_is_one_line():
    with pytest.raises(ModelError) as caught:
        circuit(Breaks().eval(), "b", 1, torch.randn(2, 3, 12, 12), inputs="a", replace="zero")
    assert str(caught.value) == "the network does not run on changed channels of layer 'b': nothing there"
