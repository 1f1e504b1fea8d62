"""Progress on a terminal."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

EVERY = 1.0  # time in seconds between two looks at the clock


@contextmanager
def ticking(bar: Any) -> Iterator[None]:
    """Show on a terminal how the time of a bar of tqdm passes, also while the bar does not move."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(EVERY):
            bar.refresh()

    ticker = threading.Thread(target=tick, daemon=True)
    if not bar.disable and bar.fp.isatty():
        ticker.start()
    try:
        yield
    finally:
        ended.set()
        if ticker.is_alive():
            ticker.join()
