"""Data cards in words, tables and plots."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .._core.text import literal, plain
from ..checks import SUBFOLDERS
from ..datasets.card import Card
from ..datasets.dataset import UNREAD
from ..datasets.listing import DEEPER
from ..datasets.picture_hash import BITS, NEAR
from .format import percent, share, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def shapes(card: Card) -> Figure:
    """Draw histograms of the photographs' short sides and aspect ratios, one panel for each entry of `card.bins`."""
    from .plots import MID, PALE, WIDTH, new_figure

    figure, axes = new_figure(WIDTH, 1.9, 1, len(card.bins))
    for ax, (what, (edges, counts)) in zip(axes[0], card.bins.items(), strict=True):
        ax.stairs(counts, edges, fill=True, facecolor=PALE, edgecolor=MID)
        ax.set(xlabel=what, ylabel="photographs")
        ax.yaxis.get_major_locator().set_params(integer=True)
    return figure


def card_table(card: Card) -> str:
    """One card as a Markdown table."""

    def spread(values: list[float], digits: int = 0) -> str:
        low, middle, high = (f"{v:.{digits}f}" for v in values)
        return low if low == high else f"{middle} ({low} to {high})"

    unused = Counter(card.unused.values())
    rows = [
        ["photographs", f"{card.photographs:,}"],
        ["categories", "none" if card.flat else f"{card.categories}"],
        *([] if card.flat else [["photographs per category, median (range)", spread(card.per_category)]]),
        ["width in pixels, median (range)", spread(card.width)],
        ["height in pixels, median (range)", spread(card.height)],
        ["width / height, median (range)", spread(card.aspect, 2)],
        ["square photographs", share(card.square)],
        ["photographs without colour", percent(card.grey)],
        ["formats", ", ".join(f"{suffix} {count:,}" for suffix, count in card.formats.items())],
        ["files with the content of another file", f"{card.copies}"],
        [f"pairs of near-copies (at most {NEAR} of {BITS} bits)", f"{card.near_copies}"],
        ["photographs with a copy or near-copy", f"{card.near_photographs} ({percent(card.near_photographs / card.photographs)})"],
        *([] if card.flat else [["such pairs across categories", f"{card.across}"]]),
        ["unreadable files", f"{len(card.unreadable)}"],
        ["files that are not used", ", ".join(f"{count:,} {literal(reason)}" for reason, count in unused.most_common()) or "0"],
        ["fingerprint of names and contents", f"`{card.fingerprint[:16]}`"],
    ]
    return table([literal(card.name), ""], rows, "lr")


def files_left_out(card: Card) -> list[str]:
    """A line for each file that is not used or cannot be read, with the reason."""

    def reason(name: str, why: str) -> str:
        file = name.rpartition("/")[2]
        return why.removeprefix(f"{name}: ").removeprefix(f"{file}: ").removeprefix(f"{file} ")

    unreadable = [f"{name}: unreadable ({reason(name, why)})" for name, why in card.unreadable.items()]
    return sorted(map(plain, [*unreadable, *(f"{name}: not used ({why})" for name, why in card.unused.items())]))


def copies_named(card: Card) -> list[str]:
    """A line for each file that equals an earlier one (=) or is a near-copy of it (~), and the number of those without a line."""
    more = card.copies + card.near_copies - len(card.examples)
    return [plain(" ".join(pair)) for pair in card.examples] + [f"and {more} more"] * (more > 0)


def card_warnings(card: Card) -> list[str]:
    """Sentences, without their full stops, on what a card means for runs on the data set."""
    said = []
    if card.flat:
        said.append("there are no category folders: a run measures whether the original is found, not whether its kind is")
    if card.empty:
        said.append(f"no photograph is in {', '.join(map(literal, card.empty))}")
    if DEEPER in card.unused.values():
        said.append(SUBFOLDERS)
    if UNREAD.intersection(card.unused.values()):
        said.append("photographs in unsupported formats are left out: convert them to JPEG")
    if card.square >= 0.25:
        said.append(
            f"{share(card.square)} of the photographs are square: the study's crop (`cropped`, severity 0) does not change them"
        )
    if card.grey >= 0.05:
        said.append(f"{share(card.grey)} of the photographs have no colour: `grey` does not change them")
    if card.near_photographs >= 0.02 * card.photographs:
        said.append(
            f"{share(card.near_photographs / card.photographs)} of the photographs have a copy or near-copy in the set: "
            "a run with `duplicates` below 0 may find it instead of a different photograph"
        )
    if card.across:
        lie = "pair of copies or near-copies lies" if card.across == 1 else "pairs of copies or near-copies lie"
        said.append(f"{card.across} {lie} in different categories: their labels contradict each other")
    return said
