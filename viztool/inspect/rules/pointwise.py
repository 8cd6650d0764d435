"""Functions that work unit by unit, on one tensor or on several, with broadcasting."""

from __future__ import annotations

from typing import Any

from viztool.inspect.lattice import Dim, Lattice, Mixed
from viztool.inspect.rules.base import Call, Rule, TensorFields, axes_of, of_first, of_one, union

_OF_ONE = """
relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid hardshrink softshrink
tanhshrink softplus softsign threshold logsigmoid log_sigmoid _threshold sigmoid tanh sin cos tan exp expm1 log log1p
log2 sqrt rsqrt square reciprocal abs absolute neg negative positive sign floor ceil round trunc frac erf
nan_to_num logical_not bitwise_not isnan isinf isfinite
dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
clone detach contiguous requires_grad_ data.get type float double half bfloat16 int long bool cpu cuda
__neg__ __abs__ __invert__ __pos__
"""

_OF_SEVERAL = """
clamp clip clamp_min clamp_max add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod
pow float_power maximum minimum fmax fmin where masked_fill lerp addcmul addcdiv atan2 hypot heaviside logaddexp
copysign eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor
__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __div__ __rdiv__ __truediv__ __rtruediv__ __floordiv__ __rfloordiv__
__mod__ __rmod__ __pow__ __rpow__ __and__ __or__ __xor__ __rand__ __ror__ __rxor__ __eq__ __ne__ __lt__ __le__ __gt__
__ge__ __iadd__ __isub__ __imul__ __idiv__ __itruediv__ __ipow__
"""


def pointwise(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    """A unit of the result sees what the units at its place in each operand see.

    An operand of size 1 that is broadcast along an axis, such as the gate of squeeze-and-excitation, does
    not widen the field but is context.
    """
    (shape,) = call.outputs
    fields, own = call.operands[0]
    if own == shape and all(other is fields for other, _ in call.operands[1:]):
        return fields
    context = frozenset[int]().union(*(operand.context for operand, _ in call.operands))
    dims: list[Dim] = []
    for at, size in enumerate(shape):
        here: list[Dim] = []
        for operand, sizes in call.operands:
            place = at - len(shape) + len(sizes)
            dim = operand.dims[place] if place >= 0 else None
            if isinstance(dim, Lattice | Mixed) and sizes[place] != size:
                context |= axes_of(dim)
            else:
                here.append(dim)
        dims.append(union(here))
    return TensorFields(tuple(dims), context)


def unchanged(call: Call, *_args: Any, **_kwargs: Any) -> TensorFields:
    return call.fields


def _with_in_place(names: list[str]) -> list[str]:
    return names + [f"{name}_" for name in names if not name.endswith("_")]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_with_in_place(_OF_ONE.split()), of_one(unchanged)),
    **dict.fromkeys(_with_in_place(_OF_SEVERAL.split()), pointwise),
    **dict.fromkeys(["to", "type_as"], of_first(unchanged)),
}
