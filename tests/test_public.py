"""The names that other people's code relies on."""

import subprocess
import sys
from pathlib import Path

import pytest

import viztool

PUBLIC = [
    "Activations",
    "Atlas",
    "FeatureMaps",
    "Health",
    "LayerTable",
    "Model",
    "Page",
    "ViztoolError",
    "__version__",
    "attribute",
    "build_atlas",
    "capture",
    "circuit",
    "class_activation_map",
    "concepts",
    "evaluate_heatmap",
    "explore",
    "feature_maps",
    "layer_table",
    "load_model",
    "monitor",
    "open_atlas",
    "read_image",
    "run_demo",
    "visualize_kernels",
    "wrap_model",
]


def test_the_list_is_this_one():
    assert viztool.__all__ == PUBLIC


def test_what_it_lists_is_there():
    assert sorted({*PUBLIC, *viztool._ROOMS}) == dir(viztool)
    assert all(hasattr(viztool, name) for name in dir(viztool))


@pytest.mark.parametrize("name", PUBLIC)
def test_every_name_is_there_and_says_what_it_is(name):
    value = getattr(viztool, name)
    assert isinstance(value, str) or value.__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"^module 'viztool' has no attribute 'grad_cam'$"):
        viztool.grad_cam  # noqa: B018


def test_importing_viztool_imports_nothing_else():
    code = "import sys, viztool; print([name for name in ('torch', 'numpy', 'click', 'cv2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("room", ["render.sheet", "images", "errors"])
def test_these_rooms_need_no_torch(room):
    code = f"import sys, viztool.{room}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_package_is_marked_as_typed():
    assert Path(viztool.__file__).with_name("py.typed").is_file()
