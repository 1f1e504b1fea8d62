"""The README's map of the code, against the code."""

from __future__ import annotations

import re
from collections import Counter

from conftest import REPOSITORY as ROOT


def test_each_module_stands_in_the_map_exactly_once() -> None:
    rows = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Map of the code")[2].partition("\n## ")[0]
    named = Counter(
        name.removeprefix("clipnb/")
        for row in rows.splitlines()
        if row.startswith("|")
        for name in re.findall(r"`((?:clipnb/)?(?:\w+\.py|\w+/))`", row.split("|")[2])
    )
    elsewhere = {"benchmarks/", "notebooks/", "book/"}
    there = {p.name for p in (ROOT / "clipnb").glob("*.py")} - {"__init__.py"}
    there |= {f"{p.parent.name}/" for p in (ROOT / "clipnb").glob("*/__init__.py")}
    assert {name: count for name, count in named.items() if name not in elsewhere} == dict.fromkeys(there, 1)
