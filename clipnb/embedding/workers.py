"""Prepare photographs in threads, or in processes for a GPU: Python runs one thread at a time, too slowly to keep it busy."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from itertools import chain, islice
from typing import Any, TypeVar

from ..datasets import images
from ..errors import UserError

FIRST = 256  # number of photographs that threads prepare before processes may take over
CHUNK = 16  # number of photographs that a process takes at a time
IDLE = 60  # seconds without work after which a process ends; until then the next run uses it

Given = TypeVar("Given")
Made = TypeVar("Made")


def in_order(
    function: Callable[[Given], Made],
    items: Sequence[Given],
    workers: int,
    ahead: int,
    for_processes: Callable[[], Callable[[Given], Made] | None] | None = None,
) -> Iterator[Made]:
    """A parallel `map` that keeps the order and works at most about `ahead` items ahead, so that memory stays bounded.

    `for_processes` is called after each `FIRST` items. It returns the function with which processes do the rest, or None for no
    processes. If a process is killed, the error is a `UserError`.
    """
    step = FIRST if for_processes else len(items)
    for start in range(0, len(items), max(1, step)):
        rest = items[start:]
        if start and for_processes and len(rest) > FIRST and (other := for_processes()):
            yield from _in_processes(other, rest, workers, ahead)
            return
        with ThreadPoolExecutor(workers) as threads:
            yield from _ahead(threads, function, rest[:step], ahead)


def _in_processes(function: Callable[[Given], Made], items: Sequence[Given], workers: int, ahead: int) -> Iterator[Made]:
    from loky import get_reusable_executor  # starts clean processes, which do not run the main script again

    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    try:
        about = (os.getpid(), images.budget() // workers, _large_pictures())
        pool = get_reusable_executor(workers, timeout=IDLE, initializer=_start, initargs=about)
        yield from chain.from_iterable(_ahead(pool, partial(_each, function), chunks, workers - (-ahead // CHUNK)))
    except BrokenProcessPool as error:
        raise UserError(
            "a process that prepared photographs was killed, perhaps because memory was short: the embeddings so far are kept; "
            "run the same again, or run(spec, workers=2) with fewer processes"
        ) from error


@cache
def _large_pictures() -> Any:
    """The lock of pictures that need more memory than one process has."""
    from loky.backend import get_context

    return get_context("loky").Lock()


def _start(parent: int, part: int, lock: Any) -> None:
    """Set up a process: limit its memory, let the main process answer Ctrl-C, and end when the main process has ended."""
    images.share(part, lock)
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _each(function: Callable[[Given], Made], items: Sequence[Given]) -> list[Made]:
    for package, setting in (("cv2", "setNumThreads"), ("torch", "set_num_threads")):
        if package in sys.modules:
            getattr(sys.modules[package], setting)(1)
    return [function(item) for item in items]


def _ahead(pool: Executor, function: Callable[[Given], Made], items: Iterable[Given], ahead: int) -> Iterator[Made]:
    source = iter(items)
    queue: list[Future[Made]] = [pool.submit(function, item) for item in islice(source, ahead)]
    try:
        while queue:
            yield queue.pop(0).result()
            queue += [pool.submit(function, item) for item in islice(source, 1)]
    finally:
        for future in queue:
            future.cancel()
