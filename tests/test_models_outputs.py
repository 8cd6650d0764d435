from collections import OrderedDict
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from viztool.errors import ModelError
from viztool.models.outputs import output_tensor
from viztool.models.reader import Reader


def class_scores(output, said="softmax"):
    return Reader(said).settle(output).scores(output)


def class_probabilities(output, said="softmax"):
    return Reader(said).settle(output).probabilities(output)


def top_classes(output, names=None, top=5, said=None):
    return [list(each) for each in Reader(said, names).settle(output).predictions(output, top)]


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(3, 7, generator=torch.Generator().manual_seed(0)) * 3


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@dataclass
class Answer:
    loss: float
    logits: torch.Tensor


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x, x[:, :2]),
        lambda x: [x],
        lambda x: {"logits": x, "aux": x[:, :2]},
        lambda x: OrderedDict(aux=x[:, :2], out=x),
        lambda x: {"loss": 1.0, "features": x},
        lambda x: Answer(1.0, x),
        lambda x: SimpleNamespace(logits=x),
        lambda x: {"head": {"logits": x}},
        lambda x: (None, [x]),
    ],
)
def test_the_scores_are_found_in_every_kind_of_output(wrap, logits):
    assert output_tensor(wrap(logits)) is logits
    assert torch.equal(class_scores(wrap(logits)), logits)


def test_probabilities_are_the_softmax(logits):
    np.testing.assert_allclose(class_probabilities(logits), softmax(logits.numpy(), 1), rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_network_that_ends_in_a_softmax_is_taken_at_its_word(dtype, logits):
    inside = logits.softmax(1).to(dtype)
    assert torch.equal(class_probabilities(inside), inside.float())
    np.testing.assert_allclose(class_probabilities(logits.log_softmax(1)), logits.softmax(1), rtol=1e-5)


def test_a_label_has_its_sigmoid():
    x = torch.tensor([[0.0, -1.0], [2.0, 3.0]])
    np.testing.assert_allclose(class_probabilities(x, "sigmoid"), 1 / (1 + np.exp(-x.numpy())), rtol=1e-6)
    assert torch.equal(class_probabilities(x[:, 0], "sigmoid"), class_probabilities(x[:, :1], "sigmoid"))


def test_of_two_names_the_second_is_the_positive_class():
    (first, second), (certain, doubt) = top_classes(torch.tensor([[0.0], [2.0]]), ["cat", "dog"])
    assert (certain[0], doubt[0]) == ("dog", "cat")
    assert certain[1] == pytest.approx(0.880797) and doubt[1] == pytest.approx(0.119203)
    assert first[1] == second[1] == 0.5


def test_dense_maps_give_the_share_of_the_picture():
    x = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1)) * 4
    expected = softmax(x.numpy().astype(np.float64), 1).mean((2, 3))
    np.testing.assert_allclose(class_probabilities(x), expected, rtol=1e-5)
    np.testing.assert_allclose(class_probabilities({"out": x, "aux": -x}), expected, rtol=1e-5)
    np.testing.assert_allclose(class_probabilities(x.softmax(1)), expected, rtol=1e-5)
    np.testing.assert_allclose(class_probabilities(x[:, :, None]), expected, rtol=1e-5)


def test_one_dense_map_gives_the_mean_of_its_sigmoid():
    x = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(1)) * 4
    expected = (1 / (1 + np.exp(-x.numpy().astype(np.float64)))).mean((2, 3))
    np.testing.assert_allclose(class_probabilities(x, "sigmoid"), expected, rtol=1e-5)


def test_tokens_give_their_mean_over_the_sequence():
    x = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(2)) * 4
    np.testing.assert_allclose(class_probabilities(x), softmax(x.numpy(), 2).mean(1), rtol=1e-5)


def test_large_half_precision_maps_do_not_overflow():
    x = torch.zeros(1, 3, 300, 300, dtype=torch.float16)
    x[:, 1] = 5
    expected = softmax(np.array([0.0, 5.0, 0.0]), 0)
    np.testing.assert_allclose(class_probabilities(x)[0], expected, rtol=1e-3)


def test_dense_scores_stay_in_the_graph():
    x = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(3)).requires_grad_()
    (ours,) = torch.autograd.grad(class_scores(x)[:, 2].exp().sum(), x)
    (expected,) = torch.autograd.grad(x.softmax(1).mean((2, 3))[:, 2].sum(), x)
    torch.testing.assert_close(ours, expected)


def boxes(labels: list[int], scores: list[float]) -> dict[str, torch.Tensor]:
    return {"boxes": torch.zeros(len(labels), 4), "labels": torch.tensor(labels), "scores": torch.tensor(scores)}


def test_boxes_come_best_first_each_with_its_class():
    output = [boxes([2, 1, 2], [0.25, 0.75, 0.5]), boxes([], [])]
    names = ["background", "cat", "dog"]
    assert top_classes(output, names, top=2) == [[("cat", 0.75), ("dog", 0.5)], []]
    assert top_classes(output, None, top=1) == [[("class 1", 0.75)], []]


def test_box_scores_are_the_highest_of_each_class():
    output = [boxes([2, 1, 2], [0.25, 0.75, 0.5]), boxes([1], [0.125])]
    expected = torch.tensor([[0, 0.75, 0.5], [0, 0.125, 0]])
    assert torch.equal(class_scores(output), expected)
    assert torch.equal(class_probabilities(output), expected)


def test_top_classes_are_sorted_and_named(logits):
    names = [f"name {i}" for i in range(7)]
    for row, line in zip(top_classes(logits, names, top=99), softmax(logits.numpy(), 1), strict=True):
        assert [name for name, _ in row] == [f"name {i}" for i in np.argsort(-line)]
        np.testing.assert_allclose([value for _, value in row], np.sort(line)[::-1], rtol=1e-5)
    assert [len(row) for row in top_classes(logits, None, top=2)] == [2, 2, 2]
    assert top_classes(logits, said="softmax")[0][0][0] == f"class {int(logits[0].argmax())}"


NAN = torch.tensor([[0.0, float("nan")]])


@pytest.mark.parametrize(
    ("output", "classes", "message"),
    [
        (NAN, None, "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std"),
        (
            torch.tensor([[0.0, float("inf")]]),
            None,
            "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std",
        ),
        (
            [boxes([1], [float("nan")])],
            None,
            "the network's output is not finite (NaN or infinity): look at its weights, and at mean and std",
        ),
        (torch.zeros(1, 3), ["a", "b"], "2 class names were given, and the network has 3 outputs"),
        ([boxes([7], [0.5])], ["a", "b"], "2 class names were given, and the network found class 7"),
        (torch.tensor(1.0), None, "the network's output has no class scores: its shape is ()"),
        (torch.zeros(1, 0), None, "the network's output has no class scores: its shape is (1, 0)"),
        ({"loss": 1.0}, None, "the network's output (dict) holds no tensor to read classes from"),
        (None, None, "the network's output (NoneType) holds no tensor to read classes from"),
    ],
)
def test_outputs_that_say_nothing(output, classes, message):
    with pytest.raises(ModelError) as error:
        top_classes(output, classes)
    assert str(error.value) == message


def test_wrong_requests():
    with pytest.raises(ModelError, match=r"^the network found no object in the photo$"):
        class_scores([boxes([], [])])
