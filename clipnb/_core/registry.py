"""Registries of named objects (manipulations, encoders, measures), with aliases and suggestions for typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from ..errors import UserError

T = TypeVar("T")


def nearest(name: str, names: Iterable[str], spelled: Mapping[str, str] = MappingProxyType({})) -> str:
    """A question with the up to three names that are most like a mistyped one, in any case; "" if none is.

    >>> nearest("Gray3", ["grey", "blurred"])
    " (did you mean 'grey'?)"
    """
    known = {name.casefold(): spelled.get(name, name) for name in names}
    close = dict.fromkeys(known[found] for found in difflib.get_close_matches(name.casefold(), known, n=3))
    return f" (did you mean {' or '.join(map(repr, close))}?)" if close else ""


class Registry(Generic[T]):
    """Map names and aliases to objects, in the order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def register(self, item: T, name: str, *aliases: str) -> None:
        """Register an object under `name` and the given aliases."""
        self._items[name] = item
        self._aliases.update(dict.fromkeys((name, *aliases), name))

    def canonical(self, name: str) -> str:
        """The registered name for a name or an alias; of an unknown one, a `UserError` with the nearest names, or all."""
        if name in self._aliases:
            return self._aliases[name]
        raise UserError(f"unknown {self.kind} {name!r}{self.guess(name) or '; choose from ' + ', '.join(self)}")

    def guess(self, name: str) -> str:
        """A question with the nearest registered names; "" if none is near."""
        return nearest(name, self._aliases, self._aliases)

    def __getitem__(self, name: str) -> T:
        return self._items[self.canonical(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)
