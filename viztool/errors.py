"""The errors viztool raises on purpose: one line that says what is wrong and what to do."""


class ViztoolError(Exception):
    """Base of every error that viztool raises on purpose."""


class ImageError(ViztoolError):
    """A picture cannot be read or written."""


class LayerError(ViztoolError):
    """A layer is unknown, never ran, was overwritten, or has no map to draw."""


class ChannelError(LayerError):
    """A layer has no such channel."""


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
