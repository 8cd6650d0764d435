"""Networks that take more than a picture, with what else they take held fixed."""

import pytest
import torch
from torch import nn

import viztool
from viztool.errors import ModelError
from viztool.models import hold_inputs


class Conditioned(nn.Module):
    """A picture, what is known of it, a scale in a dict, and a plain number."""

    def __init__(self):
        super().__init__()
        self.conv, self.known, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(2, 6), nn.Linear(6, 4)

    def forward(self, picture, known, scale, power=1):
        maps = self.conv(picture).relu() * self.known(known).sigmoid()[:, :, None, None]
        return self.fc(maps.mean((2, 3)) * scale["by"] ** power)


@pytest.fixture
def parts():
    return Conditioned().eval(), torch.randn(2, 3, 12, 12), torch.randn(2, 2), {"by": torch.rand(1, 1) + 0.5}


def test_it_gives_what_the_network_gives(parts):
    net, x, known, scale = parts
    held = hold_inputs(net, known, scale, power=2)
    assert torch.equal(held(x), net(x, known, scale, power=2))
    many = held(torch.cat([x, x + 1, x - 1]))
    assert torch.allclose(many[2:4], net(x + 1, known, scale, power=2), atol=1e-6)


@pytest.mark.parametrize("method", ["gradcam", "scorecam", "ablationcam", "fullgrad"])
def test_class_activation_maps_are_those_of_the_whole(parts, method):
    """One by one, each image with its own other inputs."""
    net, x, known, scale = parts
    layer = None if method == "fullgrad" else "net.conv"
    both = viztool.class_activation_map(hold_inputs(net, known, scale), x, method, [1, 2], layer)
    for index in range(2):
        held = hold_inputs(net, known[index : index + 1], scale)
        alone = viztool.class_activation_map(held, x[index : index + 1], method, index + 1, layer)
        assert torch.allclose(both.raw[index], alone.raw[0], atol=1e-5)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion", "rise", "deeplift"])
def test_attributions_and_what_they_are_beside_random_maps(parts, method):
    net, x, known, scale = parts
    options = {"rise": {"samples": 20}}.get(method, {})
    both = viztool.attribute(hold_inputs(net, known, scale), x, method, 1, **options)
    held = hold_inputs(net, known[1:], scale)
    alone = viztool.attribute(held, x[1:], method, 1, **options)
    assert torch.allclose(both.raw[1], alone.raw[0], atol=1e-4 * float(alone.raw.abs().max()))
    model = viztool.wrap_model(held, output="softmax")
    assert float(viztool.evaluate_heatmap(model, x[1:], alone, steps=4, draws=2).probability[0]) == pytest.approx(
        float(net(x, known, scale).softmax(1)[1, 1].detach())
    )


def test_nothing_of_the_network_changes(parts):
    net = parts[0]
    net.train()
    net.conv.eval()
    hold_inputs(net, *parts[2:])
    assert (net.training, net.conv.training, net.fc.training) == (True, False, True)


def test_another_number_of_images_is_an_error(parts):
    net, x, known, scale = parts
    with pytest.raises(ModelError, match=r"^an input that is held is of 2 images, and 3 were given$"):
        hold_inputs(net, known, scale)(torch.cat([x, x[:1]]))
