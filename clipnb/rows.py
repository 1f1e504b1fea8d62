"""The rows of a run as they are stored: a parquet file whose columns and values are checked when it is read."""

from __future__ import annotations

import io
from collections.abc import Callable

import pandas as pd

from ._core.typed import refuse_bomb
from .metrics.measures import MEASURES

TEXTS = ("category", "image", "sha256", "input")
COUNTS = ("draw", "n_asked", "n_returned", "n_dead", "n_unreadable", "n_results", "n_valid")
NUMBERS = ("strength", "difference", "valid")
MAYBE = ("strength", "difference")  # an encoder whose inputs are not 8-bit images has none
LISTS = ("results", "result_categories", "distances")
"""Columns of every run, by kind; a row also has `noop`, which is true or false."""


def read(content: bytes) -> pd.DataFrame:
    """The rows in the bytes of a parquet file.

    A `ValueError` says that a column is missing or of another type, or that a value is out of the range of its measure.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    refuse_bomb(file, "rows.parquet", len(content))
    table = file.read()
    rows: pd.DataFrame = table.to_pandas()
    if rows.empty:
        raise ValueError("rows.parquet has no rows")

    def need(names: tuple[str, ...], right: Callable[[pa.DataType], bool]) -> None:
        for name in names:
            column = table.column(name) if name in rows else None
            gaps = column is not None and bool(column.null_count) and name not in MAYBE
            if column is None or gaps or not right(column.type):
                found = "absent" if column is None else f"of type {column.type}" + " with gaps" * gaps
                raise ValueError(f"rows.parquet: the column {name!r} is {found}")

    types = pa.types
    need(TEXTS, lambda t: types.is_string(t) or types.is_large_string(t))
    need(COUNTS, types.is_integer)
    need(NUMBERS, lambda t: types.is_floating(t) or types.is_integer(t))
    need(("noop",), types.is_boolean)
    if (again := rows.duplicated([*TEXTS, "draw"])).any():
        first = rows[again].iloc[0]
        raise ValueError(f"rows.parquet has several rows for {first['category']}/{first['image']}, draw {first['draw']}")
    need(LISTS[:2], lambda t: types.is_list(t) and (types.is_string(t.value_type) or types.is_null(t.value_type)))
    need(LISTS[2:], lambda t: types.is_list(t) and (types.is_floating(t.value_type) or types.is_null(t.value_type)))
    for name in (name for name in MEASURES if name in rows):
        low, high = MEASURES[name].range
        values = pd.to_numeric(rows[name])
        if not values.dropna().between(low - 1e-6, high + 1e-6).all():
            raise ValueError(f"rows.parquet: {name!r} is not between {low:g} and {high:g}")
    return rows
