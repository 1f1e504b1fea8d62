"""Pictures of manipulations by severity: a grid for a page, and the static files of the slider.

One sample photograph is shown, the first page's, whose licence allows it. `book/_static/slider.js` shows what `write` writes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from clipnb import manipulations
from clipnb._core.files import write_text
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import RGB, decode, digest, read
from clipnb.manipulations import MANIPULATIONS, SEVERITIES, STUDY, Condition
from clipnb.manipulations.imagenet_c import CORRUPTIONS
from clipnb.report.photos import show
from clipnb.report.plots import WIDTH, new_figure

if TYPE_CHECKING:
    from IPython.display import Image as IPythonImage
    from matplotlib.figure import Figure

DATASET, PHOTOGRAPH = "sample-figures", "motorcycle/002.jpg"

GRADED = tuple(name for name in STUDY if MANIPULATIONS[name].parameter.levels)
"""The study's manipulations that have severities."""

EVERYDAY = tuple(name for name in manipulations.EVERYDAY if MANIPULATIONS[name].parameter.levels)

KEPT = Path(__file__).parent / "data" / "corruptions.jpg"

SIDE, QUALITY = 320, 82
"""Longest side in pixels and JPEG quality of a picture of the slider."""


def photograph() -> tuple[RGB, str]:
    """The photograph, and its digest, which seeds the random manipulations."""
    (found,) = (photo for photo in load_dataset(DATASET).photos if photo.id == PHOTOGRAPH)
    content = read(found.path)
    return decode(content, found.id), digest(content)


def grid(manips: Sequence[str] = GRADED, severities: Sequence[int] = tuple(SEVERITIES), blocks: int = 1) -> Figure:
    """One row per manipulation, one column per severity, the unedited photograph (0) first; the value is above each picture.

    Args:
        manips: names of manipulations that have severities.
        severities: those shown, beside 0.
        blocks: manipulations side by side in a row; with more than one, the unedited photograph is left out.

    Raises:
        UserError: a manipulation needs a package that is not installed; the message says which.
    """
    image, seed = photograph()
    shown = [*([0] if blocks == 1 else []), *severities]
    rows = -(-len(manips) // blocks)
    figure, axes = new_figure(WIDTH, 0.92 * rows + 0.1, rows, len(shown) * blocks)
    for at in range(rows * blocks):
        line = axes[at // blocks, at % blocks * len(shown) :][: len(shown)]
        if at >= len(manips):
            for ax in line:
                ax.set_axis_off()
            continue
        manipulation = MANIPULATIONS[manips[at]]
        for ax, severity in zip(line, shown, strict=True):
            value = (
                f"{severity}"
                if manipulation.name in CORRUPTIONS
                else f"{severity}: {manipulation.parameter.levels[severity - 1]:g}"
            )
            picture = Condition(manipulation.name, severity)(image, 0, seed) if severity else image
            show(ax, picture, value if severity else "0: as it is")
        line[0].set_ylabel(manipulation.label.replace(" ", "\n"), fontsize=8)
    return figure


def corruptions() -> Figure:
    """The grid of ImageNet-C's corruptions.

    Raises:
        MissingExtra: their package is not installed.
    """
    return grid(tuple(CORRUPTIONS), (1, 3, 5), blocks=2)


def kept_corruptions() -> IPythonImage:
    """The committed grid of corruptions, for which the book needs no package. `python -m clipnb_book.slider` draws it again."""
    from IPython.display import Image as IPythonImage

    return IPythonImage(data=KEPT.read_bytes(), format="jpeg")


def jpeg(figure: Figure) -> bytes:
    """A figure of photographs as a JPEG."""
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn)
    with Image.open(drawn) as image:
        image.convert("RGB").save(small, "JPEG", quality=QUALITY, subsampling=0, optimize=True, dpi=(144, 144))
    return small.getvalue()


def write(folder: Path) -> None:
    """Write the slider's pictures and `data.js`, an assignment to `SLIDER`; the same photograph gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    image, seed = photograph()
    shown = []
    for name in (*GRADED, *EVERYDAY):
        manipulation, pictures = MANIPULATIONS[name], []
        for severity in (0, *SEVERITIES):
            made = Image.fromarray(Condition(manipulation.name, severity)(image, 0, seed) if severity else image)
            made.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
            file = f"{name}-{severity}.jpg" if severity else "as-it-is.jpg"
            made.save(folder / file, quality=QUALITY)
            said = (
                f"{manipulation.parameter.name}: {manipulation.parameter.levels[severity - 1]:g}"
                if severity
                else "the photograph as it is"
            )
            pictures.append([file, said, *made.size])
        shown.append({"name": name, "label": manipulation.label, "pictures": pictures})
    write_text(folder / "data.js", f"const SLIDER = {json.dumps(shown, separators=(',', ':'), ensure_ascii=False)};\n")


if __name__ == "__main__":
    KEPT.write_bytes(jpeg(corruptions()))
