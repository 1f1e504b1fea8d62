"""The size of a parquet file before its values are read."""

from __future__ import annotations

from typing import Any

SWELL = 50
"""A file may hold so many values for each of its bytes. Distances hardly compress; a hostile file holds billions in a kilobyte."""


def require_no_swell(file: Any, name: str, size: int) -> None:
    """Check the number of values in an opened `pyarrow.parquet.ParquetFile` of `size` bytes.

    Raises:
        ValueError: there are more than `SWELL` for each byte.
    """
    about = file.metadata
    held = sum(about.row_group(g).column(c).num_values for g in range(about.num_row_groups) for c in range(about.num_columns))
    if held > SWELL * (size + 1_000):
        raise ValueError(f"{name} states {held:,} values in {size:,} bytes")
