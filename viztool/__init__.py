"""See what a convolutional network sees: on your network, on your photo.

>>> import viztool
>>> model = viztool.load_model()
>>> viztool.feature_maps(model, viztool.read_image("cat.jpg")).save("sheet.png")  # doctest: +SKIP

How it works; each room knows only those before it:

    photo → network → capture → maps · heatmaps · gradient ascent → render → file
    images  models    hooks     features  cam, attribution  kernels  render   images
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from viztool import attribution as attribution
    from viztool import cam as cam
    from viztool import circuits as circuits
    from viztool import craft as craft
    from viztool import demos as demos
    from viztool import detectors as detectors
    from viztool import errors as errors
    from viztool import explorer as explorer
    from viztool import faithfulness as faithfulness
    from viztool import features as features
    from viztool import heatmaps as heatmaps
    from viztool import hooks as hooks
    from viztool import images as images
    from viztool import inspect as inspect
    from viztool import kernels as kernels
    from viztool import models as models
    from viztool import targets as targets
    from viztool.atlas import Atlas, build_atlas, open_atlas
    from viztool.attribution import attribute
    from viztool.cam import class_activation_map
    from viztool.circuits import circuit
    from viztool.craft import concepts
    from viztool.demos import run_demo
    from viztool.errors import ViztoolError
    from viztool.explorer import Page, explore
    from viztool.faithfulness import evaluate_heatmap
    from viztool.features import FeatureMaps, feature_maps
    from viztool.hooks import Activations, capture
    from viztool.images import read_image
    from viztool.inspect.measure import layer_table
    from viztool.inspect.table import LayerTable
    from viztool.kernels import visualize_kernels
    from viztool.models import Model, load_model, wrap_model
    from viztool.monitor import Health, monitor

# Rooms that a user walks into, as in `viztool.cam.METHODS`. They are imported on first use, as the names below are.
_ROOMS = (
    "atlas",
    "attribution",
    "cam",
    "circuits",
    "craft",
    "demos",
    "detectors",
    "errors",
    "explorer",
    "faithfulness",
    "features",
    "heatmaps",
    "hooks",
    "images",
    "inspect",
    "kernels",
    "models",
    "monitor",
    "targets",
)

# Where each public name lives. They are imported on first use: `viztool --help` must not wait for torch.
_HOMES = {
    "Activations": "viztool.hooks",
    "Atlas": "viztool.atlas",
    "FeatureMaps": "viztool.features",
    "Health": "viztool.monitor",
    "LayerTable": "viztool.inspect",
    "Model": "viztool.models",
    "Page": "viztool.explorer",
    "ViztoolError": "viztool.errors",
    "attribute": "viztool.attribution",
    "build_atlas": "viztool.atlas",
    "capture": "viztool.hooks",
    "circuit": "viztool.circuits",
    "class_activation_map": "viztool.cam",
    "concepts": "viztool.craft",
    "evaluate_heatmap": "viztool.faithfulness",
    "explore": "viztool.explorer",
    "feature_maps": "viztool.features",
    "layer_table": "viztool.inspect",
    "load_model": "viztool.models",
    "open_atlas": "viztool.atlas",
    "read_image": "viztool.images",
    "run_demo": "viztool.demos",
    "visualize_kernels": "viztool.kernels",
    "wrap_model": "viztool.models",
}

__all__ = [
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


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"viztool.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'viztool' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})  # a room may be called by its one verb: viztool.monitor
