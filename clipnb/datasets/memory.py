"""Memory for decoding: pictures that are decoded at the same time share a budget, whatever their size and the number of threads."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

from .._core.typed import number_in
from .images import opened

MEBIBYTES = 2048  # the budget; `$CLIPNB_MEMORY` replaces it

PER_PIXEL = 28
"""Bytes of memory for each pixel of a picture that is decoded, manipulated and scaled. (`screenshot` at severity 5, whose
page has four times the pixels, takes 39.)"""

RETURNED = 2**27  # bytes from which a picture's memory is given back to the system: the C library keeps what a thread has freed

_free = threading.Condition()
_taken = 0
_share: tuple[int, AbstractContextManager[Any]] | None = None


def share(part: int, lock: AbstractContextManager[Any]) -> None:
    """Tell one of several processes its part of the budget in bytes. Pictures above it wait for the lock of all processes."""
    global _share
    _share = part, lock


@cache
def _trim() -> Callable[[int], object]:
    """The function of glibc that gives freed memory of all threads back; one that does nothing where there is none."""
    return getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None) if os.name == "posix" else lambda _: None


def budget() -> int:
    """The budget in bytes; a `UserError` if `$CLIPNB_MEMORY` is not a number of MiB."""
    return number_in("CLIPNB_MEMORY", MEBIBYTES, "MiB") << 20


@contextmanager
def room_for(content: bytes) -> Iterator[None]:
    """Wait until the budget has room for a picture, by the size in its header. A picture above the budget is decoded alone."""
    global _taken
    try:
        with opened(content) as image:
            needed = image.width * image.height * PER_PIXEL
    except Exception:  # as in `decode`, which says what is wrong
        needed = 0
    if _share is not None:
        part, lock = _share
        with lock if needed > part else nullcontext():
            yield
        return
    most = budget()
    with _free:
        _free.wait_for(lambda: not _taken or _taken + needed <= most)
        _taken += needed
    try:
        yield
    finally:
        if needed > RETURNED:
            _trim()(0)
        with _free:
            _taken -= needed
            _free.notify_all()
