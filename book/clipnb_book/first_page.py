"""The first page of the book and the README: one photograph, and a sentence for each manipulation with the ledger's verdicts.

The entries of `claims.yml` that `PARTS` names are judged on the findings; where one says what the numbers do not, there
is no answer. An installed package carries the ledger, so that the first page says the same without the repository.
`python -m clipnb_book.first_page` (`make picture`) draws the README's picture and writes its sentences again.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipnb._core.files import write_text
from clipnb._core.paths import project_root
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, digest, read
from clipnb.encoders import OFFLINE
from clipnb.report.photos import show, show_result
from clipnb.report.plots import INK, MID, PALE, WIDTH, jitter, new_figure
from clipnb.result import Result
from clipnb.retrieval.image_paths import image_finder
from clipnb.runs import study_runs

from .claims import ledger
from .claims.evidence import from_findings
from .claims.ledger import Judgement
from .claims.tests import FAILS, HOLDS, UNDECIDED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {
    "Blurred": ("blur_costs_scenes", "blur_costs_figures"),
    "Cropped": ("crop_costs_scenes", "crop_costs_figures"),
    "Grey": ("grey_costs_scenes", "grey_costs_figures"),
}
"""Sentence -> the ledger entries in it."""

WORDS = {HOLDS: "a loss", FAILS: "no loss", UNDECIDED: "cannot tell"}
"""Verdict on "it costs accuracy" -> its wording."""

UNTOUCHED = "no change"
"""The wording where no category changed: the manipulation did nothing, and no test was made."""


def _part(judged: Judgement) -> str:
    word = UNTOUCHED if judged.unchanged else WORDS[judged.verdict]
    return f"{judged.text[0].lower()}{judged.text[1:].rstrip('.')}: **{word}**"


def answer(path: Path | None = None) -> str:
    """Three sentences as a Markdown list.

    Args:
        path: the ledger.

    Raises:
        LedgerError: the numbers give another verdict on an entry.
        UserError: the ledger lacks an entry, or has a mistake.
    """
    wanted = [entry for group in PARTS.values() for entry in group]
    claims = {claim.id: claim for claim in ledger.read(path)}
    judged = {
        j.claim.id: j for j in ledger.settle([claims[entry] for entry in wanted if entry in claims], {"findings": from_findings()})
    }
    return "\n".join(f"- **{name}**: " + "; ".join(_part(judged[e]) for e in group) + "." for name, group in PARTS.items())


def one_photograph(results: Sequence[Result], category: str, columns: int = 5) -> Figure:
    """Draw a photograph under each condition: the query, its nearest results, and the accuracy of its category.

    The photograph is the one with the median accuracy of its category in the clean run.

    Args:
        results: runs on one data set that differ only in the manipulation, the clean run first.
        category: category of the photograph.
        columns: number of results in a row.
    """
    dataset = load_dataset(results[0].spec.dataset)
    by_id = {photo.id: photo for photo in dataset.photos}
    own = results[0].rows[results[0].rows["category"] == category].sort_values(["valid", "image"], kind="stable")
    photo = by_id[f"{category}/{own.iloc[len(own) // 2]['image']}"]
    content = read(photo.path)
    image = decode(content, photo.id)
    where = image_finder(results[0].spec)
    widths = [1.0] * (columns + 1) + [0.8]
    figure, axes = new_figure(0.9 * WIDTH, 0.84 * len(results) + 0.2, len(results), columns + 2, width_ratios=widths)
    for line, result in zip(axes, results, strict=True):
        row = result.rows[(result.rows["category"] == category) & (result.rows["image"] == photo.path.name)].iloc[0]
        manipulation = result.spec.condition
        show(line[0], manipulation(image, result.spec.seed, digest(content)))
        line[0].set_ylabel(manipulation.label, fontsize=9)
        for ax, found, kind, distance in zip(line[1:-1], row["results"], row["result_categories"], row["distances"], strict=False):
            show_result(ax, where(found), kind, distance, result.spec.tau, expected=category)
        mean = result.category_means[category]
        line[-1].barh([0], [1], color="white", edgecolor=MID, height=0.35)
        line[-1].barh([0], [mean], color=PALE, edgecolor=MID, height=0.35)
        line[-1].text(0.5, 0, f"{mean:.0%}", ha="center", va="center", fontsize=9)
        scores = result.scores[category]
        line[-1].plot(scores, -0.42 + 1.2 * jitter(len(scores)), "o", color=INK, ms=2.2, alpha=0.5, mew=0, clip_on=False)
        line[-1].set(xlim=(0, 1), ylim=(-1, 1))
        line[-1].set_axis_off()
    axes[0, 0].set_title("asked", fontsize=8, loc="center")
    axes[0, -1].set_title("valid, over\nits category", fontsize=8, loc="center")
    return figure


def picture() -> Figure:
    """The figure of the first page: one photograph under each condition, with its results."""
    return one_photograph(study_runs("sample-figures", OFFLINE), "motorcycle")


def png(figure: Figure) -> bytes:
    """A figure as a PNG of 256 colours: a third of the bytes, without a visible loss."""
    from PIL import Image

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
