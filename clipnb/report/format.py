"""Format numbers for text and tables, in the same way in the book and in notebooks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..stats.intervals import Interval
from .coverage import note

NB = "\u00a0"  # no-break space; it keeps an interval on one line
NB_HYPHEN = "\u2011"  # no-break hyphen; it keeps a name on one line
EXACT = 1e-9  # shares that differ by less are equal: rounding errors of sums are smaller

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def minus(value: float) -> str:
    """Format a number with a typographic minus."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: no negative zero


def share(value: float, spec: str = ".0%") -> str:
    """Format a share in [0, 1]; a share that is 0 or 1 only by rounding is "below" or "above" the nearest other value."""
    text, step = format(value, spec), 10.0 ** -(int(spec[1:-1]) + 2 * spec.endswith("%"))
    if text == format(0.0, spec) and value > EXACT:
        return f"below{NB}{step:{spec}}"
    if text == format(1.0, spec) and value < 1 - EXACT:
        return f"above{NB}{1 - step:{spec}}"
    return text


def p_value(p: float) -> str:
    """Format a p-value for text; NaN becomes "no p-value"."""
    if math.isnan(p):
        return "no p-value"
    if p < 1e-300:
        return f"p{NB}<{NB}10⁻³⁰⁰"
    if p >= 0.001:
        return f"p{NB}={NB}{p:.3f}"
    mantissa, exponent = f"{p:.1e}".split("e")
    return f"p{NB}={NB}{mantissa}·10⁻{str(abs(int(exponent))).translate(_SUPERSCRIPTS)}"


def p_short(p: float) -> str:
    """Format a p-value for a table; NaN becomes "none"."""
    if math.isnan(p):
        return "none"
    return f"{p:.3f}" if p >= 0.001 else f"<{NB}0.001"


def points(value: float) -> str:
    """Format a difference of shares in percentage points, with its sign."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def covers(interval: Interval) -> str:
    """What an interval covers in simulations, after its bounds, if that is little; else nothing."""
    return note(interval.method, interval.n, interval.level)


def percent(value: float) -> str:
    """Format a share in percent with one decimal."""
    return share(value, ".1%")


def span(interval: Interval, spelled: Callable[[float], str] = "{:.3f}".format) -> str:
    """Format the bounds of an interval, such as `percent` or `points`, or the reason for missing bounds."""
    if not interval.bounded:
        return f"none: {interval.why_unbounded}"
    return f"{spelled(interval.low)}{NB}to{NB}{spelled(interval.high)}{covers(interval)}"


def stated(interval: Interval, spelled: Callable[[float], str] = "{:.3f}".format) -> str:
    """An interval in a sentence, or the reason why there is none."""
    return f"95% interval {span(interval, spelled)}" if interval.bounded else f"no interval: {interval.why_unbounded}"


def over_categories(intervals: Iterable[Interval]) -> str:
    """What the intervals of a table are and cover, and why rows have none."""
    listed = list(intervals)
    why = ", ".join(dict.fromkeys(i.why_unbounded for i in listed if not i.bounded))
    if not any(i.bounded for i in listed):
        return f"no interval: {why}"
    rates = dict.fromkeys(covers(i).removeprefix("; covers ") for i in listed if i.bounded and covers(i))
    covered = f"; in simulations {' or '.join(rates)} of such intervals held the true value" if rates else ""
    return f"{listed[0].level:.0%} intervals over categories" + f" (some have none: {why})" * bool(why) + covered


def table(head: list[str], rows: list[list[str]], align: str) -> str:
    """Make a Markdown table; `align` has a letter, l or r, for each column."""
    rule = "|".join({"l": ":--", "r": "--:"}[letter] for letter in align)
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def captioned(caption: str, rows: str) -> str:
    """A Markdown table below its caption, a line that begins with `Table:`; the book gives such tables a number."""
    return f"Table: {caption}\n\n{rows}"
