"""Series of a chart are told apart without colour: by marker, line, hatching or lightness."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.container import Container, ErrorbarContainer
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

import clipnb
from clipnb.report import plots
from clipnb_book import corrections, scale
from clipnb_book import plots as book_plots
from clipnb_book import severities as book_severities
from clipnb_book.claims import evidence
from clipnb_book.measured import records

APART = 0.18
"""Least difference of lightness, of 1, that a print shows."""


def lightness(colour: Any) -> float:
    """Of a colour on white paper, in [0, 1]."""
    r, g, b, a = to_rgba(colour)
    return a * (0.299 * r + 0.587 * g + 0.114 * b) + 1 - a


def looks(handle: Any) -> tuple[tuple[str, ...], float]:
    """What is drawn of a series besides its colour, and its lightness."""
    if isinstance(handle, ErrorbarContainer):
        handle = handle.lines[0]
    if isinstance(handle, Container):
        handle = handle[0]
    if isinstance(handle, Line2D):
        marked = handle.get_marker() not in ("None", None, "")
        shade = handle.get_markerfacecolor() if marked else handle.get_color()
        return (str(handle.get_marker()), str(handle.get_linestyle()), f"{handle.get_linewidth():.1f}"), lightness(shade)
    shades = [c for c in (handle.get_facecolor(), handle.get_edgecolor()) if len(c)]
    return (type(handle).__name__, str(handle.get_hatch())), lightness(to_rgba_array(shades[0])[0])


def series(figure: Any) -> list[list[Any]]:
    """Handles of the series of each panel, where there are several."""
    found = [ax.get_legend_handles_labels()[0] for ax in figure.axes]
    found += [legend.legend_handles for legend in figure.findobj(Legend) if legend.axes and not any(found)]
    return [handles for handles in found if len(handles) > 1]


def severities() -> Any:
    table, _ = records.severities()
    return book_severities.curves(table, "map")


def calibrated() -> Any:
    from clipnb.analysis import calibration

    found = calibration.calibration_of(clipnb.RunSpec("sample-scenes", encoder="histogram"), progress=False)
    return plots.operating_points(found, 0.8)


def corrected() -> Any:
    frames, _ = corrections.measured("sample-figures", "histogram")
    return corrections.figure({"sample-figures": frames})


def ran() -> Any:
    return clipnb.run(clipnb.RunSpec("sample-figures", "grey", "histogram"), progress=False)


CHARTS: dict[str, Callable[[], Any]] = {
    "printed means": lambda: book_plots.means(evidence.all_printed()),
    "severities": severities,
    "scale": scale.figure,
    "operating points": calibrated,
    "interactions": lambda: book_plots.interactions(evidence.findings_crossed("histogram")),
    "corrections": corrected,
    "distances": lambda: plots.distances(ran()),
    "accounts": lambda: book_plots.accounts(clipnb.study_runs("sample-scenes", "histogram")),
}


@pytest.mark.parametrize("chart", CHARTS)
def test_series_are_distinguishable_in_grey(chart: str) -> None:
    panels = series(CHARTS[chart]())
    assert panels
    for handles in panels:
        for a, b in itertools.combinations(handles, 2):
            (drawn, light), (other, lighter) = looks(a), looks(b)
            assert drawn != other or abs(light - lighter) >= APART, (chart, a.get_label(), b.get_label())
