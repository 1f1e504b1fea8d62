"""How many inputs a network gets at once: what is fastest on this machine, found while the work goes on."""

from __future__ import annotations

TRIALS = 2
"""Times that each size is tried; the better one counts, so that the first run of a shape does not."""


class FastestSize:
    """Tries a few batch sizes in turn on real work, then keeps to the one that took least for an input.

    On two cores a convolutional network was twice as fast at 4 as at 32, a vision transformer a sixth faster at 16 than at 4.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes
        self._seconds: dict[int, list[float]] = {size: [] for size in sizes}
        self.most = max(sizes)

    @property
    def best(self) -> int | None:
        """The fastest size, None as long as one has not been tried often enough."""
        if any(len(times) < TRIALS for times in self._seconds.values()):
            return self._sizes[0] if len(self._sizes) == 1 else None
        return min(self._sizes, key=lambda size: min(self._seconds[size]))

    def next(self, waiting: int) -> int:
        """How many of the inputs that wait to take next, at least 1."""
        if self.best is not None:
            return max(1, min(self.best, self.most, waiting))
        untried = [size for size in self._sizes if len(self._seconds[size]) < TRIALS and size <= waiting]
        return max(1, min(min(untried, key=lambda size: len(self._seconds[size]), default=waiting), self.most))

    def note(self, size: int, seconds: float) -> None:
        """A batch of `size` took so long."""
        if size in self._seconds:
            self._seconds[size].append(seconds / size)

    def limit(self, size: int) -> None:
        """No more than `size` fit the memory."""
        self.most = size
        self._sizes = tuple(s for s in self._sizes if s <= size) or (size,)
        self._seconds = {s: self._seconds.get(s, []) for s in self._sizes}
