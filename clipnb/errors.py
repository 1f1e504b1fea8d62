"""Errors that a user can cause: always one line that says what is wrong, where, and what to type."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that the person at the keyboard can mend.

    Command lines print the message alone; IPython does too (`_render_traceback_` is its hook for that).
    """

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class DatasetError(UserError):
    """A data set that is missing, empty, or not laid out as <root>/<category>/<image>."""


class UnreadableImage(UserError):
    """A file that cannot be decoded as an image; the message says why."""


class ServiceError(UserError):
    """A service that cannot be reached, or answered with an error."""


class MissingExtra(UserError):
    """An optional dependency is not installed; the message holds the pip command to type."""

    def __init__(self, what: str, extra: str, instead: str = "") -> None:
        way_round = f", or {instead}" if instead else ""
        super().__init__(f"{what} needs packages that are not installed: pip install 'clipnb[{extra}]'{way_round}")


def user_errors(kind: type[UserError] = UserError) -> set[str]:
    """Names of all errors that a user can cause: how a notebook's error is known outside its kernel."""
    return {kind.__name__}.union(*(user_errors(child) for child in kind.__subclasses__()))
