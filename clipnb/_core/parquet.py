"""Refuse decompression bombs before the values of a parquet file are read."""

from __future__ import annotations

from typing import Any

VALUES_PER_BYTE = 50
"""Largest number of values for each byte of a file. Distances hardly compress; a hostile file holds billions in a kilobyte."""


def refuse_bomb(file: Any, name: str, size: int) -> None:
    """Check the number of values in an opened `pyarrow.parquet.ParquetFile` of `size` bytes.

    Raises:
        ValueError: there are more than `VALUES_PER_BYTE`.
    """
    about = file.metadata
    held = sum(about.row_group(g).column(c).num_values for g in range(about.num_row_groups) for c in range(about.num_columns))
    if held > VALUES_PER_BYTE * (size + 1_000):
        raise ValueError(f"{name} states {held:,} values in {size:,} bytes")
