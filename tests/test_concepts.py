"""Concepts: of pictures put together from known pieces they are these pieces; each step beside a plain oracle."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F

import viztool
from viztool.cli import main
from viztool.craft import behind, factors, looking, sobol, split
from viztool.craft.orders import Orders
from viztool.errors import LayerError, SettingError, TargetError, ViztoolError
from viztool.images import write_image

nmf = pytest.importorskip("sklearn.decomposition")
optimize = pytest.importorskip("scipy.optimize")

CELL, GRID = 16, 3
SIDE = CELL * GRID
PAIRS = ((0, 1), (0, 2), (1, 2))


def piece(kind):
    """A red disc, a green cross, blue stripes: (3, CELL, CELL) in [0, 1]."""
    down, across = torch.meshgrid(torch.arange(CELL), torch.arange(CELL), indexing="ij")
    middle = (CELL - 1) / 2
    shape = [
        (down - middle) ** 2 + (across - middle) ** 2 < (0.48 * CELL) ** 2,
        ((down - middle).abs() < CELL / 5) | ((across - middle).abs() < CELL / 5),
        across % 8 < 5,
    ][kind]
    picture = torch.full((3, CELL, CELL), 0.5)
    color = torch.full((3, 1), 0.1)
    color[kind] = 0.95
    picture[:, shape] = color
    return picture


def put_together(count, generator):
    """Pictures of two kinds of pieces in random cells; their class, the pair; and where each kind is, (n, 3, 3, 3)."""
    pictures = torch.full((count, 3, SIDE, SIDE), 0.5)
    classes = torch.randint(3, (count,), generator=generator)
    where = torch.zeros(count, 3, GRID, GRID)
    for at, pair in enumerate(classes.tolist()):
        cells = torch.randperm(GRID * GRID, generator=generator)[:4].tolist()
        for number, cell in enumerate(cells):
            kind, row, column = PAIRS[pair][number % 2], cell // GRID, cell % GRID
            pictures[at, :, row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = piece(kind)
            where[at, kind, row, column] = 1
    return (pictures + 0.05 * torch.randn(pictures.shape, generator=generator)).clamp(0, 1), classes, where


@pytest.fixture(scope="module")
def planted():
    """A small network that tells the pairs apart, pictures of the first pair, and where its two pieces are in them."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4),
        nn.ReLU(),
        nn.Conv2d(16, 16, 4, stride=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(150):
        x, classes, _ = put_together(64, generator)
        loss = F.cross_entropy(net(x - 0.5), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, classes, where = put_together(240, generator)
    with torch.no_grad():
        assert (net(x - 0.5).argmax(1) == classes).float().mean() > 0.98, "it has learnt to tell them"
    own = classes == 0
    model = viztool.wrap_model(
        net, size=SIDE, mean=0.5, std=1.0, classes=["disc and cross", "disc and stripes", "other"]
    )
    photos = (255 * x[own].permute(0, 2, 3, 1)).round().byte().numpy()
    return model, list(photos[:60]), where[own][:60, :2]


@pytest.fixture(scope="module")
def found(planted):
    model, photos, _ = planted
    return viztool.concepts(model, photos, target="disc and cross", layer="3", count=2, crop=1 / 3)


def overlap(maps, masks):
    """Intersection over union of a map above half of its maximum and a mask, (k, ...) of each: (k,)."""
    above = maps > maps.flatten(1).amax(1).view(-1, *(1,) * (maps.dim() - 1)) / 2
    return (above & masks.bool()).flatten(1).sum(1) / (above | masks.bool()).flatten(1).sum(1)


def color_of(concept):
    """Which of red, green and blue stands out in the best crops."""
    color = np.mean([picture.mean((0, 1)) for picture in concept.pictures], axis=0)
    return int(color.argmax())


class TestPlantedParts:
    def test_they_are_found(self, planted, found):
        model, photos, where = planted
        maps, masks = torch.stack(found.maps(model, photos)).transpose(0, 1), where.transpose(0, 1)
        partner, cosines = factors.matched(masks.flatten(1), maps.flatten(1))
        assert cosines.min() >= 0.8
        assert overlap(maps[partner], masks).min() >= 0.8

    def test_the_best_crops_show_one_piece_each(self, planted, found):
        colors = [np.mean([picture.mean((0, 1)) for picture in concept.pictures], axis=0) for concept in found]
        assert sorted(int((color - color.mean()).argmax()) for color in colors) == [0, 1], (
            "the red disc, the green cross"
        )

    def test_the_crops_are_where_it_says(self, planted, found):
        _, photos, _ = planted
        for concept in found:
            for (name, _, box), picture in zip(concept.crops, concept.pictures, strict=True):
                top, left, bottom, right = map(int, box)
                assert np.array_equal(photos[int(name)][top:bottom, left:right], picture)

    def test_the_class_needs_both(self, found):
        assert all(concept.effect > 5 * concept.effect_error for concept in found)
        assert all(concept.importance > 5 * concept.importance_error for concept in found)
        assert found.score > 5 > 0 > found.without

    def test_the_shares_are_of_one_whole_and_the_order_is_that_of_importance(self, found):
        assert sum(concept.share for concept in found) == pytest.approx(1)
        assert found[0].importance > found[1].importance
        assert [concept.number for concept in found] == [1, 2]
        assert found.explained > 0.9
        assert found.stability > 0.99

    def test_curves_begin_and_end_where_they_should(self, found):
        curves = found.curves
        assert curves.deletion[0] == curves.insertion[-1] == pytest.approx(float(curves.random_deletion[0]), abs=1e-6)
        assert curves.deletion[-1] == curves.insertion[0] == pytest.approx(float(curves.random_insertion[0]), abs=1e-6)

    def test_the_same_seed_gives_the_same_and_the_network_stays(self, planted, found):
        model, photos, _ = planted
        model.net.train()
        before = {name: value.clone() for name, value in model.net.state_dict().items()}
        again = viztool.concepts(model, photos, target=0, layer="3", count=2, crop=1 / 3)
        assert again.numbers == found.numbers
        assert all(module.training for module in model.net.modules())
        assert all(torch.equal(value, before[name]) for name, value in model.net.state_dict().items())
        assert all(parameter.requires_grad for parameter in model.net.parameters())

    def test_a_bare_network_and_a_tensor_give_the_same(self, planted, found):
        model, photos, _ = planted
        bare = viztool.concepts(model.net, model.preprocess(photos), target=0, layer="3", count=2, crop=1 / 3)
        assert [one.importance for one in bare] == pytest.approx([one.importance for one in found], abs=1e-5)

    def test_the_target_is_the_class_that_most_are_predicted_as(self, planted):
        model, photos, _ = planted
        assert viztool.concepts(model, photos, layer="3", count=2).target == "disc and cross"

    def test_the_result_says_all_in_numbers_and_in_words(self, found):
        numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
        assert numbers["concepts"][0]["importance"] == found[0].importance
        assert numbers["deletion"]["area"] == pytest.approx(float(torch.trapezoid(found.curves.deletion)) / 2)
        assert repr(found).startswith("Concepts(2 concepts of disc and cross at 3, the most important 0.")
        assert found.picture().shape[1] == 1340
        assert found.arrays["directions"].shape == (2, 16)

    def test_one_photo_has_no_error(self, planted):
        model, photos, _ = planted
        numbers = viztool.concepts(model, photos[:1], target=0, layer="3", count=2, crop=1 / 3).numbers
        assert numbers["concepts"][0]["importance_error"] is None
        assert numbers["asked"] == 1


class TestSplit:
    @pytest.fixture
    def mixing(self):
        """A network whose first layer tells red from green and whose second adds them; and photos with both."""
        net = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False), nn.ReLU())
        net.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2)])
        net[0].weight.data = torch.tensor([[1.0, -1, 0], [-1, 1, 0]])[..., None, None]
        net[2].weight.data = torch.ones(1, 2, 1, 1)
        red = torch.rand(20, GRID, GRID, generator=torch.Generator().manual_seed(0)) < 0.5
        cells = torch.stack([red.float(), 1 - red.float(), torch.zeros(red.shape)], 1)
        x = F.interpolate(cells, SIDE) * torch.rand(20, 1, 1, 1, generator=torch.Generator().manual_seed(1))
        return net, x

    def test_a_mixed_concept_is_taken_apart(self, mixing):
        net, x = mixing
        mixed = viztool.concepts(net, x, target=0, layer="3", count=1, crop=1 / 3)
        parts = viztool.craft.split(net, x, mixed, 1, layer="1", count=2, crop=1 / 3)
        assert parts.layer == "1"
        assert parts.of == "concept 1 of class 0 at 3"
        cosines = factors.matched(torch.eye(2), torch.stack([concept.direction for concept in parts]))[1]
        assert cosines.min() > 0.98

    def test_of_the_crops_that_hold_most_of_it(self, mixing):
        net, x = mixing
        mixed = viztool.concepts(net, x, target=0, layer="3", count=1, crop=1 / 3)
        parts = viztool.craft.split(net, x, mixed, 1, layer="1", count=2, crop=1 / 3)
        assert parts.photos == round(0.1 * mixed.crops)
        brightest = f"{int(x.flatten(1).amax(1).argmax()):02}"
        assert all(name.startswith(f"{brightest} [") for concept in parts for name, *_ in concept.crops[:1])

    def test_the_stage_before_by_default(self, mixing):
        net, x = mixing
        later = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sigmoid())
        deeper = nn.Sequential(net[:2], nn.MaxPool2d(4), later, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        mixed = viztool.concepts(deeper, x, target=0, layer="2", count=1)
        assert viztool.craft.split(deeper, x, mixed, 1).layer == "0"

    def test_a_concept_that_is_not_there(self, mixing):
        net, x = mixing
        mixed = viztool.concepts(net, x, target=0, layer="3", count=1)
        with pytest.raises(SettingError, match=r"^there is no concept 2; there are 1 to 1$"):
            viztool.craft.split(net, x, mixed, 2)
        first = viztool.concepts(net, x, target=0, layer="0", count=1)
        with pytest.raises(LayerError, match=r"^there is no stage before '0'; name an earlier layer$"):
            viztool.craft.split(net, x, first, 1)


class TestSobol:
    def asked(self, score, factors, photos=16, points=256, seed=0):
        designs = [sobol.design(points, factors, seed + at) for at in range(photos)]
        return sobol.total_order(torch.stack([score(design) for design in designs]), factors)

    def test_of_a_sum_the_squares_of_the_weights(self):
        weights = torch.tensor([3.0, -2.0, 1.0, 0.0])
        index, _ = self.asked(lambda m: m @ weights, 4)
        assert index == pytest.approx((weights**2 / (weights**2).sum()).double(), abs=0.01)
        assert index[3] == 0

    @pytest.mark.parametrize("factors", [1, 3, 10])
    def test_of_a_sum_one_in_sum_from_eight_points_too(self, factors):
        index, _ = self.asked(lambda m: m.sum(1), factors, photos=600, points=8)
        assert float(index.sum()) == pytest.approx(1, abs=0.03)

    def test_of_a_product_more_than_one_in_sum(self):
        """Var m₁m₂ = 1/9 − 1/16 = 7/144, and E[Var(m₁m₂ | m₂)] = 1/36: 4/7 each, as the factors act together."""
        index, _ = self.asked(lambda m: m[:, 0] * m[:, 1], 2)
        assert index == pytest.approx(torch.full((2,), 4 / 7).double(), abs=0.02)

    def test_the_error_is_what_repeated_seeds_scatter_by(self):
        def score(m):
            return m[:, 0] + 2 * m[:, 1] * m[:, 2]

        found = [self.asked(score, 3, points=8, seed=1000 * at) for at in range(60)]
        scatter = torch.stack([index for index, _ in found]).std(0)
        said = torch.stack([error for _, error in found]).square().mean(0).sqrt()
        assert said == pytest.approx(scatter, rel=0.35)

    def test_a_score_that_never_changes(self):
        index, error = self.asked(lambda m: torch.ones(len(m)), 3)
        assert index.tolist() == error.tolist() == [0, 0, 0]

    def test_the_design_changes_one_factor_at_a_time(self):
        a, b, *mixed = sobol.design(4, 3, 5).split(4)
        for factor, one in enumerate(mixed):
            assert torch.equal(one[:, factor], b[:, factor])
            others = [each for each in range(3) if each != factor]
            assert torch.equal(one[:, others], a[:, others])
        assert not torch.equal(sobol.design(4, 3, 5), sobol.design(4, 3, 6))


class TestFactors:
    def planted(self, signed):
        generator = torch.Generator().manual_seed(3)
        rows = torch.rand(3, 20, generator=generator) * (torch.rand(3, 20, generator=generator) < 0.4)
        if signed:
            rows = rows * torch.where(torch.rand(3, 20, generator=generator) < 0.5, -1.0, 1.0)
        amounts = torch.rand(200, 3, generator=generator) * (torch.rand(200, 3, generator=generator) < 0.5)
        return rows, amounts

    @pytest.mark.parametrize("signed", [False, True])
    def test_planted_factors_are_found(self, signed):
        rows, amounts = self.planted(signed)
        parts, stable = factors.factorize(amounts @ rows, 3, range(3))
        assert parts.signed == signed
        partner, cosines = factors.matched(rows, parts.directions)
        assert cosines.min() > 0.98
        assert stable.min() > 0.98
        assert parts.rows.norm(dim=1) == pytest.approx(torch.ones(3), abs=1e-5)
        found = parts.coefficients(amounts @ rows)[:, partner]
        assert torch.corrcoef(torch.stack([found[:, 0], amounts[:, 0]]))[0, 1] > 0.98

    def test_coefficients_are_those_of_non_negative_least_squares(self):
        generator = torch.Generator().manual_seed(1)
        rows = torch.rand(5, 12, generator=generator)
        values = torch.rand(30, 12, generator=generator)
        expected = np.stack([optimize.nnls(rows.double().numpy().T, value)[0] for value in values.double().numpy()])
        assert np.allclose(factors.coefficients(values, rows), expected, atol=1e-4)

    def test_matching_is_one_to_one(self):
        rows = torch.eye(3)
        partner, cosines = factors.matched(rows, rows[[2, 0, 1]])
        assert partner.tolist() == [1, 2, 0]
        assert cosines.tolist() == [1, 1, 1]

    def test_more_parts_than_there_can_be(self):
        with pytest.raises(ViztoolError, match=r"^count is 5; of 4 crops and 9 channels give 1 to 4$"):
            factors.factorize(torch.rand(4, 9), 5, range(3))

    def test_scikit_learn_is_asked_for(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
        with pytest.raises(ViztoolError, match=r"^this needs scikit-learn: pip install 'viztool\[concepts\]'$"):
            factors.factorize(torch.rand(4, 9), 2, range(3))


def vit():
    import timm

    return timm.create_model("vit_tiny_patch16_224", img_size=64, depth=2, embed_dim=48, num_heads=3, num_classes=7)


def residual():
    import torchvision

    return torchvision.models.resnet18(weights=None, num_classes=7)


class TestBehind:
    @pytest.mark.parametrize(("make", "layer"), [(residual, "layer3"), (residual, "layer2.0.bn1"), (vit, "blocks.0")])
    def test_it_is_the_network_with_the_layer_changed(self, make, layer):
        """The oracle runs the whole network, with a hook that takes the concepts out of what the layer puts out."""
        net, x = make().eval(), torch.randn(1, 3, 64, 64)
        module = dict(net.named_modules())[layer]
        kept = []
        with torch.no_grad():
            handle = module.register_forward_hook(lambda module, args, output: kept.append(output))
            plain = net(x)
            handle.remove()
        tokens = kept[0].dim() == 3
        channels, sides = (kept[0].shape[2], (4, 4)) if tokens else (kept[0].shape[1], kept[0].shape[2:])
        directions, amounts = torch.randn(3, channels), torch.rand(3, *sides)
        one = behind.Behind(net, x, 2, layer, directions, amounts)
        there = torch.rand(5, 3)
        scores, confidences = one(torch.cat([torch.ones(1, 3), there]))

        def whole(share):
            removed = torch.einsum("k,kc,khw->chw", 1 - share, directions, amounts)

            def change(module, args, output):
                if not tokens:
                    return output - removed
                return torch.cat([output[:, :1], output[:, 1:] - removed.flatten(1).T], 1)

            handle = module.register_forward_hook(change)
            with torch.no_grad():
                output = net(x)
            handle.remove()
            return output

        assert scores[0] == pytest.approx(float(plain[0, 2]), abs=1e-5)
        expected = torch.cat([whole(share) for share in there])
        assert scores[1:] == pytest.approx(expected[:, 2], rel=1e-4, abs=1e-4)
        assert confidences[1:] == pytest.approx(expected[:, 2], rel=1e-4, abs=1e-4), "a bare network has only scores"


class TestOrders:
    def test_of_a_sum_the_curves_are_known(self):
        weights = torch.tensor([1.0, 4.0, 2.0])

        def additive(there):
            return there @ weights, there @ weights / 7

        orders = Orders([1, 2, 0], seed=0)
        orders.add(additive)
        orders.add(additive)
        curves = orders.curves()
        assert curves.deletion == pytest.approx(torch.tensor([7, 3, 1, 0]) / 7)
        assert curves.insertion == pytest.approx(torch.tensor([0, 4, 6, 7]) / 7)
        assert curves.areas["deletion"] == (pytest.approx((3.5 + 3 + 1) / 21), pytest.approx(0))
        assert curves.areas["random_deletion"][0] > curves.areas["deletion"][0]
        assert curves.areas["random_insertion"][0] < curves.areas["insertion"][0]


class TestWindows:
    @pytest.mark.parametrize("share", [0.25, 1 / 3, 0.4, 0.5, 0.9])
    def test_they_cover_everything_and_overlap(self, share):
        seen = torch.zeros(90, 60)
        boxes = looking.windows((90, 60), share)
        for top, left, bottom, right in boxes:
            seen[int(top) : int(bottom), int(left) : int(right)] += 1
        assert seen.min() >= 1
        assert len(set(boxes)) == len(boxes)
        tops = sorted({box[0] for box in boxes})
        assert max(np.diff(tops)) <= 0.76 * round(share * 90) + 1

    def test_all_of_it(self):
        assert looking.windows((90, 60), 1.0) == [(0.0, 0.0, 90.0, 60.0)]

    def test_a_share_that_is_none(self):
        with pytest.raises(SettingError, match=r"^crop is 0; give the side of a crop as a share"):
            looking.windows((90, 60), 0)


class TestRefusals:
    def test_several_targets(self, planted):
        model, photos, _ = planted
        with pytest.raises(TargetError, match=r"^concepts are of one class; give one target for all photos$"):
            viztool.concepts(model, photos, target=[0, 1])

    def test_several_layers(self, planted):
        model, photos, _ = planted
        with pytest.raises(LayerError, match=r"^'type:ReLU' picks 2 layers, '1' and others; concepts are of one$"):
            viztool.concepts(model, photos, layer="type:ReLU")

    def test_a_layer_without_maps(self, planted):
        model, photos, _ = planted
        with pytest.raises(LayerError, match="puts out no maps"):
            viztool.concepts(model, photos, layer="6")

    def test_no_photo_can_be_read(self, planted, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"nothing")
        with pytest.raises(ViztoolError, match=r"^no photo could be read: .*broken.jpg"):
            viztool.concepts(planted[0], tmp_path)


class TestCommand:
    @pytest.fixture
    def desk(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        rng = np.random.default_rng(0)
        for label in ("cats", "dogs"):
            for at in range(6):
                (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
                write_image(tmp_path / "photos" / label / f"{at}.png", rng.integers(0, 256, (40, 50, 3), np.uint8))
        (tmp_path / "nets.py").write_text(
            "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), "
            "nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))\n"
        )
        return tmp_path

    def run(self, *arguments):
        return CliRunner().invoke(main, ["concepts", *arguments, "-m", "nets.py:build", "--size", "32"])

    def test_one_sheet_of_the_photos_with_a_label(self, desk):
        result = self.run("photos", "--label", "cats", "--count", "3", "--npz")
        assert result.exit_code == 0, result.output
        assert result.stdout.split() == ["photos_cats_concepts.png", "photos_cats_concepts.npz"]
        result = self.run("photos", "--label", "cats", "--count", "3", "--json")
        (numbers,) = json.loads(result.stdout)["results"]
        assert (numbers["photos"], len(numbers["concepts"])) == (6, 3)
        assert all(one["photo"].startswith("cats/") for one in numbers["concepts"][0]["crops"])

    def test_a_concept_taken_apart(self, desk):
        result = self.run("photos", "--count", "2", "--split", "1", "--into", "3", "--json", "-l", "4")
        assert result.exit_code == 0, result.output
        (numbers,) = json.loads(result.stdout)["results"]
        assert (len(numbers["concepts"]), numbers["of"].partition(" of ")[0]) == (3, "concept 1")
        assert numbers["files"] == ["photos_concept_1.png"]

    def test_wrong_usage(self, desk):
        result = self.run("photos", "--count", "2", "--split", "3")
        assert (result.exit_code, result.stderr) == (2, "Error: --split 3 is none of the 2 concepts\n")
        result = self.run("photos", "--label", "birds")
        assert (result.exit_code, result.stderr) == (
            1,
            "Error: no photo of photos has the label 'birds'; there are cats, dogs\n",
        )

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("-l", "conv"), "no layer matches 'conv'; "),
            (("--target", "9"), "class 9 is not one of the network's 4 classes, 0 to 3"),
            (("--count", "200"), "count is 200; of "),
            (("--crop", "7"), "crop is 7"),
            (("--seed", "-1"), ""),
        ],
    )
    def test_what_cannot_be_ends_with_2_in_one_line(self, desk, arguments, message):
        result = self.run("photos", *arguments)
        assert result.exit_code == 2, result.output
        assert f"Error: {message}" in result.stderr

    def test_help_imports_no_torch(self):
        code = "import sys; from viztool.cli.concepts import concepts; print('torch' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class OneByOne(nn.Module):
    """The same network, which goes through its images one by one."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return torch.stack([self.net(image[None])[0] for image in x])


def test_of_a_network_that_goes_image_by_image_they_are_the_same():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 3),
        nn.ReLU(),
        nn.Conv2d(6, 8, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    photos = torch.randn(5, 3, 20, 20)
    plain = viztool.concepts(net.eval(), photos, 1, "3", count=3)
    found = viztool.concepts(OneByOne(net).eval(), photos, 1, "net.3", count=3)
    assert torch.allclose(found.parts.rows, plain.parts.rows, atol=1e-5)
    for one, other in zip(found, plain, strict=True):
        for name in ("importance", "importance_error", "effect", "effect_error", "share", "stability"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-3, abs=1e-5), name
        assert [crop[0] for crop in one.crops] == [crop[0] for crop in other.crops]
        assert np.allclose(one.map, other.map, atol=1e-4)
    assert (found.score, found.without) == pytest.approx((plain.score, plain.without), rel=1e-4)
    assert torch.allclose(found.curves.deletion, plain.curves.deletion, atol=1e-5)
    assert abs(plain.score - plain.without) > 1e-3, "the concepts say something of the class"
    parts = split(OneByOne(net).eval(), photos, found, 1, 1, "net.1", count=2)
    own = split(net.eval(), photos, plain, 1, 1, "1", count=2)
    assert [one.importance for one in parts] == pytest.approx([one.importance for one in own], rel=1e-2, abs=1e-5)
