"""The commands on breaking points: tolerance, leaderboard."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .flags import SEVERAL, Command, add_settings, given_settings

if TYPE_CHECKING:
    import pandas as pd

    from ..result import Result
    from ..spec import RunSpec

WIDTH = 0.1  # width of the bracket around a breaking point, as a share of the breaking point, at which `tolerance` stops by default


def _shared_arguments(parser: argparse.ArgumentParser, width: float) -> None:
    from ..analysis.tolerance import ANSWERS, FRACTION

    parser.add_argument("dataset", help="a folder of photographs, a sample set, or a name in $CLIPNB_DATA")
    add_settings(parser, "k", "seed", "precision", "engine", "draws", "categories", "per_category", "prompts", "colour")
    parser.add_argument("--manips", **SEVERAL, default=[], metavar="MANIP", help="(the study's and everyday edits)")
    what = "found: is the original the first result? p1, map: are results of its kind? zero_shot: is its category named? (found)"
    parser.add_argument("--measure", default="found", choices=ANSWERS, help=what)
    what = "share of the measure above chance whose loss counts as broken"
    parser.add_argument("--fraction", type=float, default=FRACTION, help=f"{what} ({FRACTION:g})")
    what = "stop where a breaking point is known to this share of its strength; 0: severities 1 to 5 alone"
    parser.add_argument("--width", type=float, default=width, help=f"{what} ({width:g})")
    parser.add_argument(
        "--format",
        default="table",
        choices=["table", "json", "csv"],
        help="what is printed (table); before and beyond: outside what was measured",
    )


def _tolerance_arguments(parser: argparse.ArgumentParser) -> None:
    _shared_arguments(parser, WIDTH)
    add_settings(parser, "encoder")
    parser.add_argument("--out", type=Path, metavar="FOLDER", default=Path("tolerance"), help="for JSON and figure (tolerance)")


def _tolerance(options: argparse.Namespace) -> int:
    from .._core.files import write_text
    from .._core.paths import shown
    from ..analysis.tolerance import graded, measured, tolerance_frame
    from ..checks import left_out
    from ..report.tolerance import broken_means, curves, lines
    from ..spec import RunSpec

    _check(options)
    manips, clean = graded(options.manips), RunSpec(options.dataset, **given_settings(options))
    with _counted([clean], options.measure) as make:
        found = [
            measured(clean, manip, options.measure, options.fraction, options.width or math.inf, make=make) for manip in manips
        ]
        result = make(clean)
    for said in left_out([result]):
        print(f"clipnb: {said}", file=sys.stderr)
    frame = tolerance_frame(found)
    if not _printed(frame, options.format):
        print(f"{clean.dataset_name}, {clean.encoder}: {broken_means(found)} at")
        print("\n".join(lines(found)))
    name = f"{clean.group_id}-{options.measure}" + f"-{options.fraction:g}" * (options.fraction != 0.5)
    name += f"-draws{clean.draws}" * (clean.draws > 1) + "".join(f"-{manip}" for manip in manips) * bool(options.manips)
    write_text(options.out / f"{name}.json", _json(frame) + "\n")
    curves([found]).savefig(options.out / f"{name}.png")
    print(f"wrote {shown(options.out / name)}.json and .png", file=sys.stderr)
    return 0


def _leaderboard_arguments(parser: argparse.ArgumentParser) -> None:
    _shared_arguments(parser, 0.0)
    parser.add_argument("--encoders", **SEVERAL, required=True, metavar="ENCODER", help="names of encoders")


def _leaderboard(options: argparse.Namespace) -> int:
    from ..analysis.leaderboard import leaderboard
    from ..analysis.tolerance import graded
    from ..checks import not_used
    from ..datasets.dataset import load_dataset
    from ..report.tolerance import broken_means, leaderboard_lines
    from ..spec import RunSpec

    _check(options)
    manips, settings = graded(options.manips), given_settings(options)
    clean = {name: RunSpec(options.dataset, encoder=name, **settings) for name in options.encoders}
    with _counted(clean.values(), options.measure) as make:
        asked: Any = {"width": options.width or math.inf, "make": make, **settings}
        frame, points = leaderboard(options.dataset, list(clean), manips, options.measure, options.fraction, **asked)
    if said := not_used(options.dataset, load_dataset(options.dataset).other_files):
        print(f"clipnb: {said}", file=sys.stderr)
    if not _printed(frame, options.format):
        print("\n".join(leaderboard_lines(frame, points)))
        if not options.width:
            print(f"breaking points lie between the severities 1 to 5; --width {WIDTH:g} measures finer, as clipnb tolerance does")
        broken = broken_means([t for own in points.values() for t in own.values()])
        print(f"an edit breaks where {broken}; 95% intervals over categories")
    return 0


def _check(options: argparse.Namespace) -> None:
    if not 0 < options.fraction < 1:
        raise UserError(f"--fraction must be between 0 and 1, not {options.fraction:g}")
    if options.width < 0:
        raise UserError(f"--width must be 0 or more, not {options.width:g}")


@contextmanager
def _counted(first: Iterable[RunSpec], measure: str) -> Iterator[Callable[[RunSpec], Result]]:
    """`saved_or_new` with a progress bar on the terminal's error output; mistakes in the first runs are found before any run."""
    from tqdm import tqdm

    from .._core.progress import ticking
    from ..analysis.tolerance import require_measure
    from ..possible import require_possible
    from ..runs import saved_or_new

    for spec in first:
        require_possible(spec)
        require_measure(spec, measure)
    with tqdm(desc="runs", unit="run") as bar, ticking(bar):

        def make(spec: RunSpec) -> Result:
            bar.set_postfix_str(f"{spec.encoder} {spec.condition}")
            result = saved_or_new(spec)
            bar.update()
            return result

        yield make


def _printed(frame: pd.DataFrame, kind: str) -> bool:
    """Print a frame as JSON or CSV; False if neither is asked for."""
    if kind == "json":
        print(_json(frame))
    elif kind == "csv":
        from ..report.tables import csv

        print(csv(frame.map(lambda v: "; ".join(f"{x:g}" for x in v) if isinstance(v, list) else _plain(v))), end="")
    return kind != "table"


def _plain(value: Any) -> Any:
    """A value for JSON, which has no infinity: "before" and "beyond" stand for -inf and inf, None for a missing value."""
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "beyond" if value > 0 else "before"
    return value


def _json(frame: pd.DataFrame) -> str:
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in frame.to_dict("records")]
    return json.dumps(rows, indent=1, ensure_ascii=False)


COMMANDS = (
    Command("tolerance", "how far each edit can go before photographs are no longer found", _tolerance_arguments, _tolerance),
    Command("leaderboard", "encoders side by side: clean retrieval, breaking points, speed", _leaderboard_arguments, _leaderboard),
)
