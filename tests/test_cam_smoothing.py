"""Maps of several views and of several layers are their mean, and a smoothed one is the first component."""

import numpy as np
import pytest
import torch
from cam_nets import images, pooled, rectified
from torch.nn import functional as F

from viztool.cam import METHODS, class_activation_map
from viztool.cam.registry import find
from viztool.errors import TargetError, ViztoolError

LAYER = "relu2"


def map_of(net, x, method, target=2, layer=LAYER, **options):
    return class_activation_map(net, x, method, target, layer, **options).raw


def share(maps):
    """Each over its own largest absolute value, written out image by image."""
    return torch.stack([each / each.abs().max() if bool(each.any()) else each for each in maps])


def resized(maps, size):
    return F.interpolate(maps[:, None], size, mode="bilinear", antialias=True)[:, 0]


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "scorecam", "eigencam"])
def test_flips_are_the_mean_of_both_sides(method):
    net, x = pooled(), images(2, 12, 10)
    plain = share(map_of(net, x, method))
    mirrored = share(map_of(net, x.flip(3), method)).flip(2)
    assert not torch.allclose(plain, mirrored, atol=1e-3)
    torch.testing.assert_close(map_of(net, x, method, smooth_flips=True), (plain + mirrored) / 2)


@pytest.mark.parametrize("flips", [False, True])
def test_scales_are_the_mean_of_the_maps_at_the_size_of_the_first(flips):
    net, x = pooled(), images(2, 16, 12)
    maps = []
    for scale in (1, 0.75, 1.5):
        size = [round(16 * scale), round(12 * scale)]
        view = x if scale == 1 else F.interpolate(x, size, mode="bilinear", antialias=True)
        maps.append(map_of(net, view, "hirescam"))
        if flips:
            maps.append(map_of(net, view.flip(3), "hirescam").flip(2))
    expected = torch.stack([resized(share(each), (8, 6)) for each in maps]).mean(0)
    found = map_of(net, x, "hirescam", smooth_flips=flips, smooth_scales=[0.75, 1.5])
    torch.testing.assert_close(found, expected)


def test_the_class_is_that_of_the_image_in_every_view():
    net, x = pooled(), images(2, 12, 10)
    with torch.no_grad():
        said = net.eval()(x).argmax(1).tolist()
    by_itself = class_activation_map(net, x, "gradcam", None, LAYER, smooth_flips=True, smooth_scales=[1.5])
    named = class_activation_map(net, x, "gradcam", said, LAYER, smooth_flips=True, smooth_scales=[1.5])
    assert torch.equal(by_itself.raw, named.raw)
    assert by_itself.classes == tuple(said)
    assert by_itself.unit == "of the maximum"


def test_an_empty_map_counts_as_nothing():
    net, x = pooled(), images(1, 12, 10)
    with torch.no_grad():
        net.fc.weight[2] = -net.fc.weight[2].abs()
    assert not bool(map_of(net, x, "gradcam", smooth_flips=True).any())
    first = map_of(net, x, "hirescam", layer="conv1")
    both = map_of(net, x, "gradcam", layer=["conv1", LAYER])
    torch.testing.assert_close(both, share(map_of(net, x, "gradcam", layer="conv1")) / 2)
    assert bool(first.any())


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "scorecam", "ablationcam", "random"])
def test_several_layers_are_the_mean_of_their_maps_at_the_size_of_the_largest(method):
    net, x = pooled(), images(2, 12, 10)
    maps = [share(map_of(net, x, method, layer=layer)) for layer in ("conv1", LAYER)]
    assert [tuple(each.shape[1:]) for each in maps] == [(12, 10), (6, 5)]
    expected = (maps[0] + resized(maps[1], (12, 10))) / 2
    found = class_activation_map(net, x, method, 2, ["conv1", LAYER])
    torch.testing.assert_close(found.raw, expected, rtol=1e-4, atol=1e-5)
    assert found.layer == ("conv1", LAYER)
    # A pattern that picks the same two is the same question.
    assert torch.equal(class_activation_map(net, x, method, 2, f"re:conv1|{LAYER}").raw, found.raw)


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "layercam"])
def test_eigen_smoothing_is_the_first_component_of_the_weighted_channels(method):
    net, x = rectified().eval(), images(2, 9, 7)
    a = net.front(x).detach().requires_grad_()
    (g,) = torch.autograd.grad(net.tail(a)[:, 1].sum(), a)
    weights = {"gradcam": g.mean((2, 3), keepdim=True), "hirescam": g, "layercam": g.relu()}[method]
    weighted = (weights * a).detach()
    expected = []
    for each in weighted:
        samples = each.flatten(1).T.double().numpy()
        _, _, directions = np.linalg.svd(samples, full_matrices=False)
        component = torch.from_numpy(samples @ directions[0]).view(each.shape[1:])
        component = component if float((component * each.sum(0)).sum()) >= 0 else -component
        expected.append(component.float())
    expected = torch.stack(expected)
    found = map_of(net, x, method, 1, "front", smooth_eigen=True)
    torch.testing.assert_close(
        found, expected.relu() if method != "hirescam" else expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max())
    )


@pytest.mark.parametrize("method", [name for name in METHODS if find(name).gives == "map" and not find(name).whole])
def test_eigen_smoothing_needs_weights(method):
    with pytest.raises(ViztoolError) as raised:
        map_of(pooled(), images(1, 12, 10), method, smooth_eigen=True)
    assert str(raised.value) == f"{method} weights no channels, so smooth_eigen has none to smooth over; leave it out"


def test_a_scale_that_leaves_nothing():
    with pytest.raises(ViztoolError, match=r"^a scale of 0 leaves nothing of the image; scales are like 0"):
        map_of(pooled(), images(1, 12, 10), "gradcam", smooth_scales=[0])


def test_a_target_of_ones_own_cannot_be_mirrored():
    with pytest.raises(TargetError, match=r"^mirroring moves what a target of your own may look at; leave"):
        map_of(pooled(), images(1, 12, 10), "gradcam", lambda output: output[:, 0], smooth_flips=True)
