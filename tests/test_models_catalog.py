import subprocess
import sys

import pytest
import timm
import torchvision

from viztool.models import catalog

MODULES = {
    "classification": torchvision.models,
    "segmentation": torchvision.models.segmentation,
    "detection": torchvision.models.detection,
    "video": torchvision.models.video,
}


def names(source: str, task: str) -> list[str]:
    return [entry.name for entry in catalog.list_models() if (entry.source, entry.task) == (source, task)]


@pytest.mark.parametrize("task", MODULES)
def test_torchvision_names_are_those_that_torchvision_registers(task):
    assert names("torchvision", task) == torchvision.models.list_models(MODULES[task])


def test_timm_names_are_those_that_timm_registers():
    assert names("timm", "classification") == sorted(f"timm/{name}" for name in timm.list_models())


def test_the_embedded_network_comes_first():
    assert catalog.list_models()[0] == catalog.Entry("tf_efficientnet_lite0", "embedded", "classification")
    assert [entry.source for entry in catalog.list_models("tf_efficientnet_lite0")] == ["embedded", "timm"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("vgg1?_bn", ["vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", *(f"timm/vgg1{n}_bn" for n in "1369")]),
        ("deeplab", ["deeplabv3_mobilenet_v3_large", "deeplabv3_resnet101", "deeplabv3_resnet50"]),
        ("timm/convnext_tiny*", ["timm/convnext_tiny", "timm/convnext_tiny_hnf"]),
        ("no such network", []),
    ],
)
def test_a_pattern_is_a_glob_or_a_part_of_the_name(pattern, expected):
    assert [entry.name for entry in catalog.list_models(pattern)] == expected


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("resnt50", "resnet50"),
        ("convnext_nano", "timm/convnext_nano"),
        ("resnetv2_50.a1h_in1k", "timm/resnetv2_50"),
        ("timm/regnet_y_400mf", "regnet_y_400mf"),
    ],
)
def test_nearest_names(name, first):
    assert catalog.nearest(name)[0] == first


def test_the_names_are_read_without_importing_torch():
    code = (
        "import sys, viztool.models, viztool.models.catalog as c; assert len(c.entries()) > 1000; "
        "assert not {'torch', 'torchvision', 'timm', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_room_exports_its_public_names_and_no_others():
    import viztool.models

    assert viztool.models.__all__ == ["Model", "hold_inputs", "list_models", "load_model", "wrap_model"]
    assert all(callable(getattr(viztool.models, name)) for name in viztool.models.__all__)
    with pytest.raises(AttributeError, match="no attribute 'save_model'"):
        _ = viztool.models.save_model
