"""Feature maps: what each stage of a network makes of a photo, on one sheet."""

from viztool.features.compute import feature_maps
from viztool.features.layer_maps import LayerMaps
from viztool.features.looking import FeatureLook
from viztool.features.result import FeatureMaps

__all__ = ["FeatureLook", "FeatureMaps", "LayerMaps", "feature_maps"]
