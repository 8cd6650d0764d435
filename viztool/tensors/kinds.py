"""What the kind of a layer says of the layout of what it puts out."""

from __future__ import annotations

from torch import nn

from viztool.tensors.layout import LAST, SECOND, Layout

_CHANNELS_SECOND = (
    nn.Conv1d,
    nn.Conv2d,
    nn.ConvTranspose2d,
    nn.LazyConv2d,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LocalResponseNorm,
    nn.CrossMapLRN2d,
    nn.MaxPool2d,
    nn.MaxUnpool2d,
    nn.AvgPool2d,
    nn.FractionalMaxPool2d,
    nn.LPPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Upsample,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
    nn.ReflectionPad2d,
    nn.ReplicationPad2d,
    nn.ConstantPad2d,
    nn.CircularPad2d,
    nn.Dropout2d,
    nn.Softmax2d,
    nn.Fold,
)

_OVER_LAST_AXIS = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)


def of_kind(module: nn.Module) -> Layout | None:
    """The layout of this layer's output; None where its kind says nothing of it.

    A layer named after its two dimensions (LayerNorm2d of timm and torchvision, FrozenBatchNorm2d) has its
    channels second, whatever it is made from.
    """
    if isinstance(module, _CHANNELS_SECOND):
        return SECOND
    single = isinstance(module, _OVER_LAST_AXIS) or next(module.children(), None) is None
    if single and any("2d" in cls.__name__.lower() for cls in type(module).__mro__):
        return SECOND
    if isinstance(module, _OVER_LAST_AXIS):
        over = getattr(module, "normalized_shape", (0,))
        return LAST if len(over) == 1 else SECOND
    return None
