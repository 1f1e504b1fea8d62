"""The command that calibrates a threshold: threshold."""

from __future__ import annotations

import argparse
from pathlib import Path

from .flags import Command, add_settings, given_settings
from .statistics import write_tables


def _threshold_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", help="a folder of photographs, or a name in $CLIPNB_DATA")
    add_settings(parser, "encoder", "k", "tau", "seed", "precision", "engine")
    parser.add_argument("--wanted", type=float, default=0.9, metavar="P", help="precision wanted among accepted results (0.9)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write table (CSV, LaTeX, Markdown) and picture there")


def _threshold(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from .._core.text import word
    from ..analysis.calibration import calibration_of, threshold_frame
    from ..checks import not_used
    from ..datasets.card import card_of
    from ..datasets.dataset import load_dataset
    from ..report.coverage import COVERS
    from ..report.plots import operating_points
    from ..report.tables import printable
    from ..report.threshold_tables import threshold_answer
    from ..spec import RunSpec

    spec = RunSpec(options.dataset, **given_settings(options))
    calibration = calibration_of(spec, wanted=options.wanted)
    frame = threshold_frame(calibration, spec.tau)
    answer = threshold_answer(calibration, spec.tau).replace("**", "")
    print(f"{spec.dataset_name}, {spec.encoder}: {answer}" + f"\n{COVERS}" * ("; covers" in answer))
    card = card_of(options.dataset)
    if copies := card.copies:
        print(f"{copies} {'file equals' if copies == 1 else 'files equal'} an earlier one: pairs of equal files are left out.")
    if near := card.near_copies:
        counted = f"{near} pairs of near-copies are counted" if near > 1 else "One pair of near-copies is counted"
        print(f"{counted}; runs leave such pairs out. `clipnb card --files {word(spec.dataset)}` names them.")
    if said := not_used(spec.dataset, load_dataset(spec.dataset).other_files):
        print(said)
    print(printable(frame))
    if options.out:
        write_tables(options.out, {"threshold": frame}, {})
        operating_points(calibration, spec.tau).savefig(options.out / "threshold.png")
        print("wrote", shown(options.out / "threshold.png"))
    return 0


COMMANDS = (
    Command("threshold", "the threshold for photographs and an encoder, with its interval", _threshold_arguments, _threshold),
)
