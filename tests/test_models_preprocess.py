"""The oracle is the pipeline that comes with the weights: torchvision's transforms, timm's eval transform."""

import numpy as np
import pytest
import timm
import torch
import torchvision
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision import transforms as T

from viztool.errors import ModelError
from viztool.models.model import wrap_model
from viztool.models.preprocess import Preprocessing, check_channel_values, check_photo, check_size
from viztool.models.stem import _timm_preprocessing
from viztool.models.zoo_torchvision import _preprocessing

SHAPES = [(150, 200), (301, 131), (97, 97), (1, 1), (4, 30), (30, 4)]
LUMA = np.array([0.299, 0.587, 0.114])


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def torchvision_recipes() -> dict[str, tuple]:
    """Every preprocessing of every weights of torchvision, once."""
    found = {}
    for task in ("classification", "segmentation", "video"):
        module = torchvision.models if task == "classification" else getattr(torchvision.models, task)
        for name in torchvision.models.list_models(module):
            for weights in torchvision.models.get_model_weights(name):
                transforms = weights.transforms()
                found.setdefault(repr(transforms), (transforms, task))
    return found


def timm_configs() -> dict[str, dict]:
    """Every evaluation transform of timm, once."""
    found = {}
    for name in timm.list_models():
        pretrained = timm.get_pretrained_cfg(name)
        if pretrained is not None:  # of some names an older timm has none
            config = pretrained.to_dict()
            found.setdefault(str(resolve_data_config(pretrained_cfg=config)), config)
    return found


TORCHVISION = torchvision_recipes()
TIMM = timm_configs()


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_transforms_of_every_torchvision_weights(shape):
    image = photo(*shape)
    for text, (transforms, task) in TORCHVISION.items():
        recipe = _preprocessing(transforms, task)
        ours = recipe.tensor(recipe.pixels(image))
        if task == "video":
            frames = torch.from_numpy(image).permute(2, 0, 1).expand(16, 3, *shape)
            theirs = transforms(frames)[None]
        else:
            theirs = transforms(Image.fromarray(image))[None]
        assert torch.equal(ours, theirs), text


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_equals_every_timm_transform(shape):
    image = photo(*shape)
    for text, config in TIMM.items():
        if max(config["input_size"]) > 400:  # the same code, only slower
            continue
        recipe = _timm_preprocessing(config)
        theirs = create_transform(**resolve_data_config(pretrained_cfg=config))(Image.fromarray(image))
        assert torch.equal(recipe.tensor(recipe.pixels(image))[0], theirs), text


def test_equals_timm_for_every_crop_mode_and_a_size_that_is_not_square():
    image = photo(120, 170)
    for mode in ("center", "squash", "border"):
        for share in (0.8, 1.0, 1.15):
            config = {"input_size": (3, 64, 96), "crop_mode": mode, "crop_pct": share, "mean": (0.2, 0.5, 0.9)}
            recipe = _timm_preprocessing(config)
            theirs = create_transform(**resolve_data_config(pretrained_cfg=config))(Image.fromarray(image))
            assert torch.equal(recipe.tensor(recipe.pixels(image))[0], theirs), (mode, share)


def test_a_grey_network_gets_what_pillow_calls_grey():
    recipe = Preprocessing(size=(40, 40), mean=(0.3,), std=(0.2,), channels=1, resize=(48, 48))
    reference = T.Compose([T.Grayscale(), T.Resize(48), T.CenterCrop(40), T.ToTensor(), T.Normalize(0.3, 0.2)])
    image = photo(60, 80)
    assert torch.equal(recipe.tensor(recipe.pixels(image))[0], reference(Image.fromarray(image)))


def test_normalize_is_the_luma_of_each_pixel_for_a_grey_network():
    recipe = Preprocessing(size=(4, 5), mean=(0.25,), std=(0.5,), channels=1, resize=(4, 5))
    x = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = (np.einsum("nchw,c->nhw", x.numpy(), LUMA)[:, None] - 0.25) / 0.5
    np.testing.assert_allclose(recipe.normalize(x).numpy(), expected, rtol=1e-12)


RECIPES = {
    "colour": Preprocessing(size=(32, 24), resize=(40, 30)),
    "grey": Preprocessing(size=(32, 32), mean=(0.1,), std=(0.3,), channels=1, resize=(32, 32)),
    "squash": Preprocessing(size=(32, 32), resize=(36, 40), fit="squash", interpolation="bicubic"),
    "padded": Preprocessing(size=(32, 32), resize=(32, 32), fit="inside", fill=(10, 20, 30)),
    "padded grey": Preprocessing(
        size=(32, 32), mean=(0.1,), std=(0.3,), channels=1, resize=(32, 32), fit="inside", fill=(10, 20, 30)
    ),
    "whole": Preprocessing(size=(32, 32), resize=(32, 32), crop=False),
    "own size": Preprocessing(size=(32, 32), crop=False),
    "video": Preprocessing(size=(32, 32), resize=(36, 36), antialias=False, frames=4),
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_preprocess_is_normalize_of_the_view(name, shape):
    model = wrap_model(torch.nn.Conv2d(RECIPES[name].channels, 1, 1))
    model = type(model)(model.net, "net", RECIPES[name])
    image = photo(*shape)
    view = model.view(image)
    assert view.dtype == np.uint8 and view.shape[2] == 3
    x = torch.tensor(view).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(model.preprocess(image), model.normalize(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", RECIPES)
def test_normalize_is_differentiable_with_the_slope_of_its_formula(name):
    recipe = RECIPES[name]
    x = torch.rand(1, 3, 6, 7, requires_grad=True)
    recipe.normalize(x).sum().backward()
    slope = np.ones(3) / recipe.std * (recipe.frames or 1) * (LUMA if recipe.channels == 1 else 1)
    expected = torch.tensor(slope, dtype=torch.float32).view(1, 3, 1, 1).expand_as(x)
    torch.testing.assert_close(x.grad, expected)


@pytest.mark.parametrize("name", [name for name in RECIPES if RECIPES[name].channels == 3])
@pytest.mark.parametrize("shape", [(200, 250), (250, 100), (64, 256)])
def test_the_crop_box_is_where_each_pixel_of_the_view_comes_from(name, shape):
    # a photo that holds its own coordinates: resampling a ramp gives the position that was sampled
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8)
    recipe = RECIPES[name]
    view = recipe.pixels(image).astype(float)
    top, left, bottom, right = recipe.box(image.shape)
    height, width = view.shape[:2]
    y = top + (np.arange(height) + 0.5) * (bottom - top) / height - 0.5
    x = left + (np.arange(width) + 0.5) * (right - left) / width - 0.5
    # away from the edges, where the resampling window is cut
    inner_y, inner_x = (y > 8) & (y < shape[0] - 9), (x > 8) & (x < shape[1] - 9)
    assert inner_y.sum() > 5 and inner_x.sum() > 5
    assert np.abs(view[inner_y][:, inner_x, 0] - y[inner_y, None]).max() <= 1.01
    assert np.abs(view[inner_y][:, inner_x, 1] - x[None, inner_x]).max() <= 1.01


def test_crop_boxes_by_hand():
    lite0 = Preprocessing(size=(224, 224), resize=(256, 256))
    assert lite0.box((256, 512, 3)) == (16, 144, 240, 368)
    assert lite0.box((512, 512)) == (32, 32, 480, 480)
    assert RECIPES["padded"].box((32, 16)) == (0, -8, 32, 24)
    assert RECIPES["own size"].box((123, 45)) == (0, 0, 123, 45)


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (3, 60_000)])
def test_a_very_long_photo_is_seen_in_the_middle_without_a_huge_picture(shape):
    recipe = Preprocessing(size=(224, 224), resize=(256, 256))
    long = int(shape[1] > shape[0])
    image = np.zeros((*shape, 3), dtype=np.uint8)
    half = [slice(None), slice(None)]
    half[long] = slice(shape[long] // 2, None)
    image[tuple(half)] = 200
    view = recipe.pixels(image).astype(int)
    assert view.shape == (224, 224, 3)
    # the step between the halves is in the middle, so that the picture and its mirror image add up
    assert np.abs(view + np.flip(view, long) - 200).max() <= 1
    assert view.max() - view.min() > 100
    top, left, bottom, right = recipe.box(shape)
    assert (top + bottom) / 2 == pytest.approx(shape[0] / 2, abs=0.1)
    assert (left + right) / 2 == pytest.approx(shape[1] / 2, abs=0.1)
    assert max(bottom - top, right - left) == pytest.approx(min(shape) * 224 / 256, rel=1e-3)


def test_a_long_photo_that_is_not_cropped_is_cut_to_eight_times_its_short_side():
    recipe = Preprocessing(size=(32, 32), resize=(32, 32), crop=False)
    assert recipe.pixels(photo(3, 300)).shape == (32, 256, 3)
    assert recipe.box((3, 300)) == (0, 138, 3, 162)
    assert recipe.box((3, 24)) == (0, 0, 3, 24)


def test_at_another_size_the_share_of_the_photo_stays():
    lite0 = Preprocessing(size=(224, 224), resize=(256, 256))
    assert lite0.at_size((224, 224)) == lite0
    assert lite0.at_size((112, 448)).resize == (128, 512)
    whole = Preprocessing(size=(520, 520), resize=(520, 520), crop=False).at_size((96, 64))
    assert (whole.size, whole.resize, whole.crop) == ((96, 64), (96, 64), True)


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (
            Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, resize=(256, 256), interpolation="bicubic"),
            "resize 256 bicubic, crop 224, mean 0.5, std 0.5",
        ),
        (
            RECIPES["squash"],
            "resize to 36 × 40 bicubic, crop 32, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        ),
        (RECIPES["padded grey"], "resize into 32 × 32 bilinear, crop 32, grey, mean 0.1, std 0.3"),
        (
            RECIPES["whole"],
            "resize 32 bilinear, no crop, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        ),
        (
            Preprocessing((8, 9), (0.0,) * 3, (1.0,) * 3, resize=(8, 9), frames=16, assumed=True),
            "resize 8 × 9 bilinear, crop 8 × 9, mean 0, std 1, 16 equal frames (mean and std assumed)",
        ),
        (Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3, crop=False), "photo at its own size, no crop, mean 0, std 1"),
    ],
)
def test_preprocessing_in_words(recipe, text):
    assert recipe.describe() == text


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (np.zeros((5, 5, 3), dtype=np.float32), "float32 (5, 5, 3)"),
        (np.zeros((5, 5), dtype=np.uint8), "uint8 (5, 5)"),
        (np.zeros((5, 5, 4), dtype=np.uint8), "uint8 (5, 5, 4)"),
        (torch.zeros(3, 5, 5, dtype=torch.uint8), "torch.uint8 (3, 5, 5)"),
        ("cat.jpg", "str"),
    ],
)
def test_what_is_not_a_photo(wrong, got):
    with pytest.raises(ModelError) as error:
        check_photo(wrong)
    assert str(error.value) == (
        f"expected a photo as uint8 RGB (H, W, 3), got {got}; viztool.read_image gives one from a file"
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: check_photo(np.zeros((0, 5, 3), np.uint8)), "the photo is empty: its shape is (0, 5, 3)"),
        (lambda: check_size(0), "size must be at least 1 × 1, got 0 × 0"),
        (lambda: check_size(1.5), "size must be a whole number of pixels or (height, width), got 1.5"),
        (lambda: check_size((1, 2, 3)), "size must be a whole number of pixels or (height, width), got (1, 2, 3)"),
        (lambda: check_channel_values("red", 3, "mean"), "mean must be a number or one for each channel, got 'red'"),
        (lambda: check_channel_values([1, 2], 3, "std"), "std has 2 values, and the network takes 3 channels"),
        (lambda: check_channel_values([1, 0, 1], 3, "std"), "std must be above 0 in every channel, got 1 0 1"),
        (lambda: check_channel_values(float("nan"), 1, "mean"), "mean must be finite, got nan"),
        (
            lambda: RECIPES["colour"].normalize(torch.rand(1, 4, 8, 8)),
            "normalize expects RGB of the shape (N, 3, h, w), got (1, 4, 8, 8)",
        ),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ModelError) as error:
        call()
    assert str(error.value) == message


def test_sizes_and_values_in_every_accepted_form():
    assert check_size(96) == check_size(np.int64(96)) == check_size([96, 96]) == (96, 96)
    assert check_channel_values(0.5, 3, "mean") == (0.5, 0.5, 0.5)
    assert check_channel_values(torch.tensor([0.25, 0.5, 1]), 3, "std") == (0.25, 0.5, 1.0)


def test_an_unknown_crop_mode_of_timm():
    with pytest.raises(ModelError) as error:
        _timm_preprocessing({"input_size": (3, 8, 8), "mean": (0.5,) * 3, "crop_mode": "spiral"})
    assert str(error.value) == "the network's crop mode is 'spiral'; known are center, squash, border"
