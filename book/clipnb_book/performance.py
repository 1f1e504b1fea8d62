"""The results of `benchmarks/speed.py` for the book: ratios, and the limit of each."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from clipnb._core.files import read_json
from clipnb.report.format import table as plain_table
from clipnb.report.plots import INK, MID, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


DATA = Path(__file__).parent / "data"
LOOP = "whole grid against the study's loop"
GRID = f"{LOOP}, fp32"
"""The row in which clipnb and the study's loop have the same engine and precision."""


def on_gpu() -> dict[str, Any]:
    """The rates of the last run of `benchmarks/gpu.py` on a GPU, and its machine."""
    return dict(read_json(DATA / "gpu.json"))


def measured() -> dict[str, Any]:
    """The ratios of the last benchmark run, and its machine."""
    return dict(read_json(DATA / "speed.json"))


def reached(row: dict[str, Any]) -> bool:
    """Whether a ratio meets its limit."""
    return bool(row["ratio"] <= row["reach"] if row["at_most"] else row["ratio"] >= row["reach"])


def table() -> str:
    """A Markdown list of the ratios and of how each was measured."""
    found = measured()
    lines = ["| ratio | measured | rounds | limit | |", "|:--|--:|:--|:--|:--|"]
    lines += [
        f"| {row['measure']} | **{row['ratio']:.2f}**{_factors(row)} | {_rounds(row)} "
        f"| {'at most' if row['at_most'] else 'at least'} {row['reach']:g} | {'reached' if reached(row) else 'missed'} |"
        for row in found["rows"]
    ]
    said = (
        "In a product *a* = *b* x *c*, *b* is the gain from the order of work, with the loop's own engine and precision, and *c* "
        "the gain from another engine and precision."
    )
    notes = [f"- {row['measure']}, on {row['photographs']}: {row['detail']}." for row in found["rows"]]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    where = f"Measured on {found['cores']} cores ({found['machine']}, {found['device']}): {versions}."
    return "\n".join([*lines, "", said, "", where, "", *notes])


def gpu_table() -> str:
    """A Markdown table of the rates on a GPU beside the two rates that limit them."""
    rows = [
        [
            row["photograph"],
            row["precision"],
            f"{row['batch']}",
            *(f"{row[rate]:,.0f}" for rate in ("end to end", "bare", "preparing alone")),
            f"{100 * row['share of the lower']:.0f}%",
            f"{row['off the CPU']:.4f}",
        ]
        for row in on_gpu()["rows"]
    ]
    heads = ["photographs", "precision", "batch", "clipnb", "network alone", "preparing alone", "share", "distance"]
    return plain_table(heads, rows, "llrrrrrr")


def gpu_summary() -> str:
    """What the table of the GPU shows, and on which machine."""
    found = on_gpu()
    at_best: dict[str, Any] = {}
    for row in found["rows"]:
        at_best.setdefault(row["photograph"], row)
    said = [
        f"{row['end to end']:,.0f} photographs of {size} pixels a second in {row['precision']}, which is "
        f"{100 * row['share of the lower']:.0f}% of the rate of "
        + ("the network alone" if row["bare"] < row["preparing alone"] else "preparing alone")
        for size, row in at_best.items()
    ]
    small = next(iter(at_best.values()))
    steps, forward = small["ms"], 1000 / small["bare"]
    alone = steps["decode"] + steps["prepare"]
    return (
        f"A {found['model']} with random weights embeds {', and '.join(said)}. One core needs {alone:.1f} ms to decode and prepare "
        f"a small photograph, and the GPU {forward:.1f} ms to embed it; copying it takes {steps['copy in']:.2f} ms. "
        f"Measured on one {found['device']} with {found['cores']} processor cores, torch {found['torch']}, on {found['date']}."
    )


def chart() -> Figure:
    """Each ratio relative to its limit, on a logarithmic axis.

    A large dot is the median of the rounds, a small dot one round, the bar their range. If the ratio should be small,
    the axis shows limit / ratio, so that to the right is better on every line.
    """
    rows = measured()["rows"][::-1]
    shares = [_share(row, row["ratio"]) for row in rows]
    figure, axes = new_figure(WIDTH, 0.9 + 0.42 * len(rows))
    ax = axes[0, 0]
    for at, row in enumerate(rows):
        share = shares[at]
        rounds = [_share(row, value) for value in row["rounds"]]
        ax.plot([1, share], [at, at], color=MID, linewidth=0.7, linestyle=":", zorder=1)
        ax.plot([min(rounds), max(rounds)], [at, at], color=INK, linewidth=2.5, zorder=1)
        ax.scatter(rounds, [at - 0.22] * len(rounds), s=9, color=INK, zorder=2)
        ax.scatter(share, at, s=34, color=INK if share >= 1 else "white", edgecolor=INK, zorder=2)
        ax.annotate(f"{row['ratio']:.2f}", (max(rounds) if share >= 1 else min(rounds), at),
                    xytext=(8 if share >= 1 else -8, 0), textcoords="offset points",
                    ha="left" if share >= 1 else "right", va="center", fontsize=8)  # fmt: skip
    ax.axvline(1, color=INK, linewidth=1, linestyle="--")
    ax.set_xscale("log")
    left = min(0.8, 0.8 * min(shares))
    ax.set_xticks([0.5, 1, 2, 4], ["half", "the limit", "twice", "4 times"])
    ax.set_xlim(left, max(4, 1.3 * max(shares)))
    ax.minorticks_off()
    ax.set_yticks(range(len(rows)), [fill(row["measure"], 27, break_on_hyphens=False) for row in rows], fontsize=8)
    ax.set_ylim(-0.7, len(rows) - 0.3)
    ax.set_xlabel("ratio relative to its limit (right is better)")
    return figure


def _share(row: dict[str, Any], ratio: float) -> float:
    return float(row["reach"] / ratio if row["at_most"] else ratio / row["reach"])


def _factors(row: dict[str, Any]) -> str:
    """The gain by the order of work, times that by engine and precision, for a ratio that has both."""
    plain = next((r["ratio"] for r in measured()["rows"] if r["measure"] == GRID), None)
    if not plain or row["measure"] == GRID or not row["measure"].startswith(f"{LOOP}, "):
        return ""
    return f" = {plain:.2f} x {row['ratio'] / plain:.2f}"


def _rounds(row: dict[str, Any]) -> str:
    return ", ".join(f"{value:.2f}" for value in row["rounds"]) if len(row["rounds"]) > 1 else "one round"
