"""What can be wrong with a demo."""

from viztool.errors import SettingError, ViztoolError


class DemoError(ViztoolError):
    """A demo is unknown, or cannot run with what it was given."""


class DemoSettingError(DemoError, SettingError):
    """An option of a demo has a value that it cannot have, whatever the photo."""


class WrongNumberError(ViztoolError):
    """A number of a demo is not what its claim's verdict says: the claim, the demo or a library is wrong."""
