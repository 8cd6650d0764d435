"""Score-CAM runs on a private copy with folded batch norms where there can be one, and says the same where not."""

import pytest
import torch
from cam_nets import Pooled, images, pooled, shaken
from torch import nn
from torch.nn import functional as F

from viztool.cam import class_activation_map
from viztool.models.folding import folded

X = images(2, 12, 10)


class Skips(Pooled):
    """What the convolution puts out goes past its batch norm too."""

    def forward(self, x):
        y = self.conv2(self.relu1(self.conv1(x)))
        return self.fc(self.relu2(self.bn(y) + y).mean((2, 3)))


class Twice(Pooled):
    """One batch norm for two calls."""

    def forward(self, x):
        y = self.bn(self.conv2(self.relu1(self.conv1(x))))
        return self.fc(self.relu2(self.bn(y * 0.5)).mean((2, 3)))


class Reads(Pooled):
    """Asks its batch norm for something that no other layer has."""

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        return self.fc(self.relu2(self.bn(self.conv2(x)) * self.bn.eps**0).mean((2, 3)))


class Stubborn(Pooled):
    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


class Views(Pooled):
    """Takes a view that channels last do not have."""

    def forward(self, x):
        x = self.relu2(self.bn(self.conv2(self.relu1(self.conv1(x)))))
        return self.fc(x.view(len(x), -1).view(len(x), 8, -1).mean(2))


class WithoutConv(Pooled):
    """A batch norm with no convolution before it."""

    def forward(self, x):
        x = self.relu1(self.conv1(x))
        return self.fc(self.relu2(self.bn(self.conv2(x).tanh())).mean((2, 3)))


def by_hand(net, x, target):
    """Score-CAM of the layer "relu2" by plain forwards."""
    kept = []
    handle = net.relu2.register_forward_hook(lambda module, args, output: kept.append(output.clone()))
    with torch.no_grad():
        net(x)
        handle.remove()
        a = kept[0]
        up = F.interpolate(a, x.shape[2:], mode="bilinear")
        low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
        masks = torch.where(high > low, (up - low) / (high - low), 0)
        scores = torch.stack([net(x * masks[:, k : k + 1])[:, target] for k in range(a.shape[1])], 1)
    return torch.einsum("nk,nkhw->nhw", scores.softmax(1), a).relu()


@pytest.mark.parametrize("make", [Pooled, Skips, Twice, Reads, Stubborn, Views, WithoutConv])
def test_score_cam_is_that_of_plain_forwards(make):
    torch.manual_seed(0)
    net = shaken(make()).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    found = class_activation_map(net, X, "scorecam", 3, "relu2").raw
    torch.testing.assert_close(found, by_hand(net, X, 3), rtol=1e-4, atol=1e-5)
    assert isinstance(net.bn, nn.BatchNorm2d)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def norms(net):
    return sum(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


def test_a_batch_norm_becomes_part_of_the_convolution_of_a_copy():
    net = pooled().eval()
    copy = folded(net, X)
    assert copy is not net
    assert (norms(net), norms(copy)) == (1, 0)
    with torch.no_grad():
        torch.testing.assert_close(copy(X), net(X))
    assert copy.fc.weight is net.fc.weight, "what is not folded is shared, not copied"
    assert copy.conv1.weight is net.conv1.weight


@pytest.mark.parametrize("make", [Skips, Reads, Stubborn])
def test_a_network_that_cannot_be_folded_is_taken_as_it_is(make):
    torch.manual_seed(0)
    net = shaken(make()).eval()
    assert folded(net, X) is net


@pytest.mark.parametrize("make", [Twice, WithoutConv])
def test_a_batch_norm_that_cannot_be_folded_stays(make):
    torch.manual_seed(0)
    net = shaken(make()).eval()
    assert norms(folded(net, X)) == 1


def test_half_precision_is_not_folded():
    net = pooled().eval().bfloat16()
    assert folded(net, X.bfloat16()) is net


def test_a_large_picture_goes_through_a_network_that_needs_its_views():
    """From 160 × 160 on the input is channels last, where a view of all positions is an error."""
    torch.manual_seed(0)
    net, x = shaken(Views()).eval(), images(1, 168, 160)
    with pytest.raises(RuntimeError, match="view"), torch.no_grad():
        net(x.contiguous(memory_format=torch.channels_last))
    found = class_activation_map(net, x, "scorecam", 3, "relu2").raw
    torch.testing.assert_close(found, by_hand(net, x, 3), rtol=1e-3, atol=1e-5)
