"""Look at a network without a photo: its layers, what they cost, and what their units see."""

from viztool.inspect.layer_table import layer_table
from viztool.inspect.receptive_field import ReceptiveField
from viztool.inspect.table import LayerRow, LayerTable
from viztool.inspect.trace import FieldTracer, receptive_fields

__all__ = ["FieldTracer", "LayerRow", "LayerTable", "ReceptiveField", "layer_table", "receptive_fields"]
