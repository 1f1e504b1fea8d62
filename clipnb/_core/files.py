"""Writing files so that nobody ever reads half of one."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def file_sha256(path: Path) -> str:
    """SHA-256 of a file that may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; it takes the name when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as file:
        file.write(text.encode("utf-8"))


def write_generated(folder: Path, pattern: str, texts: Mapping[str, str]) -> None:
    """Make the files of `folder` that match `pattern` be `texts`, name -> content: touched only if they change."""
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    for path in folder.glob(pattern):
        if path.name not in texts:
            path.unlink()


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A new folder to fill beside `folder`; it takes its place when the block ends well, and vanishes otherwise."""
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        yield partial
        partial.chmod(0o755)
        old = partial.with_name(partial.name + ".old")
        if folder.exists():
            folder.rename(old)
        try:
            partial.rename(folder)
        except BaseException:
            if old.exists():
                old.replace(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def rounded(value: Any) -> Any:
    """A value, or a list of them, as JSON holds it: floats to six decimals, nothing for NaN."""
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)
