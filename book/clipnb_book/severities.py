"""Tables of severities, which `clipnb.analysis.severity` writes: breaking points, scores over all manipulations, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clipnb.analysis.severity import BASELINE, require_table
from clipnb.analysis.tolerance import Tolerance, by_chance, of_means
from clipnb.errors import UserError
from clipnb.manipulations import CLEAN, MANIPULATIONS
from clipnb.metrics.corruption import (
    Performance,
    corruption_error,
    mean_corruption_error,
    mean_performance,
    relative_performance,
)
from clipnb.metrics.measures import MEASURES
from clipnb.report.plots import INK, MID, PALE, WIDTH, jitter, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKS = ("o", "s", "D", "^", "v", "P")
FILLS = (INK, "white", MID, PALE)


def read_table(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table that `write_table` wrote, and the provenance of its numbers.

    Raises:
        UserError: the file is missing or is not such a table.
    """
    kept = require_table(path)
    rows = pd.DataFrame(kept["rows"])
    others = ("dataset", "encoder", "manip", "unit", "severity", "categories", "sizes", "queries")
    numbers = [c for c in rows if c not in others and not str(c).endswith("_points")]
    return rows.astype(dict.fromkeys(numbers, float)), kept["sources"]


def clean_value(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> float:
    """Performance on the clean photographs.

    Raises:
        UserError: the table has no clean row for the data set and encoder.
    """
    rows = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["manip"] == CLEAN)]
    if rows.empty:
        raise UserError(f"there is no clean run of {dataset} with {encoder}")
    return float(rows[measure].iloc[0])


def performance(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> Performance:
    """Map manipulation -> severity -> performance, without fixed settings."""
    rows = table[(table["dataset"] == dataset) & (table["encoder"] == encoder) & (table["severity"] > 0)]
    return {str(m): dict(zip(part["severity"], part[measure], strict=True)) for m, part in rows.groupby("manip", sort=False)}


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Compute mPC, rPC, mCE, and CE of mAP by manipulation: a row for each data set and encoder with severities.

    The error is 1 - mAP, which encoders share, unlike a measure with a distance threshold. There is no relative CE, because it
    would divide by the loss of the baseline, and a weak baseline loses almost nothing.

    Raises:
        UserError: the baseline lacks a run that an encoder has.
    """
    rows = []
    pairs = dict.fromkeys(table.loc[table["severity"] > 0, ["dataset", "encoder"]].itertuples(index=False, name=None))
    for dataset, encoder in pairs:
        own, base = (performance(table, dataset, name, "map") for name in (encoder, BASELINE))
        clean = clean_value(table, dataset, encoder, "map")
        row: dict[str, Any] = {"dataset": dataset, "encoder": encoder, "clean": clean}
        row |= {"mPC": mean_performance(own), "rPC": relative_performance(own, clean), "mCE": mean_corruption_error(own, base)}
        row |= {f"CE {manip}": corruption_error(levels, base[manip]) for manip, levels in own.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def from_table(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> list[Tolerance]:
    """Compute the breaking points of all manipulations in a table of severities (`clipnb.analysis.severity.tabulate`)."""
    own = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
    clean = own[own["manip"] == CLEAN].iloc[0]
    chance = by_chance(clean["sizes"], measure)
    found = []
    for manip, rows in own[own["value"] > 0].groupby("manip", sort=False):
        ordered = rows.sort_values("value", ascending=MANIPULATIONS[str(manip)].parameter.rises > 0)
        strengths = [float(value) for value in ordered["value"]]
        means = np.array([clean[f"{measure}_points"], *ordered[f"{measure}_points"]], dtype=float)
        found.append(of_means((dataset, encoder, str(manip), measure), strengths, means, chance))
    return found


def curves(table: pd.DataFrame, measure: str) -> Figure:
    """Draw performance against severity, with a row for each data set, a column for each manipulation, a line for each encoder.

    Error bars are 95% intervals, and dots are categories. The label of a severity gives the mean strength at the input of
    the first encoder.
    """
    graded = table[table["severity"] > 0]
    datasets, manips = list(dict.fromkeys(graded["dataset"])), list(dict.fromkeys(graded["manip"]))
    encoders = list(dict.fromkeys(graded["encoder"]))
    tops = [
        np.nanmax(table[[measure, f"{measure}_high"]].to_numpy(dtype=float)),
        *map(max, filter(len, table[f"{measure}_points"])),
    ]
    top = min(1.02, 1.05 * float(max(tops)))
    figure, axes = new_figure(WIDTH, 1.9 * len(datasets) + 0.9, len(datasets), len(manips), sharey=True)
    for line, dataset in zip(axes, datasets, strict=True):
        for ax, manip in zip(line, manips, strict=True):
            for i, encoder in enumerate(encoders):
                own = table[(table["dataset"] == dataset) & (table["encoder"] == encoder)]
                rows = own[(own["manip"] == manip) & (own["severity"] > 0) | (own["manip"] == CLEAN)].sort_values("severity")
                if rows.empty:
                    continue
                look: Any = {"color": INK if i == 0 else MID, "marker": MARKS[i % len(MARKS)]}
                x = rows["severity"].to_numpy() + 0.24 * (i - (len(encoders) - 1) / 2)
                for at, values in zip(x, rows[f"{measure}_points"], strict=True):
                    ax.plot(at + 0.6 * jitter(len(values)), values, ls="none", mew=0, ms=2.2, alpha=0.4, zorder=1, **look)
                y = rows[measure].to_numpy(dtype=float)
                arms = np.nan_to_num(np.array([y - rows[f"{measure}_low"], rows[f"{measure}_high"] - y], dtype=float))
                style: Any = {"lw": 1.2, "elinewidth": 0.8, "mfc": FILLS[i % len(FILLS)], "ms": 4.5, "ls": "-" if i == 0 else "--"}
                ax.errorbar(x, y, yerr=arms, label=plain(encoder), **look, **style)
                if i == 0:
                    levels = rows[rows["severity"] > 0]
                    short = [f"{strength:.2g}".removeprefix("0") for strength in levels["strength"]]  # five labels fit side by side
                    strengths = [f"{severity}\n{strength}" for severity, strength in zip(levels["severity"], short, strict=True)]
                    ax.set_xticks([0, *levels["severity"]], ["clean", *strengths], fontsize=7)
                    ax.set_xlabel(plain(str(levels["unit"].iloc[0])) if len(levels) else "", fontsize=7)
            ax.set_title(plain(f"{dataset}, {manip}"), fontsize=8, loc="left")
            ax.set_ylim(0, top)
        line[0].set_ylabel(MEASURES[measure].label, fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside upper right", ncols=len(labels))
    return figure


def heat_map(table: pd.DataFrame, dataset: str, encoder: str, measure: str) -> Figure:
    """Draw performance by manipulation and severity, printed in every cell; the first column is the clean run.

    The colours span the range of the measure, so that figures of several data sets can be compared.
    """
    found = performance(table, dataset, encoder, measure)
    severities = sorted({s for row in found.values() for s in row})
    clean = clean_value(table, dataset, encoder, measure)
    values = np.array([[clean, *(row.get(s, np.nan) for s in severities)] for row in found.values()])
    least, most = MEASURES[measure].range
    figure, axes = new_figure(WIDTH, 0.36 * len(found) + 1.0)
    ax = axes[0, 0]
    image = ax.imshow(values, cmap="Blues", vmin=least, vmax=most, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if not np.isnan(value):
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.6 * most else INK)
    ax.set_yticks(range(len(found)), [plain(name) for name in found])
    ax.set_xticks(range(len(severities) + 1), ["clean", *map(str, severities)])
    ax.set_xlabel("severity")
    ax.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=ax, pad=0.02)
    bar.set_label(MEASURES[measure].label, fontsize=8)
    return figure
