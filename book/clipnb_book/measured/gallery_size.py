"""How far found, P@k and valid@k depend on the size of the gallery, on real photographs that may not be shown.

`python -m clipnb_book.measured.gallery_size` measures it again where $CLIPNB_DATA holds the photographs.
"""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from clipnb._core.files import write_text
from clipnb.analysis.sensitivity import gallery_curve_of
from clipnb.encoders import OFFLINE
from clipnb.runs import run
from clipnb.spec import RunSpec

from .findings import FIGURES, SCENES, describe

FILE = Path(__file__).parent / "data" / "gallery_size.json"

SPECS = (
    RunSpec(SCENES, "blurred", OFFLINE, severity=3, per_category=20, engine="openvino"),
    RunSpec(FIGURES, "blurred", OFFLINE, severity=3, engine="openvino"),
)
"""The runs whose gallery is reduced."""

SIZES = {SCENES: (20, 50, 100, 200, 500, 1000, 2000), FIGURES: (20, 50, 100, 200, 350)}


@cache
def _record() -> dict[str, Any]:
    record: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return record


def curve(dataset: str) -> pd.DataFrame:
    """The table of `clipnb.analysis.sensitivity.gallery_curve` for a data set."""
    return pd.read_csv(io.StringIO("\n".join(_record()["sets"][dataset])))


def about() -> dict[str, Any]:
    """Versions, fingerprints and date of the measurement."""
    found: dict[str, Any] = _record()["about"]
    return found


def reading() -> str:
    """What a larger gallery costs, in a sentence."""
    rows = curve(SCENES).set_index(["measure", "size"])["value"]
    first, last = SIZES[SCENES][0], SIZES[SCENES][-1]
    found, kind = ([rows[name, size] for size in (first, last)] for name in ("found", "p_at_k"))
    return (
        f"With {first} and with {last:,} scenes in the gallery, {100 * found[0]:.0f}% and {100 * found[1]:.0f}% of the blurred "
        f"queries find their original first, and {100 * kind[0]:.0f}% and {100 * kind[1]:.0f}% of the results show the "
        "query's kind."
    )


def asked(dataset: str) -> str:
    """The number of blurred queries, which is that of all photographs: `2,000`."""
    return f"{SIZES[dataset][-1]:,}"


def measure() -> None:
    """Measure and write the file.

    Raises:
        UserError: the photographs are not in $CLIPNB_DATA.
    """
    sets = {spec.dataset: gallery_curve_of(spec, SIZES[spec.dataset]).round(4) for spec in SPECS}
    said = describe([run(spec) for spec in SPECS])
    lines = {name: table.to_csv(index=False).split() for name, table in sets.items()}
    write_text(FILE, json.dumps({"about": said, "sets": lines}, indent=1) + "\n")


if __name__ == "__main__":
    measure()
