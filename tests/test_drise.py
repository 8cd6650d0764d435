"""D-RISE beside a plain loop over the same masks, on detectors whose evidence is known."""

import json

import numpy as np
import pytest
import torch
import torchvision
from click.testing import CliRunner
from torch import nn

import viztool
from viztool.attribution.random_masks import RandomMasks
from viztool.cli import main
from viztool.detectors import box_like, detects, drise
from viztool.detectors.boxes import overlap
from viztool.errors import ModelError, TargetError, ViztoolError
from viztool.images import write_image

BOX = (2.0, 2.0, 12.0, 14.0)
EVIDENCE = (slice(18, 26), slice(20, 28))


class Detector(nn.Module):
    """Finds BOX, as far as the pixels of the evidence, which lie elsewhere, are bright; and another thing always."""

    def forward(self, x):
        found = []
        for image in x:
            bright = image[:, EVIDENCE[0], EVIDENCE[1]].mean().clamp(0, 1)
            boxes = torch.tensor([BOX, (1.0, 3.0, 12.0, 14.0), (20.0, 20.0, 30.0, 30.0)])
            scores = torch.stack([bright, bright / 2, torch.tensor(0.9)])
            found.append({"boxes": boxes, "labels": torch.tensor([3, 5, 5]), "scores": scores})
        return found


class Maps(nn.Module):
    """A detector with another form of output: a row of 4 corners, objectness and probabilities of 3 classes a box."""

    def forward(self, x):
        bright = x[:, :, EVIDENCE[0], EVIDENCE[1]].mean((1, 2, 3)).clamp(0, 1)
        rows = torch.tensor([*BOX, 0.0, 0.0, 0.0, 0.0]).repeat(len(x), 1, 1)
        rows[:, 0, 4] = bright
        rows[:, 0, 5:] = torch.stack([0.7 * bright, 1 - bright, 0.3 * bright], 1)
        return rows


def read_maps(output):
    return [
        {
            "boxes": rows[:, :4],
            "labels": rows[:, 5:].argmax(1),
            "scores": rows[:, 4] * rows[:, 5:].amax(1),
            "objectness": rows[:, 4],
            "probabilities": rows[:, 5:],
        }
        for rows in output
    ]


def picture():
    return torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(7))


def oracle(x, likeness, count, seed, grid=16):
    """The map and its error, mask by mask: Σ s m / Σ m − mean s, and how far each mask moves it."""
    drawn = RandomMasks.draw(count, grid, 0.5, torch.Generator().manual_seed(seed))
    masks = drawn.made(slice(None), (32, 32)).double()
    s = torch.stack([likeness(x * mask.float()) for mask in masks]).double()[:, None, None]
    ratio = (s * masks).sum(0) / masks.sum(0)
    moves = masks * (s - ratio) / masks.sum(0) - (s - s.mean(0)) / count
    return ratio - s.mean(0), moves.square().sum(0).sqrt()


def brightness(x):
    return x[0, :, EVIDENCE[0], EVIDENCE[1]].mean().clamp(0, 1)


class TestTheMap:
    @pytest.fixture(scope="class")
    @classmethod
    def found(cls):
        return drise(Detector(), picture(), BOX, 3, masks=600, seed=4)

    def test_is_that_of_a_plain_loop_over_the_same_masks(self, found):
        expected, error = oracle(picture(), brightness, 600, seed=4)
        assert torch.allclose(found.raw[0].double(), expected, atol=1e-6)
        assert torch.allclose(found.error[0].double(), error, atol=1e-6)
        assert found.score[0] == pytest.approx(float(brightness(picture())), abs=1e-6)

    def test_peaks_on_the_evidence_and_not_in_the_box(self, found):
        row, column = divmod(int(found.raw[0].argmax()), 32)
        assert (row in range(18, 26), column in range(20, 28)) == (True, True)
        inside = found.raw[0][EVIDENCE].mean()
        assert inside > 5 * found.raw[0][2:14, 2:12].abs().mean()
        assert inside > 4 * found.error[0][EVIDENCE].mean()

    def test_the_error_is_what_other_seeds_scatter_by(self):
        runs = [drise(Detector(), picture(), BOX, 3, masks=150, seed=seed) for seed in range(40)]
        scatter = torch.cat([run.raw for run in runs]).var(0).mean().sqrt()
        said = torch.cat([run.error for run in runs]).square().mean().sqrt()
        assert said == pytest.approx(float(scatter), rel=0.15)

    def test_half_as_large_with_four_times_the_masks(self, found):
        more = drise(Detector(), picture(), BOX, 3, masks=2400, seed=5)
        assert more.error.mean() == pytest.approx(float(found.error.mean()) / 2, rel=0.1)

    def test_the_same_seed_gives_the_same_map_and_the_network_stays(self, found):
        net = Detector().train()
        again = drise(net, picture(), BOX, 3, masks=600, seed=4)
        assert torch.equal(again.raw, found.raw)
        assert net.training

    def test_it_says_all_in_numbers(self, found):
        numbers = json.loads(json.dumps(found.numbers, allow_nan=False))
        assert numbers["box"] == list(BOX)
        assert numbers["standard_error"]["mean"] == pytest.approx(float(found.error.mean()))
        assert numbers["details"]["masks"] == 600
        assert found.arrays["error"].shape == (1, 32, 32)
        assert "of it above 2 standard errors (5 % by chance)" in found.checks(0)[1]

    def test_what_does_not_matter_is_not_above_chance(self):
        def noisy(output):
            return [{**each, "scores": torch.rand(3)} for each in output]

        assert drise(Detector(), picture(), BOX, 3, read=noisy, masks=400).sure < 0.15


class TestLikeness:
    def test_overlap(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 5, 5]])
        assert overlap(boxes, (0, 0, 10, 10)).tolist() == pytest.approx([1, 1 / 3, 0, 0.25])

    def test_the_best_of_overlap_times_score_of_the_same_class(self):
        output = [
            {
                "boxes": torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 10]]),
                "labels": torch.tensor([1, 1, 2]),
                "scores": torch.tensor([0.2, 0.9, 1.0]),
            },
            {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long), "scores": torch.zeros(0)},
        ]
        assert box_like((0, 0, 10, 10), 1)(output).tolist() == pytest.approx([0.3, 0])

    def test_with_probabilities_and_objectness_it_is_the_papers(self):
        """Overlap 1, the cosine with the found box's own probabilities, objectness: as written down here."""
        x = picture()
        found = drise(Maps(), x, BOX, 0, read=read_maps, masks=200, seed=2)

        def likeness(masked):
            bright, whole = brightness(masked), brightness(x)
            own, then = (torch.stack([0.7 * b, 1 - b, 0.3 * b]) for b in (whole, bright))
            return torch.cosine_similarity(own, then, dim=0) * bright

        # Its class is the one that most of its probability is on, here the second; the first was asked for.
        with_label = torch.stack([0.7 * brightness(x), 1 - brightness(x), 0.3 * brightness(x)]).argmax()
        assert with_label == 1
        expected, _ = oracle(x, lambda masked: likeness_of_the_class(masked, 0), 200, seed=2)
        assert torch.allclose(found.raw[0].double(), expected, atol=1e-6)
        second = drise(Maps(), x, BOX, 1, read=read_maps, masks=200, seed=2)
        expected, _ = oracle(x, likeness, 200, seed=2)
        assert torch.allclose(second.raw[0].double(), expected, atol=1e-6)


def likeness_of_the_class(masked, label):
    bright = brightness(masked)
    then = torch.stack([0.7 * bright, 1 - bright, 0.3 * bright])
    return then[label] / then.norm() * bright


class TestWhichBox:
    def test_the_best_by_default(self):
        found = drise(Detector(), picture(), masks=2)
        assert (found.corners, found.target) == ((20.0, 20.0, 30.0, 30.0), ("class 5",))
        assert drise(Detector(), picture(), target=3, masks=2).corners == BOX

    def test_the_class_of_the_box_that_overlaps_most(self):
        assert drise(Detector(), picture(), (2, 2, 12, 13), masks=2).target == ("class 3",)
        assert drise(Detector(), picture(), (1, 3, 12, 14), masks=2).target == ("class 5",)

    def test_a_box_of_a_photo_is_in_its_pixels(self):
        model = viztool.wrap_model(Detector(), size=32, mean=0.0, std=1.0)
        photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
        found = drise(model, photo, target=3, masks=2)
        assert found.corners == (16 + 4, 4, 16 + 24, 28), "64 of 96 columns are kept, from the 17th, and halved"
        assert found.box == pytest.approx((2 / 32, 2 / 32, 12 / 32, 14 / 32))
        again = drise(model, photo, found.corners, 3, masks=2)
        assert torch.equal(again.raw, found.raw)

    def test_what_cannot_be(self):
        net, x = Detector(), picture()
        with pytest.raises(
            TargetError, match=r"^no box that the network found overlaps with this one; say which class"
        ):
            drise(net, x, (13, 0, 18, 1))
        with pytest.raises(TargetError, match=r"^the network found no box of class 4 in the photo; give a box"):
            drise(net, x, target=4)
        with pytest.raises(TargetError, match=r"^\(5, 5, 5, 9\) is no box: it is left < right and top < bottom$"):
            drise(net, x, (5, 5, 5, 9))
        with pytest.raises(TargetError, match=r"^the box \(40, 40, 50, 50\) lies outside what the network was given"):
            drise(net, x, (40, 40, 50, 50), 3)
        with pytest.raises(TargetError, match=r"^D-RISE is of a detector, which puts out boxes, labels and scores"):
            drise(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), x, BOX, 1)
        with pytest.raises(ModelError, match=r"^a box is of one photo; the input is \(2, 3, 32, 32\)$"):
            drise(net, torch.rand(2, 3, 32, 32))
        with pytest.raises(ViztoolError, match=r"^masks is 1; give at least 2$"):
            drise(net, x, masks=1)


# One of each kind; the other seven differ from these in their backbones and heads alone.
KINDS = (
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "fcos_resnet50_fpn",
    "maskrcnn_resnet50_fpn",
    "retinanet_resnet50_fpn",
    "ssdlite320_mobilenet_v3_large",
)


@pytest.mark.parametrize("name", KINDS)
def test_detectors_of_torchvision(name):
    """With random weights, which find boxes of no meaning: what is checked is that boxes are read and compared."""
    sizes = {} if name.startswith("ssd") else {"min_size": 64, "max_size": 64}
    few = {"box_detections_per_img": 5, "box_score_thresh": 0.0, "rpn_post_nms_top_n_test": 20}
    some = few if "rcnn" in name else {"score_thresh": 0.0, "detections_per_img": 5}
    net = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=4, **sizes, **some).eval()
    x, box = torch.rand(1, 3, 64, 64), (5.0, 3.0, 50.0, 60.0)
    with torch.no_grad():
        boxes = net(x)[0]
    label = int(boxes["labels"][0])
    found = drise(net, x, box, label, masks=2, grid=4)
    covers = torchvision.ops.box_iou(boxes["boxes"], torch.tensor([box]))[:, 0]
    same = boxes["labels"] == label
    assert found.score[0] == pytest.approx(float((covers * boxes["scores"])[same].max()), abs=1e-5)
    assert found.raw.shape == (1, 64, 64)


class TestCommand:
    @pytest.fixture
    def desk(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        photo = np.full((32, 32, 3), 30, np.uint8)
        photo[EVIDENCE] = 250
        write_image("photo.png", photo)
        (tmp_path / "nets.py").write_text(
            "import torch\nfrom torch import nn\n\nclass Net(nn.Module):\n"
            "    def forward(self, x):\n"
            "        return [{'boxes': torch.tensor([[2.0, 2, 12, 14]]), 'labels': torch.tensor([1]),\n"
            "                 'scores': image[:, 18:26, 20:28].mean().clamp(0, 1)[None]} for image in x]\n\n"
            "def build():\n    return Net()\n"
        )
        return tmp_path

    def run(self, *arguments):
        options = ["-m", "nets.py:build", "--size", "32", "--mean", "0", "--std", "1", "--json"]
        return CliRunner().invoke(main, ["cam", "photo.png", *arguments, *options])

    @pytest.mark.parametrize("arguments", [("--box", "2,2,12,14"), ("--method", "drise")])
    def test_a_box_of_a_detector(self, desk, arguments):
        result = self.run(*arguments, "--masks", "300")
        assert result.exit_code == 0, result.output
        (numbers,) = json.loads(result.stdout)["results"]
        assert numbers["method"] == "drise"
        assert numbers["details"]["masks"] == 300
        assert numbers["box"] == [2, 2, 12, 14]
        checks = numbers["images"][0]["checks"]
        assert checks[0].startswith("standard error 0.0")
        assert ("peak outside the box" in checks) == ("--box" in arguments)

    def test_a_network_without_boxes_has_none(self, desk):
        (desk / "nets.py").write_text(
            "from torch import nn\n\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), "
            "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
        )
        assert json.loads(self.run("--box", "2,2,12,14").stdout)["results"][0]["method"] == "gradcam"
        result = self.run("--method", "drise")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: D-RISE is of a detector, which puts out boxes")

    def test_without_names_nobody_knows_how_many_classes_there_are(self, desk):
        result = self.run("--box", "2,2,12,14", "--target", "7", "--masks", "20")
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["results"][0]["images"][0]["target"] == "class 7"
        for target, message in (("cup", "so 'cup' cannot be found; give an index\n"),):
            result = self.run("--box", "2,2,12,14", "--target", target)
            assert (result.exit_code, result.stderr) == (2, f"Error: the classes have no names, {message}")
        model = viztool.load_model("nets.py:build", size=32)
        with pytest.raises(TargetError, match=r"^there is no class -1; the first is 0$"):
            drise(model, viztool.read_image("photo.png"), (2, 2, 12, 14), -1, masks=2)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("--box", "2,2,40,14"), "--box 2,2,40,14 does not lie in photo.png, which is 32 × 32 pixels"),
            (("--box", "2,2,1,14"), "Invalid value for '--box': '2,2,1,14' is no box"),
            (("--box", "2,2,12,14", "--masks", "1"), "Invalid value for '--masks'"),
        ],
    )
    def test_wrong_usage_ends_with_2(self, desk, arguments, message):
        result = self.run(*arguments)
        assert (result.exit_code, message in result.stderr) == (2, True), result.stderr

    def test_the_sheet_says_from_how_many_masks_and_which_seed(self, desk):
        result = self.run("--box", "2,2,12,14", "--masks", "1200", "--seed", "3")
        assert "from 1,200 random masks, seed 3" in json.loads(result.stdout)["results"][0]["images"][0]["checks"]


def test_what_is_a_detector():
    photo = np.zeros((32, 32, 3), np.uint8)
    assert detects(viztool.wrap_model(Detector(), size=32), photo)
    assert not detects(viztool.wrap_model(Maps(), size=32), photo)
