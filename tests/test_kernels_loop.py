"""The ascent finds what is there to find, repeats, and leaves the network alone."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from kernel_nets import Shared, linear, shared, wrapped
from torch import Tensor, nn

import viztool
from viztool.errors import LayerError, ModelError, ViztoolError
from viztool.kernels import objectives as o
from viztool.kernels.ascent import INTERRUPTED, NOT_FINITE, SILENT, Progress
from viztool.kernels.loop import maximize
from viztool.kernels.network import Stopped
from viztool.kernels.parameterizations import CPPN, MACO, Fourier, Laplacian, Pixels
from viztool.kernels.redirect import Redirected
from viztool.kernels.transforms import Transforms

NONE = Transforms()


def cosine(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


class TestOptimum:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("kind", [Pixels(sd=0.0), Fourier(sd=0.0, rate=0.2)])
    def test_of_a_linear_filter_is_the_filter(self, channels: int, kind: Pixels | Fourier) -> None:
        """w·x − λ‖x − ½‖² is largest at x − ½ = w / 2λ."""
        model, filter_ = linear(channels)
        strength = 1.5 * filter_.numel() * float(filter_.abs().max())
        wanted = o.channel("0", 0) - strength * o.l2()
        found = maximize(
            model,
            wanted,
            steps=500 if kind.name == "pixels" else 900,
            size=16,
            parameterization=kind,
            transforms=NONE,
            early_stop=False,
        ).images[0]
        assert cosine(found - 0.5, filter_) > 0.999
        torch.testing.assert_close(found - 0.5, filter_ * filter_.numel() / (2 * strength), atol=5e-3, rtol=0)

    def test_a_neuron_sees_its_field_and_nothing_else(self) -> None:
        model = shared()
        found = maximize(
            model, o.neuron("first", 2, 4, 6), steps=8, size=16, transforms=NONE, parameterization=Pixels(sd=0)
        )
        moved = (found.images[0] != 0.5).any(0)
        expected = torch.zeros(16, 16, dtype=torch.bool)
        expected[3:6, 5:8] = True
        assert torch.equal(moved, expected)
        assert torch.equal(found.alpha[0] > 0, expected)

    @pytest.mark.parametrize("kind", [Pixels(), Fourier(), MACO(), Laplacian(), CPPN()], ids=lambda kind: kind.name)
    def test_every_parameterization_climbs(self, kind: Pixels) -> None:
        scores: list[float] = []
        maximize(
            shared(),
            o.channel("second", 1),
            steps=40,
            size=24,
            parameterization=kind,
            transforms=NONE,
            callback=lambda progress: scores.append(float(progress.scores)),
        )
        assert scores[-1] > scores[0] + 0.015

    def test_the_score_is_that_of_the_picture_in_the_users_own_network(self) -> None:
        model = shared()
        found = maximize(model, [o.channel("second", i) for i in range(6)], steps=5, size=24)
        with torch.no_grad(), viztool.capture(model.net, "second") as acts:
            model.net(found.images - 0.5)
        expected = acts["second"].mean((2, 3)).diagonal()
        torch.testing.assert_close(found.score, expected, atol=1e-5, rtol=1e-4)

    def test_a_negative_goes_down(self) -> None:
        model = shared()
        up, down = maximize(model, [o.channel("second", 0), -o.channel("second", 0)], steps=20, size=24).score
        assert up > 0.02 - down

    def test_diverse_pictures_are_less_alike(self) -> None:
        model = shared()

        def alike(weight: float) -> float:
            objective = o.channel("second", 0) + weight * o.diversity("second")
            images = maximize(model, objective, images=2, steps=40, size=24, transforms=NONE).images
            maps = Stopped(model, ["second"], (24, 24))(images)
            return -float(o.diversity("second").score(o.View(images, maps))[0])

        assert alike(10.0) < alike(0.0) - 0.05

    def test_views_are_averaged(self) -> None:
        model = shared()
        scores: list[Tensor] = []
        maximize(
            model,
            [o.channel("second", 0), o.channel("second", 1)],
            steps=1,
            size=24,
            views=3,
            transforms=NONE,
            callback=lambda progress: scores.append(progress.scores),
        )
        maximize(
            model,
            [o.channel("second", 0), o.channel("second", 1)],
            steps=1,
            size=24,
            transforms=NONE,
            callback=lambda progress: scores.append(progress.scores),
        )
        torch.testing.assert_close(scores[0], scores[1])

    @pytest.mark.parametrize(
        "wanted",
        [o.diversity("second"), o.interpolation(o.channel("second", 0), -3 * o.channel("second", 1))],
        ids=["diversity", "interpolation"],
    )
    def test_views_are_no_pictures(self, wanted: o.Objective) -> None:
        """Without transforms the views of a picture are the picture: several pictures score as they do in one view."""
        model, start = shared(), torch.rand(3, 3, 24, 24)
        scores: dict[int, Tensor] = {}
        for views in (1, 3):

            def keep(progress: Progress, views: int = views) -> None:
                scores[views] = progress.scores

            maximize(model, wanted, images=3, steps=1, start=start, views=views, transforms=NONE, callback=keep)
        torch.testing.assert_close(scores[3], scores[1])

    def test_it_starts_from_a_picture(self) -> None:
        begun = 0.2 + 0.6 * torch.rand(1, 3, 20, 28)
        seen: list[Tensor] = []

        def look(progress: Progress) -> None:
            seen.append(progress.images())

        maximize(
            shared(), o.channel("second", 0), start=begun, steps=1, parameterization=Pixels(rate=1e-9), callback=look
        )
        torch.testing.assert_close(seen[0], begun, atol=1e-4, rtol=0)


class TestRepeats:
    @pytest.mark.parametrize("kind", [Fourier(), MACO(), Pixels(), CPPN()], ids=lambda kind: kind.name)
    def test_the_same_seed_gives_the_same_bytes_and_another_does_not(self, kind: Pixels) -> None:
        model = shared()
        objectives = [o.channel("second", i) for i in range(3)]

        def run(seed: int) -> Tensor:
            return maximize(model, objectives, steps=6, size=24, seed=seed, parameterization=kind).images

        first = run(5)
        torch.manual_seed(99)  # the global one plays no part
        state = torch.random.get_rng_state()
        assert torch.equal(run(5), first)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert not torch.equal(run(6), first)

    def test_a_picture_does_not_depend_on_its_neighbours(self) -> None:
        model = shared()
        together = maximize(model, [o.channel("second", i) for i in (0, 1, 2)], steps=6, size=24).images
        others = maximize(model, [o.channel("second", i) for i in (5, 1, 4)], steps=6, size=24).images
        assert torch.equal(together[1], others[1])
        assert not torch.equal(together[0], others[0])

    def test_batches_larger_than_one_go_in_parts(self) -> None:
        model = shared()
        objectives = [o.channel("second", i % 6) for i in range(19)]
        calls: list[range] = []
        found = maximize(model, objectives, steps=2, size=24, callback=lambda p: calls.append(p.indices))
        assert len(found) == 19
        assert list(dict.fromkeys(calls)) == [range(8), range(8, 16), range(16, 19)]


class TestNetworkIsLeftAlone:
    @pytest.mark.parametrize("fails", [False, True])
    def test_parameters_modes_hooks_and_buffers(self, fails: bool) -> None:
        model = shared()
        net = model.net
        net.train()
        net.second.eval()
        net.second.weight.requires_grad_(False)
        net.first.weight.grad = torch.ones_like(net.first.weight)
        fired: list[int] = []
        net.first.register_forward_hook(lambda *_: fired.append(1))
        before = copy.deepcopy(net.state_dict())
        modes = [module.training for module in net.modules()]
        asking = [parameter.requires_grad for parameter in net.parameters()]
        places = [parameter.data_ptr() for parameter in net.parameters()]
        if fails:
            with pytest.raises(LayerError):
                maximize(model, o.channel("second", 99), steps=2, size=24)
        else:
            maximize(model, o.channel("second", 0), steps=2, size=24)
        assert [module.training for module in net.modules()] == modes
        assert [parameter.requires_grad for parameter in net.parameters()] == asking
        assert [parameter.data_ptr() for parameter in net.parameters()] == places
        assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
        assert (net.first.weight.grad == 1).all()
        assert net.second.weight.grad is None
        assert [len(module._forward_hooks) for module in net.modules()] == [0, 1, 0, 0, 0, 0]
        assert not any(module._forward_pre_hooks for module in net.modules())

    def test_it_works_under_no_grad_and_inference_mode(self) -> None:
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                scores: list[float] = []
                maximize(
                    shared(),
                    o.channel("second", 1),
                    steps=20,
                    size=24,
                    transforms=NONE,
                    callback=lambda progress, scores=scores: scores.append(float(progress.scores)),
                )
            assert scores[-1] > scores[0]


class TestNetworks:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_any_number_of_input_channels(self, channels: int) -> None:
        found = maximize(shared(channels), o.channel("second", 0), steps=3, size=24)
        assert found.images.shape == (1, channels, 24, 24)
        assert found.status == ("",)

    def test_a_transformer(self) -> None:
        net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=2).eval()
        found = maximize(net, o.channel("blocks.1", 3), steps=4, size=32)
        assert found.status == ("",)
        assert found.alpha.max() > 0

    def test_without_a_relu(self) -> None:
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 2, 3))
        assert maximize(wrapped(net), o.channel("3", 1), steps=3, size=16).status == ("",)

    def test_a_bare_network_and_a_vector(self) -> None:
        model = shared()
        found = maximize(model.net, [o.channel("head", 2), o.logit(2)], steps=4, size=24)
        assert torch.allclose(found.score[0], found.score[1], rtol=0.5)
        assert found.status == ("", "")

    def test_the_layers_own_output_counts_though_its_norm_is_folded(self) -> None:
        """`first` is the convolution alone: folding the norm into it would be another objective."""
        model = shared()
        x = torch.rand(2, 3, 12, 12)
        for layer in ("first", "norm", "second"):
            with torch.no_grad(), viztool.capture(model.net, layer) as acts:
                model.net(x - 0.5)
            found = Stopped(model, [layer], (12, 12))(x)[layer]
            torch.testing.assert_close(found, acts[layer], atol=1e-5, rtol=1e-4)

    def test_mixed_precision_goes_the_same_way(self) -> None:
        model, x = shared(), torch.rand(2, 3, 12, 12, requires_grad=True)
        exact, mixed = (Stopped(model, ["second"], (12, 12), mixed=mixed)(x)["second"] for mixed in (False, True))
        assert mixed.dtype == torch.bfloat16
        torch.testing.assert_close(mixed.float(), exact, atol=0.02, rtol=0.02)
        (one,) = torch.autograd.grad(exact[:, 0].mean(), x)
        (other,) = torch.autograd.grad(mixed[:, 0].mean(), x)
        assert cosine(one, other) > 0.99

    def test_the_rest_of_the_network_does_not_run(self) -> None:
        ran: list[int] = []

        class Noting(Shared):
            def forward(self, x: Tensor) -> Tensor:
                x = self.second(self.relu(self.first(x)))
                ran.append(1)
                return x

        net = Noting()
        del net.norm  # folding runs the whole network to compare
        maximize(wrapped(net), o.channel("second", 0), steps=3, size=24)
        assert ran == []

    def test_a_size_that_does_not_fit_says_which_does(self) -> None:
        net = timm.create_model("vit_tiny_patch16_224", img_size=32, depth=1)
        with pytest.raises(
            ModelError, match=r"^VisionTransformer cannot run on pictures of 24 × 24: .*; try its own size, 32 × 32$"
        ):
            maximize(net, o.channel("blocks.0", 0), size=24, steps=1)

    def test_an_unknown_layer(self) -> None:
        with pytest.raises(LayerError, match=r"^no layer matches 'secnd'; nearest: second$"):
            maximize(shared(), o.channel("secnd", 0), size=24, steps=1)

    def test_nothing_to_do(self) -> None:
        with pytest.raises(
            ViztoolError, match=r"^nothing to maximise: give at least one objective, image, step and view$"
        ):
            maximize(shared(), [], size=24)


class Dead(nn.Module):
    """Channel 0 is silent on grey and can wake up; channel 1 cannot; 2 is well; 3 is saturated; 4 is constant."""

    def __init__(self, kind: type[nn.Module] | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3)
        self.act = kind() if kind else nn.Identity()
        self.functional = kind is None
        with torch.no_grad():
            self.conv.weight[1] = 0
            self.conv.weight[4] = 0
            self.conv.bias.copy_(torch.tensor([-3.2, -9.0, 0.1, 20.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.functional:
            nn.functional.relu(x, inplace=True)  # its result left alone
        return self.act(x)


class TestDeadUnits:
    @pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.Hardswish, None])
    def test_a_silent_unit_wakes_up(self, kind: type[nn.Module] | None) -> None:
        torch.manual_seed(0)
        net = Dead(kind)
        net.conv.weight.data[0] = 0.5
        model = wrapped(net)
        scores: list[float] = []
        wanted = o.channel("act", 0)
        note = lambda progress: scores.append(float(progress.scores))  # noqa: E731
        asleep = maximize(
            model, wanted, steps=40, size=12, transforms=NONE, redirect=0, callback=note, parameterization=Pixels()
        )
        assert asleep.status == (SILENT,)
        assert scores == [pytest.approx(0, abs=1e-6)] * 40
        awake = maximize(model, wanted, steps=60, size=12, transforms=NONE, parameterization=Pixels())
        assert awake.status == ("",)
        assert awake.score[0] > 1

    def test_one_that_never_responds_is_said_and_spoils_nothing(self) -> None:
        torch.manual_seed(0)
        model = wrapped(Dead(nn.ReLU))
        found = maximize(model, [o.channel("act", i) for i in (2, 1, 4)], steps=4, size=12)
        assert found.status == ("", SILENT, SILENT)
        assert torch.equal(
            found.images[0], maximize(model, [o.channel("act", i) for i in (2, 2, 2)], steps=4, size=12).images[0]
        )

    def test_values_do_not_change_and_gradients_of_living_pictures_neither(self) -> None:
        for act in (nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.Hardswish()):
            values = 4 * torch.randn(3, 5, 4, dtype=torch.float64)
            x, y = values.clone().requires_grad_(), values.clone().requires_grad_()
            expected = act(x * 1)
            with Redirected():
                found = act(y * 1)
            assert torch.equal(found, expected)
            weights = torch.randn(3, 5, 4, dtype=torch.float64)
            expected.backward(weights)
            found.backward(weights)
            torch.testing.assert_close(y.grad, x.grad)

    def test_only_what_wakes_goes_through(self) -> None:
        x = torch.tensor([[-1.0, -1.0, 7.0, 7.0]], requires_grad=True)
        with Redirected():
            y = nn.functional.relu6(x)
        y.backward(torch.tensor([[-1.0, 1.0, -1.0, 1.0]]))  # a negative one asks for more
        assert x.grad is not None
        assert x.grad.tolist() == [[-1.0, 0.0, 0.0, 1.0]]


class TestTrouble:
    def test_a_channel_with_nan_weights_is_said_and_spoils_nothing(self) -> None:
        model = shared()
        clean = maximize(model, [o.channel("second", i) for i in (0, 1, 2)], steps=4, size=24)
        with torch.no_grad():
            model.net.second.weight[1, 0] = float("nan")
        found = maximize(model, [o.channel("second", i) for i in (0, 1, 2)], steps=4, size=24)
        assert found.status == ("", NOT_FINITE, "")
        assert torch.equal(found.images[0], clean.images[0])
        assert torch.equal(found.images[2], clean.images[2])
        assert found.images.isfinite().all()

    def test_a_picture_that_becomes_nan_keeps_its_last_good_state(self) -> None:
        breaks = o.Objective(
            "breaks",
            lambda view: (0.6 - view.maps["second"].mean((1, 2, 3)) - view.image.mean((1, 2, 3))).log(),
            frozenset(["second"]),
        )
        found = maximize(
            shared(),
            [o.channel("second", 0), -breaks],
            steps=60,
            size=24,
            transforms=NONE,
            parameterization=Pixels(rate=0.3),
        )
        assert found.status == ("", NOT_FINITE)
        assert found.images.isfinite().all()
        assert found.steps[1] < found.steps[0]

    def test_ctrl_c_keeps_what_is_done(self) -> None:
        def stop(progress: Progress) -> None:
            if progress.indices.start == 8 and progress.step == 3:
                raise KeyboardInterrupt

        objectives = [o.channel("second", i % 6) for i in range(24)]
        found = maximize(shared(), objectives, steps=5, size=24, callback=stop)
        assert len(found) == 16
        assert found.steps == (5,) * 8 + (3,) * 8
        assert found.status == ("",) * 8 + (INTERRUPTED,) * 8

    def test_it_stops_when_nothing_rises_any_more(self) -> None:
        model, _ = linear(3, 8)
        wanted = o.channel("0", 0) - 1000 * o.l2()
        found = maximize(model, wanted, steps=2000, size=8, transforms=NONE, parameterization=Pixels())
        assert found.steps[0] <= 256
        assert maximize(model, wanted, steps=300, size=8, transforms=NONE, early_stop=False).steps == (300,)
