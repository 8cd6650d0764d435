"""What can be wrong with a demo."""

from viztool.errors import ViztoolError


class DemoError(ViztoolError):
    """A demo is unknown, or cannot run with what it was given."""


class WrongNumberError(ViztoolError):
    """A number of a demo is not what its claim's verdict says: the claim, the demo or a library is wrong."""
