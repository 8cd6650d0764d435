"""The errors viztool raises on purpose: one line that says what is wrong and what to do."""

from numbers import Integral


class ViztoolError(Exception):
    """Base of every error that viztool raises on purpose."""


class ImageError(ViztoolError):
    """A picture cannot be read or written."""


class LayerError(ViztoolError):
    """A layer is unknown, never ran, was overwritten, or has no map to draw."""


class ChannelError(LayerError):
    """A layer has no such channel."""


def no_channel(layer: str, count: int, channel: int) -> ChannelError:
    """That of a layer with so many channels."""
    return ChannelError(f"layer {layer!r} has {count} channels, 0 to {count - 1}, and no {channel}")


class UnrelatedError(LayerError):
    """A score does not depend on a layer by a gradient."""


class ModelError(ViztoolError):
    """A network cannot be found, built, loaded, or run on this input."""


class NoGradientError(ModelError):
    """A network cannot be derived, by anyone."""


class SettingError(ModelError):
    """What was asked for is no value that this setting can have: a size of 0, a device that does not exist."""


class TargetError(ViztoolError):
    """A class or score to explain is unknown, or does not fit the network's output."""


def check_seed(seed: object) -> None:
    """Raise SettingError for what random numbers cannot begin with."""
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= int(seed) < 2**32 - 2:
        raise SettingError(f"seed is {seed!r}; give a whole number from 0 to {2**32 - 3}")
