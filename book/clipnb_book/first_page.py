"""The first page of the book and the README: how far, in a sentence for each edit, and the figure of the curves.

Sentences and curves come from the breaking points of real photographs, as committed with the project, so that an
installed package says the same without the repository. `python -m clipnb_book.first_page` (`make picture`) draws the
README's picture and writes its sentences again.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from clipnb._core.files import write_text
from clipnb._core.paths import project_root
from clipnb.analysis.tolerance import Tolerance
from clipnb.datasets.samples import SAMPLES
from clipnb.encoders import OFFLINE
from clipnb.manipulations import MANIPULATIONS, Condition
from clipnb.metrics.measures import MEASURES
from clipnb.report.plots import INK, MID, WIDTH, new_figure
from clipnb.report.tolerance import in_words, interval_in_words

from . import slider
from .measured import records
from .measured.findings import FIGURES, SCENES
from .severities import from_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETS = {SCENES: "scenes", FIGURES: "people"}
"""Data set -> what its photographs show."""

EDITS = ("blurred", "cropped", "grey")


def breaking_points(measure: str) -> dict[str, dict[str, Tolerance]]:
    """Edit -> data set -> breaking point, of the encoder that works offline."""
    table, _ = records.severities()
    found = {name: {t.manip: t for t in from_table(table, name, OFFLINE, measure)} for name in SETS}
    return {edit: {name: found[name][edit] for name in SETS} for edit in EDITS}


def _part(t: Tolerance, who: str, before: Tolerance | None = None) -> str:
    """How far an edit can go on one data set, without repeating words of `before`, the data set named before it."""
    kind, point = MANIPULATIONS[t.manip].parameter, t.point.strength
    if t.point.reached:
        interval = f" ({interval_in_words(t)})" if t.point.bounded else ""
        if before and before.point.reached:
            return f"**{kind.text(point)}**{interval} for {who}"
        return f"half of the originals are lost at **{kind.in_words(point)}**{interval} for {who}"
    at = -1 if point == math.inf else 0
    found = "are still found at the strongest setting," if point == math.inf else "are found at the weakest setting,"
    again = before and before.point.strength == point and before.strengths[at] == t.strengths[at]
    return f"**{t.means[at]:.0%}**{'' if again else f' of the originals {found} {kind.in_words(t.strengths[at])},'} for {who}"


def own_data_sets() -> str:
    """Links to the pages of the data sets in this project that are not samples; "" without one."""
    pages = sorted(path.stem for path in (project_root() / "book" / "datasets").glob("*.ipynb"))
    links = [f"{{doc}}`{name} <datasets/{name}>`" for name in pages if not name.startswith(tuple(SAMPLES))]
    return f"**Your photographs**: {', '.join(links)}." if links else ""


def measured_on() -> str:
    """The photographs behind the answer, in words: `2,000 photographs of scenes (100 kinds) and 350 photographs of 5 people`."""
    _, sources = records.severities()
    scenes, people = (sources[f"{name}, {OFFLINE}"] for name in (SCENES, FIGURES))
    return (
        f"{scenes['images']:,} photographs of scenes ({scenes['categories']} kinds) and {people['images']:,} photographs of "
        f"{people['categories']} people"
    )


def answer() -> str:
    """How far each edit can go before the original is no longer found first: a Markdown list, 95% intervals in brackets."""
    lines = []
    for edit, sets in breaking_points("found").items():
        before: Tolerance | None = None
        parts = []
        for name, t in sets.items():
            parts.append(_part(t, SETS[name], before))
            before = t
        lines.append(f"- **{MANIPULATIONS[edit].label.capitalize()}**: {' and '.join(parts)}.")
    return "\n".join([*lines, f"- **Same kind**: {_kind()}"])


def _kind() -> str:
    """P@1 of unedited photographs, its level by chance, and the strength at which each edit takes it halfway to chance."""
    found = breaking_points("p1")
    clean = " and ".join(
        f"**{t.point.clean:.0%}** for {SETS[name]} (chance: {t.chance:.0%})" for name, t in found[EDITS[0]].items()
    )
    halfway = []
    for edit, (scenes, people) in ((edit, sets.values()) for edit, sets in found.items()):
        kind = MANIPULATIONS[edit]
        if scenes.point.reached and people.point.reached:
            halfway.append(f"{in_words(scenes)} and {kind.parameter.text(people.point.strength)}")
        else:
            halfway.append(f"not reached by {kind.label}")
    return f"the first other result is of the same kind: {clean}. Halfway to chance: {'; '.join(halfway)}."


def picture() -> Figure:
    """The figure of the first page: a photograph at each strength, and below it the measures, with breaking points marked."""
    found = {measure: breaking_points(measure) for measure in ("found", "p1")}
    figure, axes = new_figure(WIDTH, 4.4, 3, len(EDITS), sharex="col", height_ratios=[0.5, 1, 1])
    for column, edit in zip(axes.T, EDITS, strict=True):
        kind, shown = MANIPULATIONS[edit].parameter, strengths(list(found["found"][edit].values()))
        _strip(column[0], edit, shown)
        for ax, (measure, points) in zip(column[1:], found.items(), strict=True):
            for line, (name, t) in enumerate(points[edit].items()):
                _line(ax, t, shown, SETS[name], line)
            ax.set(ylim=(0, 1.05), xlim=(-0.5, len(shown) + 0.5))
            ax.set_yticks([0, 0.5, 1], ["0", "50%", "100%"] if edit == EDITS[0] else [])
            if edit == EDITS[0]:
                ax.set_ylabel(MEASURES[measure].label, fontsize=8)
        column[-1].set_xticks(range(len(shown) + 1), ["as\nit is", *map(kind.text, shown)], fontsize=7 if len(shown) < 7 else 5.5)
        column[-1].set_xlabel(kind.around("…"), fontsize=8)
    axes[1, 0].legend(frameon=False, fontsize=8, loc="lower left")
    return figure


def strengths(found: Sequence[Tolerance]) -> list[float]:
    """The severities of an edit, and the strengths beyond them that all data sets have."""
    levels = MANIPULATIONS[found[0].manip].parameter.levels
    beyond = [v for v in found[0].strengths if (v - levels[-1]) * (levels[-1] - levels[0]) > 0]
    return [*levels, *(v for v in beyond if all(v in t.strengths for t in found))]


def _strip(ax: Axes, edit: str, shown: Sequence[float]) -> None:
    """The photograph of the slider, as it is and at each strength, above the points of the curves."""
    image, seed = slider.photograph()
    for at, value in enumerate((0.0, *shown)):
        made = Image.fromarray(Condition(edit, strength=value)(image, 0, seed) if value else image)
        square = ImageOps.fit(made, (120, 120), Image.Resampling.LANCZOS)
        ax.imshow(square, extent=(at - 0.46, at + 0.46, -0.46, 0.46), aspect="equal")
    ax.set(xlim=(-0.5, len(shown) + 0.5), ylim=(-0.46, 0.46))
    ax.set_title(MANIPULATIONS[edit].label, fontsize=9, loc="left")
    ax.set_axis_off()


def _line(ax: Axes, t: Tolerance, shown: Sequence[float], name: str, line: int) -> None:
    colour, marker, style = ((INK, "o", "-"), (MID, "s", "--"))[line]
    fill: Any = "white" if line else colour
    heights = [t.point.clean, *map(t.at, shown)]
    ax.plot(range(len(heights)), heights, marker=marker, ls=style, color=colour, mfc=fill, ms=4, lw=1.3, label=name)
    ax.axhline(t.chance, color=colour, lw=0.7, ls=":")
    if t.point.reached:
        rising = 1 if shown[0] < shown[-1] else -1
        at = np.interp(rising * t.point.strength, rising * np.array(shown), range(1, len(heights)))
        ax.plot(at, t.point.target, "X", color=colour, mec="white", ms=9, zorder=4)


def png(figure: Figure) -> bytes:
    """A figure as a PNG of 256 colours: a third of the bytes, without a visible loss."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT).save(small, "PNG", optimize=True)
    return small.getvalue()


def write_readme(path: Path) -> None:
    """Write the answer between its marks in the README."""
    before, mark, rest = path.read_text(encoding="utf-8").partition("<!-- answer -->\n")
    _, end, after = rest.partition("\n<!-- /answer -->")
    write_text(path, before + mark + answer() + end + after)


if __name__ == "__main__":
    (project_root() / "book" / "question.png").write_bytes(png(picture()))
    write_readme(project_root() / "README.md")
