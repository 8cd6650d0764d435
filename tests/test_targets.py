"""A target is the score that one asked for, and of nothing else."""

import numpy as np
import pytest
import torch
from timm.data.imagenet_info import ImageNetInfo
from torch.nn import functional as F

from viztool.cam import class_activation_map
from viztool.errors import TargetError
from viztool.models.classes import imagenet_classes, imagenet_index
from viztool.models.reader import Reader
from viztool.targets import box, inside, resolve, similarity

LOGITS = torch.tensor([[0.1, 2.0, -1.0, 0.5], [3.0, 0.0, 1.0, -2.0]])
NAMES = ["tabby", "tiger cat", "Egyptian cat", "lynx"]
NAMED, UNNAMED = Reader(names=NAMES).settle, Reader("softmax").settle


class TestClasses:
    def test_by_default_what_each_output_says(self):
        target = resolve(None, LOGITS, NAMED, 2)
        assert (target.classes, target.names) == ((1, 0), ("tiger cat", "tabby"))
        assert target.score(LOGITS).tolist() == [2.0, 3.0]

    @pytest.mark.parametrize("given", [2, "Egyptian cat", "egyptian CAT", "2", [2, 2], ["Egyptian cat", 2]])
    def test_one_class_in_every_way_to_name_it(self, given):
        target = resolve(given, LOGITS, NAMED, 2)
        assert target.classes == (2, 2)
        assert target.score(LOGITS).tolist() == [-1.0, 1.0]

    def test_one_for_each_image(self):
        assert resolve(["lynx", 0], LOGITS, NAMED, 2).score(LOGITS).tolist() == [0.5, 3.0]

    def test_without_names(self):
        target = resolve(3, LOGITS, UNNAMED, 2)
        assert target.names == ("class 3", "class 3")

    def test_the_score_of_several_batches_one_after_the_other(self):
        target = resolve([1, 0], LOGITS, NAMED, 2)
        assert target.score(torch.cat([LOGITS, LOGITS + 1])).tolist() == [2.0, 3.0, 3.0, 4.0]

    @pytest.mark.parametrize("output", [{"out": LOGITS}, (LOGITS, None), [LOGITS]])
    def test_outputs_of_other_forms(self, output):
        assert resolve(1, output, NAMED, 2).score(output).tolist() == [2.0, 0.0]


class TestWaysToSayIt:
    @pytest.mark.parametrize(
        "given",
        [
            np.int64(2),
            np.array(2),
            torch.tensor(2),
            np.array([2, 2]),
            torch.tensor([2, 2]),
            (np.int32(2), torch.tensor(2)),
        ],
    )
    def test_numbers_of_numpy_and_torch(self, given):
        for read in (NAMED, UNNAMED):
            assert resolve(given, LOGITS, read, 2).classes == (2, 2)

    def test_wordnets_numbers_are_imagenets_classes(self):
        output = torch.zeros(2, 1000)
        read = Reader("softmax", imagenet_classes()).settle
        assert resolve(["n02123045", "n02099712"], output, read, 2).names == ("tabby", "Labrador retriever")
        with pytest.raises(TargetError, match=r"^no class is called 'n99999999'$"):
            resolve("n99999999", output, read, 2)
        # Another thousand classes have other numbers.
        others = Reader("softmax", [f"kind {index}" for index in range(1000)]).settle
        with pytest.raises(TargetError, match=r"^no class is called 'n02123045'$"):
            resolve("n02123045", output, others, 2)

    def test_every_wordnet_number_is_the_class_of_its_name(self):
        names, info = imagenet_classes(), ImageNetInfo("imagenet-1k")
        for index in range(0, 1000, 37):
            number = info.index_to_label_name(index)
            assert imagenet_index(number, names) == index
            assert set(names[index].lower().split()) & set(
                info.index_to_description(index).lower().replace(",", "").split()
            )

    def test_torch_and_numpy_numbers_reach_the_rooms(self):
        net, x = (
            torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()),
            torch.rand(1, 3, 8, 8),
        )
        expected = class_activation_map(net, x, target=2, layer="0")
        for given in (np.int64(2), torch.tensor(2)):
            assert torch.equal(class_activation_map(net, x, target=given, layer="0").raw, expected.raw)


class TestErrors:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("egyptian", "no class is called 'egyptian'; nearest: Egyptian cat"),
            ("zebra crossing", "no class is called 'zebra crossing'"),
            (4, "class 4 is not one of the network's 4 classes, 0 to 3"),
            ("4", "class 4 is not one of the network's 4 classes, 0 to 3"),
            ("-5", "class -5 is not one of the network's 4 classes, 0 to 3"),
            (-1, "class -1 is not one of the network's 4 classes, 0 to 3"),
            (np.int64(-1), "class -1 is not one of the network's 4 classes, 0 to 3"),
            (True, "a target is a class index, a class name or a callable, not True"),
            (np.True_, "a target is a class index, a class name or a callable, not np.True_"),
            (torch.tensor(True), "a target is a class index, a class name or a callable, not tensor(True)"),
            (np.int64(9), "class 9 is not one of the network's 4 classes, 0 to 3"),
            (1.5, "a target is a class index, a class name or a callable, not 1.5"),
            ([None, 1], "a target is a class index, a class name or a callable, not None"),
            ([1], "1 targets for 2 images; give one for all, or one for each"),
        ],
    )
    def test_exact_messages(self, target, message):
        with pytest.raises(TargetError) as raised:
            resolve(target, LOGITS, NAMED, 2)
        assert str(raised.value) == message

    def test_a_name_where_there_are_none(self):
        with pytest.raises(TargetError, match=r"^the classes have no names, so 'cat' cannot be found; give an"):
            resolve("cat", LOGITS, UNNAMED, 2)

    def test_a_callable_that_gives_something_else(self):
        target = resolve(lambda output: output, LOGITS, NAMED, 2)
        with pytest.raises(TargetError, match=r"gives \(2, 4\); it must give one score for each image, \(N,\)$"):
            target.score(LOGITS)


class TestScoresOfOnesOwn:
    def test_a_callable(self):
        target = resolve(lambda output: output[:, 1] - output[:, 0], LOGITS, NAMED, 2)
        assert target.classes is None
        torch.testing.assert_close(target.score(LOGITS), torch.tensor([1.9, -3.0]))

    def test_the_mean_logit_inside_a_mask(self):
        logits = torch.randn(2, 5, 6, 8)
        mask = torch.zeros(6, 8, dtype=torch.bool)
        mask[1:3, 2:7] = True
        expected = logits[:, 3, 1:3, 2:7].mean((1, 2))
        torch.testing.assert_close(inside(mask, 3)({"out": logits}), expected)
        torch.testing.assert_close(inside(mask.repeat_interleave(2, 0).repeat_interleave(2, 1), 3)(logits), expected)
        with pytest.raises(TargetError, match=r"^the mask of inside\(\) is empty at the resolution of"):
            inside(torch.zeros(6, 8), 3)(logits)

    def test_the_score_of_a_box(self):
        output = [
            {"labels": torch.tensor([1, 2]), "scores": torch.tensor([0.9, 0.4], requires_grad=True)},
            {"labels": torch.tensor([3]), "scores": torch.tensor([0.7])},
        ]
        score = box(0)(output)
        assert score.tolist() == pytest.approx([0.9, 0.7])
        assert score.requires_grad
        with pytest.raises(TargetError, match=r"^the network found 1 boxes; there is no box 1$"):
            box(1)(output)
        with pytest.raises(TargetError, match=r"^box\(\) needs a detection network, which puts out labels and scores"):
            box(0)(LOGITS)

    def test_the_similarity_to_an_embedding(self):
        embeddings, reference = torch.randn(3, 7), torch.randn(7)
        expected = torch.stack([F.cosine_similarity(each, reference, dim=0) for each in embeddings])
        torch.testing.assert_close(similarity(reference)(embeddings), expected)
