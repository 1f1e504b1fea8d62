"""Errors that a user can cause. A message is one line: what is wrong, where, and what to type."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """A mistake that the user can correct.

    Command lines and IPython print only the message, without a traceback.

    >>> import clipnb
    >>> try:
    ...     clipnb.RunSpec("sample-figures", k=0)
    ... except clipnb.UserError as error:
    ...     print(error)
    k must be a whole number from 1 up, not 0
    """

    def _render_traceback_(self) -> list[str]:  # the hook of IPython
        return [f"{type(self).__name__}: {self}"]


class DatasetError(UserError):
    """A data set is missing or empty, or its layout is not <root>/<category>/<image>."""


class UnreadableImage(UserError):
    """A file cannot be decoded as an image; the message says why."""


FOREIGN = (Exception, SystemExit)  # what code of others may raise: `sys.exit` must not end a command without a word


def text_of(error: BaseException, said: str = "") -> str:
    """The message of an error on one line, shortened, or its kind if it has none. A file that is in `said` is not named again."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror and Path(str(error.filename)).name in said:
        text = error.strerror
    return " ".join(text.split())[:300] or type(error).__name__


def of_one_photograph(name: str, error: BaseException) -> str:
    """The reason why one photograph is left out, on one line; an error that is not of the photograph is raised again."""
    if isinstance(error, UnreadableImage):
        return str(error)
    if isinstance(error, UserError | MemoryError):
        raise error
    return f"{name}: {in_one_line(error)}"


def left_out(unreadable: Mapping[str, str], used: int) -> str:
    """How many photographs cannot be read beside those that are used, with the first reason; "" if there is none."""
    if not unreadable:
        return ""
    counted = f"{len(unreadable)} of {len(unreadable) + used} photographs"
    return f"{counted} could not be read: left out; the first: {next(iter(unreadable.values()))}"


def in_one_line(error: BaseException) -> str:
    """Kind, text and place of an error."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text_of(error)} ({Path(at.filename).name}, line {at.lineno})"


@contextmanager
def one_line(
    said: str, instead: str = "", text: Callable[[BaseException], str] | None = None, kind: type[UserError] = UserError
) -> Iterator[None]:
    """Make a `UserError` of an error in code of others: what was `said`, the text of the error, and what to do `instead`."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except FOREIGN as error:
        why = text(error) if text else text_of(error, said)
        raise kind(f"{said}: {why}" + f"; {instead}" * bool(instead)) from error


class ServiceError(UserError):
    """A service cannot be reached, or it answered with an error."""


class NoAnswer(ServiceError):
    """A service does not answer in time, or refuses connections."""


class MissingExtra(UserError):
    """An optional package is not installed; the message gives the pip command to type."""

    def __init__(self, what: str, extra: str, instead: str = "") -> None:
        way_round = f", or {instead}" if instead else ""
        super().__init__(f"{what} needs packages that are not installed: pip install 'clipnb[{extra}]'{way_round}")


@contextmanager
def needs(what: str, extra: str, instead: str = "") -> Iterator[None]:
    """Raise `MissingExtra` for a package of the block that is not installed, `UserError` for a torchvision of another torch."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(what, extra, instead) from error
    except (ImportError, RuntimeError) as error:
        if "torchvision" not in str(error):
            raise
        both = "pip install --force-reinstall torch torchvision (both from one source)"
        raise UserError(f"{what} needs a torchvision built for this torch: {both}") from error


def user_errors(kind: type[UserError] = UserError) -> set[str]:
    """Names of an error class and of all its subclasses, to recognise an error that a notebook reports by name."""
    return {kind.__name__}.union(*(user_errors(child) for child in kind.__subclasses__()))
