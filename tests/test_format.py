"""Shares in words and tables: rounding makes none of them perfect, or larger than it is."""

from __future__ import annotations

import pytest

from clipnb.report.format import NB, share
from clipnb_book.values import at_least


@pytest.mark.parametrize(
    ("value", "spec", "said"),
    [
        (0.9995, ".3f", f"above{NB}0.999"),
        (0.9994, ".3f", "0.999"),
        (1.0, ".3f", "1.000"),
        (1 - 1e-16, ".3f", "1.000"),
        (0.997, ".0%", f"above{NB}99%"),
        (0.9996, ".1%", f"above{NB}99.9%"),
        (0.004, ".0%", f"below{NB}1%"),
        (0.0004, ".3f", f"below{NB}0.001"),
        (0.0, ".0%", "0%"),
        (0.96875, ".0%", "97%"),
        (0.5, ".1%", "50.0%"),
        (float("nan"), ".3f", "nan"),
    ],
)
def test_a_share_is_0_or_1_only_if_exact(value: float, spec: str, said: str) -> None:
    assert share(value, spec) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.96875, "96.8%"), (0.9995, "99.9%"), (0.57, "57.0%"), (0.29, "29.0%"), (1.0, "100.0%")]
)
def test_a_lower_limit_is_rounded_down(value: float, said: str) -> None:
    assert at_least(value) == said
