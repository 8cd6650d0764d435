"""Errors as one line on stderr; the traceback only with --debug."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ParamSpec, TypeVar

import click

from viztool.errors import ChannelError, SettingError, ViztoolError

_DEBUG = "viztool.debug"
_ARGUMENTS = "viztool.arguments"

P = ParamSpec("P")
R = TypeVar("R")


def one_line(error: BaseException) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, ViztoolError):
        return text
    return f"{type(error).__name__}: {text} (unexpected; --debug shows where)"


class WrongUsageError(click.ClickException):
    """What was asked for cannot be, whatever the photo: one line, and exit code 2."""

    exit_code = 2


@contextmanager
def usage(kinds: type[ViztoolError] | tuple[type[ViztoolError], ...] = ViztoolError) -> Iterator[None]:
    """What viztool refuses inside the block is wrong usage: nothing is done, and the exit code is 2.

    kinds: of errors, where others may be the photos' own.
    """
    try:
        yield
    except kinds as error:
        raise WrongUsageError(one_line(error)) from error


def debugging() -> bool:
    """Whether this command was called with --debug."""
    return bool(click.get_current_context().meta.get(_DEBUG))


def keep_arguments(context: click.Context, arguments: Sequence[str]) -> None:
    """Remember what was typed after `viztool`."""
    context.meta[_ARGUMENTS] = tuple(arguments)


def _typed() -> str | None:
    """The command as one types it; None if it was called in another way."""
    arguments = click.get_current_context().meta.get(_ARGUMENTS)
    return None if arguments is None else shlex.join(["viztool", *arguments])


def _signing(seed: object) -> AbstractContextManager[None]:
    """Inside, files say that this command made them. A command without a seed writes none, and need not wait for it."""
    if not isinstance(seed, int):
        return nullcontext()
    from viztool.images import signed_by

    return signed_by(_typed(), seed)


def reported(command: Callable[P, R]) -> Callable[P, R]:
    """Give a command the option --debug, and end it with exit code 1 and one line if it raises, 2 for wrong usage.

    The files that it writes say that it made them.
    """

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        click.get_current_context().meta[_DEBUG] = kwargs.pop("debug")
        try:
            with _signing(kwargs.get("seed")):
                return command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if debugging():
                raise
            click.echo(f"Error: {one_line(error)}", err=True)
            sys.exit(2 if isinstance(error, (SettingError, ChannelError)) else 1)

    return wrapper
