"""Registries of named objects (manipulations, encoders, measures), with aliases and suggestions for typing errors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from ..errors import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Map names and aliases to objects, in the order of registration."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Return a decorator that registers an object under `name` and the given aliases."""

        def add(item: T) -> T:
            self._items[name] = item
            self._aliases.update(dict.fromkeys((name, *aliases), name))
            return item

        return add

    def canonical(self, name: str) -> str:
        """The registered name for a name or an alias.

        Raises:
            UserError: the name is unknown; the message lists the choices.
        """
        if name in self._aliases:
            return self._aliases[name]
        close = difflib.get_close_matches(name, self._aliases, n=1)
        guess = f" (did you mean {self._aliases[close[0]]!r}?)" if close else ""
        raise UserError(f"unknown {self.kind} {name!r}{guess}; choose from {', '.join(self)}")

    @property
    def aliases(self) -> frozenset[str]:
        """All aliases, without the registered names."""
        return frozenset(self._aliases) - frozenset(self._items)

    def __getitem__(self, name: str) -> T:
        return self._items[self.canonical(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)
