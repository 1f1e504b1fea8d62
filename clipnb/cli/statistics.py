"""The commands on finished runs and on logs: compare, analyse, export."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .flags import SEVERAL, Command, add_settings, given_settings

if TYPE_CHECKING:
    import pandas as pd

    from ..analysis.contrasts import Contrast
    from ..analysis.scores import Scores
    from ..result import Result

SHORT = ["dataset", "before", "after", "categories", "images", "change", "low", "high", "p", "p_holm", "verdict", "rank_biserial"]
CROSSED = ["role", "condition", "categories", "change_first", "change_second", "difference", "low", "high", "p_holm", "verdict"]


def _compare_arguments(parser: argparse.ArgumentParser) -> None:
    from ..metrics.measures import MEASURES

    parser.add_argument("a", help="a run (its id or folder), an encoder with runs, or a log clip_output_<dataset>_<manip>.json")
    parser.add_argument("b", help="the run, encoder or log to compare with A; changes are B minus A")
    parser.add_argument(
        "--measure",
        default="",
        help=f"one of {', '.join(MEASURES)} (found, p1 and valid; between encoders found, p1 and map, where both have values)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write table (CSV, LaTeX, Markdown) and picture there")


def _compare(options: argparse.Namespace) -> int:
    import pandas as pd

    from ..analysis.compare import apart, compare, compared_runs, measures
    from ..analysis.contrasts import contrasts_frame
    from ..analysis.families import EXPLORATORY, remarks, too_few
    from ..checks import left_out
    from ..report.format import over_categories
    from ..report.tables import printable

    frames, families = [], {}
    for measure in [options.measure] if options.measure else measures(options.a, options.b):
        family = families[measure] = compare(options.a, options.b, measure)
        frames.append(contrasts_frame(family).assign(measure=measure))
        found = over_categories(c.interval for c in family)
        print(f"{measure}: {options.b} minus {options.a}, paired by {family[0].paired_by}; {found}")
        print(printable(frames[-1], [c for c in SHORT if len(family) > 1 or c != "p_holm"]))
        if len(family) > 1:
            print(f"exploratory: p_holm is adjusted over these {len(family)} comparisons")
        for said in (*too_few(frames[-1].assign(role=EXPLORATORY)), *remarks(family)):
            print(said)
    for said in left_out(compared_runs(options.a, options.b)):
        print(f"clipnb: {said}", file=sys.stderr)
    if differ := apart(options.a, options.b):
        print(f"the settings differ: {differ}" + '; "this threshold" of a verdict is the first' * ("tau " in differ))
    if options.out:
        write_tables(options.out, {"compare": pd.concat(frames, ignore_index=True)}, families)
    return 0


def _analyse_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", nargs="+", help="logs, folders of logs, data sets with saved runs, or runs (clipnb runs)")
    from ..spec import FLAGS

    add_settings(parser, *(name for name in FLAGS if name not in ("device", "draws")), note="; of the saved runs")
    what = "measure of the saved runs (found, or valid if a run has no value of found); a log has only valid"
    parser.add_argument("--measure", default="", help=what)
    parser.add_argument("--clean", default="original", help="name of the condition without manipulation")
    what = "the one planned condition, such as blurred/3; others are exploratory (without it, those at a fixed setting are planned)"
    parser.add_argument("--primary", default="", metavar="CONDITION", help=what)
    parser.add_argument("--margin", type=float, metavar="M", help="also test that changes lie within ±M of the measure")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write tables (CSV, LaTeX, Markdown) and picture there")


def _analyse(options: argparse.Namespace) -> int:
    from .._core.registry import nearest
    from ..analysis.contrasts import contrasts, contrasts_frame, interaction_contrasts, interactions_frame
    from ..analysis.families import EXPLORATORY, PLANNED, equivalence_frame, remarks, too_few, unscored, with_roles, without_draws
    from ..analysis.scores import comparable_with_clean, named_by_group, not_comparable, of_other_photographs, of_result, spelled
    from ..analysis.sensitivity import draws_frame
    from ..checks import left_out
    from ..manipulations import condition
    from ..metrics.measures import MEASURES
    from ..report.format import over_categories
    from ..report.tables import conditions_frame, printable

    logs, results = _logs_and_runs(options.what, given_settings(options))
    without = [r.spec.run_id for r in results if not r.scored("found")]
    measure = MEASURES.canonical(options.measure or ("valid" if logs or without else "found"))
    if not options.measure and not logs and 0 < len(without) < len(results):
        what = "has" if len(without) == 1 else "have"
        said = f"{', '.join(without)} {what} no value of found: valid for all (--measure found leaves them out)"
        print(f"clipnb: {said}", file=sys.stderr)
    if logs and measure != "valid":
        raise UserError(f"a log has valid@k but not {measure!r}")
    if ignored := "" if results else ", ".join(f"--{name.replace('_', '-')}" for name in given_settings(options)):
        print(f"clipnb: {ignored} ignored: settings choose among saved runs, not logs", file=sys.stderr)
    low, high = MEASURES[measure].range
    if options.margin is not None and not options.margin > 0:
        raise UserError(f"--margin must be above 0, not {options.margin:g}")
    if (options.margin or 0) >= high - low:
        raise UserError(f"--margin {options.margin:g} allows every change: {measure} is from {low:g} to {high:g} (5 points: 0.05)")
    read = named_by_group([*(s for s in logs if s.scored), *(of_result(r, measure) for r in _scored(results, measure))])
    if empty := [s for s in logs if not s.scored]:
        said = f"{', '.join(s.source for s in empty)}: no image has a score"
        if not read:
            raise UserError(said)
        print(f"clipnb: {said}: left out", file=sys.stderr)
    for s in read:
        if s.condition == options.clean and s.floor:
            print(f"{s.dataset}: {s.floor.replace('`', '')}")
    scores = comparable_with_clean(read, options.clean)
    for name in dict.fromkeys(s.dataset for s in read):
        if others := [s.source for s in read if s.dataset == name and s not in scores]:
            print(f"clipnb: {not_comparable(others)}", file=sys.stderr)
    kept = {s.source for s in scores}
    results = [r for r in results if r.spec.run_id in kept]
    for said in (*left_out(results), *of_other_photographs(scores)):
        print(f"clipnb: {said}", file=sys.stderr)
    graded = {s.condition for s in scores if s.graded}
    family, pairs = contrasts(scores, options.clean), []
    have, primary = dict.fromkeys(c.after for c in family), spelled(options.primary)
    if primary not in have:
        with suppress(UserError):  # no condition
            primary = str(condition(primary))
    if primary not in {"", *have, *map(without_draws, have)}:
        choice = nearest(primary, have) or f"; choose from {', '.join(have) or 'none'}"
        raise UserError(f"--primary {options.primary!r} is not a condition of a change{choice}")
    tables = {"conditions": conditions_frame(scores)}
    print(f"{measure}: mean over categories")
    print(printable(tables["conditions"]))
    for said in unscored(scores):
        print(said)
    for name in dict.fromkeys(s.dataset for s in scores):
        if options.clean not in (conditions := {s.condition for s in scores if s.dataset == name}):
            what = nearest(options.clean, conditions) or " (a run: -p manip original; of another name: --clean)"
            print(f"{name}: no change is computed, because there is no condition {options.clean!r}{what}")
    if family:
        tables["contrasts"] = with_roles(family, contrasts_frame, primary, graded)
        found = over_categories(c.interval for c in family)
        print(f"\nChange from {options.clean!r}: sign-flip p, Holm within each role; {found}")
        print(printable(tables["contrasts"], ["role", *SHORT]))
        if PLANNED in tables["contrasts"]["role"].values:
            print("planned: conditions at a fixed setting; --primary CONDITION plans one condition in their place")
        if results and EXPLORATORY in tables["contrasts"]["role"].values:
            print("exploratory: all other conditions with runs, also those of clipnb tolerance; p_holm is adjusted over them")
        for said in (*too_few(tables["contrasts"]), *remarks(family)):
            print(said)
    sets = list(dict.fromkeys(c.dataset for c in family))
    groups = {s.group for s in scores}  # `named_by_group` names the parts of one data set by group: they are not independent
    if len(sets) == 2 and not groups & set(sets):
        pairs = interaction_contrasts(*([c for c in family if c.dataset == name] for name in sets))
        if pairs:
            tables["interactions"] = with_roles(pairs, interactions_frame, primary, graded)
            found = over_categories(x.test.difference for x in pairs)
            print(f"\nInteraction: change on {sets[0]} minus change on {sets[1]}, Welch; Holm within each role; {found}")
            print(printable(tables["interactions"], CROSSED))
    if options.margin is not None:
        tables["equivalence"] = equivalence_frame(family, pairs, options.margin)
        print(f"\nWithin ±{options.margin:g}: two one-sided t tests (TOST), 90% interval; p is not adjusted")
        print(printable(tables["equivalence"]))
    if not (drawn := draws_frame(results, measure)).empty:
        tables["draws"] = drawn
        nested = "; nested: interval over categories, images and draws" * bool(drawn["nested_low"].notna().any())
        print(f"\nSeveral draws: lowest and highest change of a single draw{nested}")
        print(printable(drawn.dropna(axis="columns", how="all")))
    if options.out:
        write_tables(options.out, tables, {measure: family} if family else {})
    return 0


def _scored(results: Sequence[Result], measure: str) -> list[Result]:
    """The runs with a value of a measure. The others are named with the measures that they have; a `UserError` if none is left."""
    from ..metrics.measures import HEADLINES

    kept = [r for r in results if r.scored(measure)]
    if without := [r for r in results if not r.scored(measure)]:
        if not kept:
            without[0].column(measure)  # says why it has none, if that is known
        have = [name for name in HEADLINES if all(r.scored(name) for r in without)]
        what = "has" if len(without) == 1 else "have"
        choice = f" (choose --measure from {', '.join(have)})" if have else ""
        said = f"{', '.join(r.spec.run_id for r in without)} {what} no value of {measure}{choice}"
        if not kept:
            raise UserError(said)
        print(f"clipnb: {said}: left out", file=sys.stderr)
    return kept


def _logs_and_runs(names: Sequence[str], settings: dict[str, Any]) -> tuple[list[Scores], list[Result]]:
    """The logs and the saved runs that names stand for, each once."""
    from ..analysis.scores import LOGS, read_logs
    from ..datasets.dataset import with_spaces
    from ..result import near_runs
    from ..runs import saved_runs

    logs: list[Path] = []
    results: dict[str, Result] = {}  # a run that several names stand for counts once
    for name in names:
        path = Path(name)
        if path.suffix == ".json" or (list(path.glob(LOGS)) and not (path / "run.json").exists()):
            logs.append(path)
        elif runs := saved_runs(name, **settings):
            results |= {run.spec.run_id: run for run in runs}
        else:
            asked = "".join(f" with {field} {value}" for field, value in settings.items())
            if spaced := with_spaces(name):
                raise UserError(f"{name!r}: put a name with spaces in quotes: {spaced}")
            near = near_runs(name, "run_id", "group_id", "dataset_name")
            why = f"is neither a log nor a folder of logs, and has no finished runs{asked}{near}; clipnb runs lists the runs"
            raise UserError(f"{name!r} {why}")
    return read_logs(logs), list(results.values())


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=Path("tables"), metavar="FOLDER", help="where to (default: tables)")
    parser.add_argument("--format", **SEVERAL, choices=["csv", "parquet", "tex", "md"], help="one or more (csv)")


def _export(options: argparse.Namespace) -> int:
    from .._core.paths import shown
    from ..report.tables import PRINTED, all_tables, write
    from ..result import load_results

    if not (results := load_results()):
        raise UserError("there are no finished runs to export: clipnb report")
    for name, frame in all_tables(results, progress=sys.stderr.isatty()).items():
        if frame.empty:
            print(f"{name}: not written, because it has no rows", file=sys.stderr)
            continue
        narrow = frame[[c for c in PRINTED.get(name, frame) if c in frame]]
        caption = f"{name.capitalize()}, from {len(results)} finished runs"
        caption += f"; {extra} more columns are in other formats" if (extra := len(frame.columns) - len(narrow.columns)) else ""
        for kind in options.format or ["csv"]:
            part = narrow if kind in ("tex", "md") else frame
            path = write(part, options.out / f"{name}.{kind}", caption)
            print(shown(path), f"({len(part)} row{'s' * (len(part) != 1)}, {len(part.columns)} of {len(frame.columns)} columns)")
    return 0


def write_tables(folder: Path, tables: dict[str, pd.DataFrame], families: Mapping[str, Sequence[Contrast]]) -> None:
    """Write tables, and a picture of the contrasts of each measure."""
    from .._core.paths import shown
    from ..report.plots import forest
    from ..report.tables import write

    for name, frame in tables.items():
        for kind in ("csv", "tex", "md"):
            print("wrote", shown(write(frame, folder / f"{name}.{kind}")))
    for measure, family in families.items():
        picture = folder / ("contrasts.png" if len(families) == 1 else f"contrasts-{measure}.png")
        forest(family, f"change of {measure}" + (", percentage points" if measure == "valid" else " x 100")).savefig(picture)
        print("wrote", shown(picture))


COMMANDS = (
    Command("compare", "two runs, two encoders or two logs, paired, with intervals", _compare_arguments, _compare),
    Command("analyse", "means, contrasts and interactions of runs, or of logs in the study's format", _analyse_arguments, _analyse),
    Command("export", "all tables of all finished runs: runs, categories, contrasts, queries", _export_arguments, _export),
)
