"""The effect of each correction of the study's protocol: the study's run with a single setting corrected.

The first row is `mode study`, the last `mode corrected` with the severities that reach the encoder; every other row
differs from the first in one setting. Photographs and encoder stay the same throughout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from clipnb.analysis.calibration import STATISTICS, clean_embeddings
from clipnb.analysis.pair_counts import pair_counts
from clipnb.errors import UserError
from clipnb.manipulations import CLEAN, STUDY
from clipnb.metrics.ranking import codes
from clipnb.metrics.validity import valid_at_k
from clipnb.report.format import percent, points, table
from clipnb.result import Result
from clipnb.runs import run
from clipnb.spec import AS_STUDY, RunSpec
from clipnb.stats.intervals import category_means, macro_mean
from clipnb.stats.sign_flips import change_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEVERITY = 3
"""Severity of the corrected crop (55 % of the area, drawn) and blur (3 pixels at a short side of 224)."""


@dataclass(frozen=True)
class Correction:
    """One correction.

    Attributes:
        name: in tables and figures.
        flaw: what the study did.
        settings: fields of the specification that change.
        severity: severity of a manipulation whose strength is corrected; 0 keeps the study's setting.
        manips: conditions that it can affect.
        calibrated: whether the threshold of a category is calibrated on the other categories instead of being 0.8.
        skips_empty: whether a category without results is left out instead of counted 0.
    """

    name: str
    flaw: str
    settings: dict[str, Any] = field(default_factory=dict)
    severity: int = 0
    manips: tuple[str, ...] = STUDY
    calibrated: bool = False
    skips_empty: bool = False


CORRECTIONS = (
    Correction("the study's protocol", "all settings of the study"),
    Correction("query not moved", "the query is moved towards an aesthetic vector", {"aesthetic_weight": 0.0}),
    Correction("look-alikes kept", "results that look alike are dropped, so their number varies", {"deduplicate": False}),
    Correction("own image left out", "a query may find itself and its copies", {"duplicates": 24}),
    Correction("threshold calibrated", "the threshold of 0.8 has no derivation", calibrated=True),
    Correction("crop at severity 3", "the crop only shifts the encoder's centre crop", severity=SEVERITY, manips=("cropped",)),
    Correction("blur at severity 3", "the strength of the blur depends on the file size", severity=SEVERITY, manips=("blurred",)),
    Correction("empty categories left out", "a category without results counts as 0", skips_empty=True),
    Correction(
        "all corrected",
        "all of the above",
        {"aesthetic_weight": 0.0, "deduplicate": False, "duplicates": 24, "colour": "srgb"},
        severity=SEVERITY,
        calibrated=True,
        skips_empty=True,
    ),
)


def held_out_taus(spec: RunSpec) -> dict[str, float]:
    """Category -> threshold with an FPR of 5% on all other categories, so that no category sets its own threshold.

    Raises:
        UserError: the data set is missing, or the other categories of one give no threshold.
    """
    vectors, categories, digests = clean_embeddings(spec, progress=False)
    counts = pair_counts(vectors, codes(categories)[0], codes(digests)[0])
    taus = {name: STATISTICS["tau_fpr_5"](counts.curve(without=c)) for c, name in enumerate(sorted(set(categories)))}
    if lacking := [name for name, tau in taus.items() if math.isnan(tau)]:
        raise UserError(f"without {lacking[0]}, the categories of {spec.dataset} give no threshold: add photographs or categories")
    return taus


def _valid(result: Result, taus: Mapping[str, float]) -> pd.Series[float]:
    """valid@k of each row at the threshold of its category."""
    rows = result.rows
    values = [float(valid_at_k(d[None], taus[c])[0]) for c, d in zip(rows["category"], rows["distances"], strict=True)]
    return pd.Series(values, rows.index)


def measured(dataset: str, encoder: str, **settings: Any) -> tuple[pd.DataFrame, list[Result]]:
    """Every correction under every condition.

    Args:
        dataset: its name or folder.
        encoder: by name.
        settings: other fields of the specification, such as `per_category`.

    Returns:
        One row per correction and condition (correction, manip, value, change, low, high, changes, lost: share of results asked
        for that were never scored, tau: mean over categories), and the runs of the study's own protocol. `change` is against the
        first row, in share of valid results, with its 95% interval over categories and the change of each; NaN and empty where a
        correction cannot affect the condition. If one leaves out categories, there is no interval: the change is not paired.
    """
    taus = held_out_taus(RunSpec(dataset, CLEAN, encoder, **settings))
    rows: list[dict[str, Any]] = []
    first: dict[str, dict[str, float]] = {}
    study: list[Result] = []
    kept: dict[RunSpec, Result] = {}
    for correction in CORRECTIONS:
        for manip in STUDY:
            severity = correction.severity if manip in ("cropped", "blurred") and manip in correction.manips else 0
            asked = {**AS_STUDY, **settings, **correction.settings, "severity": severity}
            spec = RunSpec(dataset, manip, encoder, **asked)
            result = kept[spec] = kept.get(spec) or run(spec, progress=False)
            at = taus if correction.calibrated else dict.fromkeys(taus, spec.tau)
            means = category_means(result.by_category(_valid(result, at)), absent="skip" if correction.skips_empty else "zero")
            before = first.setdefault(manip, means)
            touched = manip in correction.manips
            changes = [means[c] - before[c] for c in before] if touched and before.keys() == means.keys() else []
            interval = change_interval(changes) if changes else None
            value = macro_mean(list(means.values()))
            if correction is CORRECTIONS[0]:
                study.append(result)
            rows.append(
                {
                    "correction": correction.name,
                    "manip": manip,
                    "value": value,
                    "change": value - macro_mean(list(before.values())) if touched else math.nan,
                    "low": interval.low if interval else math.nan,
                    "high": interval.high if interval else math.nan,
                    "changes": changes,
                    "lost": 1 - result.rows["n_results"].sum() / result.rows["n_asked"].sum(),
                    "tau": macro_mean(list(at.values())),
                }
            )
    return pd.DataFrame(rows), study


def corrections_table(frame: pd.DataFrame) -> str:
    """One row per correction, one column per condition: valid results and, in brackets, the change in percentage points."""
    rows = []
    for correction in CORRECTIONS:
        part = frame[frame["correction"] == correction.name].set_index("manip")
        cells = [_cell(part.loc[manip], correction) for manip in STUDY]
        rows.append([correction.name, *cells])
    return table(["correction", *STUDY], rows, "l" + "r" * len(STUDY))


def list_of_corrections() -> str:
    """A table of the corrections and of what the study did."""
    return table(["correction", "what the study did"], [[c.name, c.flaw] for c in CORRECTIONS], "ll")


def _cell(row: Any, correction: Correction) -> str:
    if correction is CORRECTIONS[0]:
        return percent(row["value"])
    if row["change"] != row["change"]:
        return "–"
    return f"{percent(row['value'])} ({points(row['change'])})"


def _sizes(frame: pd.DataFrame) -> pd.Series:
    """Single correction -> mean absolute change over the conditions that it affects."""
    single = frame[~frame["correction"].isin([CORRECTIONS[0].name, CORRECTIONS[-1].name])]
    return single.assign(size=single["change"].abs()).groupby("correction", sort=False)["size"].mean()


def largest(frame: pd.DataFrame) -> tuple[str, float]:
    """The single correction that changes the share of valid results most, and its mean absolute change."""
    size = _sizes(frame)
    return str(size.idxmax()), float(size.max())


def summary(frame: pd.DataFrame) -> str:
    """Which single correction changes the numbers most, and what all of them do together."""
    size = _sizes(frame)
    largest, least = str(size.idxmax()), [str(name) for name, value in size.items() if value < 0.0005]
    tau = frame.loc[frame["correction"] == "threshold calibrated", "tau"].iloc[0]
    lost = frame.loc[frame["correction"] == CORRECTIONS[0].name, "lost"].mean()
    nothing = f" {_listed(least)} {'changes' if len(least) == 1 else 'change'} nothing." if least else ""
    return (
        f"*{largest}* is the single correction that changes the share of valid results most: by {100 * size[largest]:.1f} points "
        f"on average over the conditions that it affects.{nothing} The calibrated threshold of a category is that of all other "
        f"categories, {tau:.2f} on average; it accepts 5% of pairs of different kinds. "
        f"The study's protocol drops {lost:.1%} of the requested results because they look alike."
    )


def _listed(names: Sequence[str]) -> str:
    quoted = [f"*{name}*" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def figure(frames: dict[str, pd.DataFrame]) -> Figure:
    """Change by correction, one panel per data set, one marker per condition; the last row is all of them together.

    Lines are 95% intervals over categories, dots the categories.
    """
    from clipnb.report.plots import INK, MID, WIDTH, jitter, new_figure, plain

    drawn, axes = new_figure(WIDTH, 4.6, 1, len(frames), sharex=True, sharey=True)
    names = [correction.name for correction in CORRECTIONS[1:]]
    looks: dict[str, Any] = {
        "original": {"marker": "o", "color": INK},
        "blurred": {"marker": "s", "color": MID},
        "cropped": {"marker": "^", "color": MID, "markerfacecolor": "white"},
        "grey": {"marker": "D", "color": INK, "markerfacecolor": "white"},
    }
    offsets = dict(zip(STUDY, (-0.24, -0.08, 0.08, 0.24), strict=True))
    for ax, (dataset, frame) in zip(axes[0], frames.items(), strict=True):
        ax.axvline(0, color=INK, linewidth=0.8)
        for manip in STUDY:
            part = frame[frame["manip"] == manip].set_index("correction").loc[names]
            at = [y + offsets[manip] for y in range(len(names))]
            for y, changes in zip(at, part["changes"], strict=True):
                dots = y + 0.3 * jitter(len(changes))
                ax.plot([100 * c for c in changes], dots, "o", color=MID, markersize=2, alpha=0.5, markeredgewidth=0, zorder=1)
            ax.hlines(at, 100 * part["low"], 100 * part["high"], color=INK, linewidth=1, zorder=4)
            ax.plot(100 * part["change"], at, linestyle="none", markersize=4, label=manip, zorder=3, **looks[manip])
        ax.axhline(len(names) - 1.5, color=INK, linewidth=0.6, linestyle=":")
        ax.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5), xlabel="change, percentage points")
        ax.set_title(plain(dataset), fontsize=9, loc="left")
        ax.grid(axis="y", color="#e6e6e6", linewidth=7, alpha=0.6)
        ax.set_axisbelow(True)
    drawn.legend(*axes[0, 0].get_legend_handles_labels(), fontsize=8, frameon=False, ncols=4, loc="outside upper center")
    return drawn
