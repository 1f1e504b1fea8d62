"""Figures of results. Each function returns a figure and does not show it; figures contain raw points and intervals.

Lightness and position distinguish conditions, so that the figures remain readable in greyscale and for colour-blind readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..result import Result
from ..stats.intervals import Interval
from .format import share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..analysis.calibration import Calibration
    from ..analysis.contrasts import Contrast

INK, MID, PALE = "#222222", "#4477aa", "#bccde1"
STYLE: Any = {"figure.dpi": 144, "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
WIDTH = 6.4  # width of every figure in inches; with equal widths, all text on a page has the same size

AXIS = "valid@k by category (share of valid results)"

MOST = 120  # largest number of categories that a figure lists
Groups = Mapping[str, Sequence[float]]  # condition or data set -> category means in [0, 1]


OTHER_SCRIPTS = (
    "Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans SC", "Noto Sans JP", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei",
    "IPAexGothic",
    "Droid Sans Fallback", "Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo",
    "Arial Unicode MS", "Noto Sans Devanagari", "Noto Sans Thai",
)  # fmt: skip
"""Names of fonts with scripts that Matplotlib's own font lacks."""


@cache
def label_fonts() -> list[str]:
    """Matplotlib's own font and the fonts in `OTHER_SCRIPTS` that this machine has, so that labels may be in any script."""
    from matplotlib import font_manager

    here = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in here)]


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: object) -> tuple[Figure, np.ndarray]:
    """Make a figure and its (rows, columns) axes. The figure is closed, so that a notebook shows it only where it is returned."""
    import matplotlib.pyplot as plt

    plt.rcParams["font.family"] = label_fonts()  # also for text that is added later
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", squeeze=False, **options)  # type: ignore[call-overload]
    plt.close(figure)
    return figure, axes


def plain(name: str) -> str:
    """Escape dollar signs in a label, which would start a formula."""
    return name.replace("$", r"\$")


def axis_title(ax: Axes, title: str) -> None:
    """Set the title of an axis, left-aligned."""
    ax.set_title(plain(title), fontsize=9, loc="left")


def jitter(n: int) -> np.ndarray:
    """Offsets in [-0.12, 0.12) that keep n points apart: (n,) values of a fixed low-discrepancy sequence."""
    return (np.arange(1, n + 1) * 0.618034) % 1.0 * 0.24 - 0.12


def histograms(groups: Groups) -> Figure:
    """Draw a histogram of valid@k by category for each condition, with the mean as a line and the categories as ticks."""
    figure, axes = new_figure(WIDTH, 1.15 * len(groups) + 0.7, len(groups), sharex=True, sharey=True)
    for ax, (name, values) in zip(axes[:, 0], groups.items(), strict=True):
        ax.hist(values, bins=np.linspace(0, 1, 21).tolist(), color=PALE, edgecolor=MID)
        ax.plot(values, np.zeros(len(values)), "|", color=INK, ms=7, clip_on=False)
        mean = float(np.mean(values))
        ax.axvline(mean, color=INK, lw=1.4)
        axis_title(ax, f"{name}, mean {mean:.3f}")
        ax.yaxis.get_major_locator().set_params(integer=True)
    axes[-1, 0].set(xlabel=AXIS, xlim=(0, 1))
    figure.supylabel("number of categories", fontsize=9)
    return figure


def boxes(groups: Groups) -> Figure:
    """Draw a box plot of each condition: median, quartiles, whiskers at 1.5 IQR, categories as dots, the mean as a diamond."""
    figure, axes = new_figure(WIDTH, 3.2)
    ax = axes[0, 0]
    look: Any = {"boxprops": {"facecolor": PALE, "edgecolor": MID}, "medianprops": {"color": INK, "lw": 1.6}}
    look |= {"whiskerprops": {"color": MID}, "capprops": {"color": MID}, "widths": 0.55, "showfliers": False, "patch_artist": True}
    ax.boxplot(list(groups.values()), tick_labels=[plain(name) for name in groups], **look)
    for at, values in enumerate(groups.values(), start=1):
        ax.plot(at + jitter(len(values)), values, "o", color=INK, ms=3, alpha=0.6, mew=0, clip_on=False)
        ax.plot(at, np.mean(values), "D", mfc="white", mec=INK, ms=5)
    ax.set(ylabel=AXIS, ylim=(-0.02, 1.03))
    return figure


def bars(intervals: Mapping[str, Interval], points: Groups) -> Figure:
    """Draw the macro mean of each condition with its interval, and the category means."""
    figure, axes = new_figure(WIDTH, 3.2)
    ax = axes[0, 0]
    at = np.arange(len(intervals))
    means = np.array([i.point for i in intervals.values()])
    ax.bar(at, means, color=PALE, edgecolor=MID, width=0.62)
    for x, name in zip(at, intervals, strict=True):
        ax.plot(x + jitter(len(points[name])), points[name], "o", color=INK, ms=3, alpha=0.5, mew=0, clip_on=False)
    arms = np.array([[i.point - i.low for i in intervals.values()], [i.high - i.point for i in intervals.values()]])
    ax.errorbar(at, means, yerr=np.nan_to_num(arms), fmt="none", ecolor=INK, capsize=4, lw=1.4)
    for x, mean in zip(at, means, strict=True):
        ax.text(x + 0.2, mean + 0.01, f"{mean:.3f}", va="bottom", fontsize=8)
    ax.set_xticks(at, [plain(name) for name in intervals])
    methods = " / ".join(sorted({f"{i.method}, {i.n} categories" for i in intervals.values()}))
    ax.set(ylabel="mean " + AXIS, ylim=(0, 1.06))
    ax.set_xlabel(f"error bars: 95% interval over categories ({methods})", fontsize=8)
    return figure


def mean_row(ax: Axes, at: float, interval: Interval, values: Sequence[float] = (), marker: str = "D", fill: str = "white") -> None:
    """Draw a mean with its interval and, below it, the values, all multiplied by 100."""
    ax.plot(100 * np.asarray(values), at - 0.13 + 0.5 * jitter(len(values)), "o", color=MID, ms=3, alpha=0.45, mew=0)
    if interval.bounded:
        ax.plot([100 * interval.low, 100 * interval.high], [at, at], color=INK, lw=2)
    ax.plot(100 * interval.point, at, marker, mfc=fill, mec=INK, ms=5)


def forest(family: Sequence[Contrast], xlabel: str) -> Figure:
    """Draw a row for each contrast: the mean change with its interval, categories as dots, and a line at zero."""
    figure, axes = new_figure(WIDTH, 0.42 * len(family) + 0.9)
    ax = axes[0, 0]
    for at, c in enumerate(reversed(family)):
        mean_row(ax, at, c.interval, c.values)
    ax.axvline(0, color=INK, lw=0.8, ls=":")
    ax.set_yticks(range(len(family)), [plain(f"{c.dataset}\n{c.before} → {c.after}") for c in reversed(family)], fontsize=7)
    ax.set(xlabel=xlabel, ylim=(-0.6, len(family) - 0.4))
    return figure


def categories(result: Result) -> Figure:
    """Draw valid@k of each category of a run, best at the top, with images as dots and the macro mean with its interval.

    If there are more than `MOST` categories, the lowest are drawn.
    """
    every = sorted(result.category_means, key=lambda c: result.category_means[c])
    order = every[:MOST]
    figure, axes = new_figure(WIDTH, max(1.8, 0.24 * len(order) + 0.9))
    ax = axes[0, 0]
    a = result.valid
    ax.axvspan(a.low, a.high, color="0.92", label="95% interval of the mean")
    ax.axvline(a.point, color=INK, lw=1.2, label=f"mean {a.point:.3f}")
    names = [plain(category) for category in order]
    ax.barh(names, [result.category_means[c] for c in order], color=PALE, edgecolor=MID, height=0.62)
    for at, category in enumerate(order):
        scores = np.asarray(result.scores[category])
        ax.plot(scores, at + jitter(len(scores)), "o", color=INK, ms=3, alpha=0.5, mew=0, clip_on=False)
    of = f"; the lowest {MOST} of {len(every)}" * (len(every) > MOST)
    ax.set(xlim=(0, 1.01), xlabel=AXIS + of, ylim=(-0.6, len(order) - 0.4))
    ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return figure


def distances(result: Result) -> Figure:
    """Draw a histogram of the results' distances to the clean query, by same and other category, with the threshold."""
    figure, axes = new_figure(WIDTH, 2.4)
    ax = axes[0, 0]
    values = np.concatenate(result.rows["distances"].to_numpy())
    pairs = zip(result.rows["result_categories"], result.rows["category"], strict=True)
    kind = np.concatenate([np.asarray(found) == asked for found, asked in pairs])
    edges = np.linspace(0, max(1.2, float(values.max())), 49)
    look: Any = {"stacked": True, "color": [MID, "#b0b0b0"], "edgecolor": "white", "lw": 0.4}
    ax.hist([values[kind], values[~kind]], bins=edges.tolist(), label=["same category", "another category"], **look)
    ax.axvline(result.spec.tau, color=INK, ls="--", label=f"threshold {result.spec.tau:g}")
    ax.set(xlabel="L2 distance of a result to the clean query", ylabel="results")
    ax.legend(frameon=False, fontsize=8)
    return figure


def operating_points(calibration: Calibration, tau: float) -> Figure:
    """Draw recall and FPR of each threshold on the left and the ROC on the right; crosses mark the held-out categories."""
    figure, axes = new_figure(WIDTH, 2.9, 1, 2)
    curve, check = calibration.curve, calibration.check
    left, right = axes[0]
    tails = curve.tau[(curve.recall > 0.001) & (curve.fpr < 0.999)]
    for values, style, name in ((curve.recall, "-", "same kind"), (curve.fpr, "--", "different kinds")):
        left.plot(curve.tau, values, style, color=INK, lw=1.4, label=name)
    if check is not None:
        some = np.searchsorted(check.tau, np.linspace(tails[0], tails[-1], 15)).clip(max=len(check.tau) - 1)
        for values in (check.recall, check.fpr):
            left.plot(check.tau[some], values[some], "x", color=MID, ms=4)
        right.plot(check.fpr[some], check.recall[some], "x", color=MID, ms=4, label="held-out categories")
    drawn = (("tau_fpr_1", "1%", PALE), ("tau_fpr_5", "5%", "0.72"), ("tau", f"{tau:g}", PALE))
    for at, (name, label, tint) in enumerate(drawn):
        interval = calibration.values.get(name, Interval(tau, np.nan, np.nan, "given", 0))
        if interval.bounded:
            left.axvspan(interval.low, interval.high, color=tint, alpha=0.6, lw=0)
        if not np.isnan(interval.point):
            left.axvline(interval.point, color=MID if name != "tau" else INK, lw=1, ls="-" if name != "tau" else ":")
            behind = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
            left.text(interval.point, 1.03 + 0.06 * at, label, fontsize=7, ha="center", bbox=behind)
    left.set(xlabel="threshold, L2 distance", ylabel="share of pairs accepted", ylim=(0, 1.2), xlim=(tails[0], tails[-1]))
    left.set_yticks(np.linspace(0, 1, 6))
    left.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(0, 1.1), ncols=2, borderaxespad=0)
    area = share(calibration.values["roc_auc"].point, ".3f")
    right.plot([0, *curve.fpr], [0, *curve.recall], color=INK, lw=1.4, label=f"calibration, AUC {area}")
    right.plot([0, 1], [0, 1], color="0.7", lw=0.8, ls=":")
    right.set(xlabel="different kinds accepted (FPR)", ylabel="same kind accepted (recall)", xlim=(0, 1), ylim=(0, 1.02))
    right.legend(frameon=False, fontsize=7, loc="lower right")
    return figure
