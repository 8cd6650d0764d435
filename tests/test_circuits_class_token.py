"""A channel that is out is out in the class token, too: against the layer's whole output changed by a hook."""

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer

from viztool.circuits import circuit
from viztool.inspect.survey import survey

LAYERS = ["encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1.mlp", "encoder.ln"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=4).eval()
    nn.init.normal_(net.heads.head.weight)
    return net


@torch.no_grad()
def run(net, layer, x, change=None, read=None):
    """The output with a layer's changed; or what another layer puts out then."""
    seen = []
    handles = []
    if change is not None:
        handles.append(net.get_submodule(layer).register_forward_hook(lambda module, args, out: change(out.clone())))
    if read is not None:
        handles.append(net.get_submodule(read).register_forward_hook(lambda module, args, out: seen.append(out)))
    output = net(x)
    for handle in handles:
        handle.remove()
    return output if read is None else seen[0]


def replaced(channel, values):
    """values: (T,), one for each position."""

    def change(tokens):
        tokens[:, :, channel] = values
        return tokens

    return change


def means(net, layer, channel, x):
    """Of the patches over all of them and the photos; of the class token its own over the photos."""
    tokens = run(net, layer, x, read=layer)[..., channel]
    return torch.cat([tokens[:, :1].mean(0), tokens[:, 1:].mean().expand(16)])


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("replace", ["zero", "mean"])
def test_effects_on_classes_are_those_of_the_whole_channel(net, layer, replace):
    x = torch.randn(4, 3, 32, 32)
    values = torch.zeros(17) if replace == "zero" else means(net, layer, 2, x)
    slow = (run(net, layer, x) - run(net, layer, x, replaced(2, values))).mean(0)
    found = circuit(net, layer, 2, x, replace=replace)
    if (layer, replace) != ("encoder.ln", "mean"):  # what is linear in the token changes by 0 in the mean
        assert float(slow.abs().max()) > 1e-3
    assert [edge.effect for edge in sorted(found.outputs)] == pytest.approx(slow.tolist(), abs=1e-5)


def test_resample_takes_the_class_token_of_the_other_photo(net):
    x, layer = torch.randn(2, 3, 32, 32), "encoder.layers.encoder_layer_1.mlp"
    other = run(net, layer, x, read=layer)[..., 2].flip(0)
    slow = (run(net, layer, x) - run(net, layer, x, replaced(2, other))).mean(0)
    found = circuit(net, layer, 2, x, replace="resample")
    assert [edge.effect for edge in sorted(found.outputs)] == pytest.approx(slow.tolist(), abs=1e-5)


def test_inputs_are_the_whole_channel(net):
    x, source, target = torch.randn(3, 3, 32, 32), LAYERS[0], LAYERS[1]
    found = circuit(net, target, 5, x, inputs=source)
    before = run(net, target, x, read=target)[:, 1:, 5]
    at = before.argmax(1, keepdim=True)
    effects = {edge.channel: edge.effect for edge in found.inputs}
    for channel in (0, 7, 15):
        changed = replaced(channel, means(net, source, channel, x))
        after = run(net, source, x, changed, read=target)[:, 1:, 5]
        slow = float((before.gather(1, at) - after.gather(1, at)).mean())
        assert effects[channel] == pytest.approx(slow, abs=1e-5)


def test_the_others_of_a_layer_are_what_its_map_leaves(net):
    x = torch.randn(1, 3, 32, 32)
    site, tokens = survey(net, x).site(LAYERS[0]), run(net, LAYERS[0], x, read=LAYERS[0])
    assert torch.equal(site.others(tokens), tokens[:, :1].transpose(1, 2))
    assert survey(net, x).site("conv_proj").others(torch.zeros(1, 16, 4, 4)).numel() == 0
