"""The first page of the book and the README: one photograph, and a sentence for each manipulation with the ledger's verdicts.

The entries of `claims.yml` that `PARTS` names are judged on the findings; where one says what the numbers do not, there
is no answer. An installed package carries the ledger, so that the first page says the same without the repository.
`python -m clipnb_book.first_page` (`make picture`) draws the README's picture and writes its sentences again.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from clipnb._core.files import write_text
from clipnb._core.paths import project_root

from .claims.evidence import from_findings
from .claims.ledger import Judgement, read, settle
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
    claims = {claim.id: claim for claim in read(path)}
    judged = {j.claim.id: j for j in settle([claims[entry] for entry in wanted if entry in claims], {"findings": from_findings()})}
    return "\n".join(f"- **{name}**: " + "; ".join(_part(judged[e]) for e in group) + "." for name, group in PARTS.items())


def picture() -> Figure:
    """The figure of the first page: one photograph under each condition, with its results."""
    from clipnb.encoders import OFFLINE
    from clipnb.report.photos import one_photograph
    from clipnb.runs import study_runs

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
