"""`clipnb compare A B`: the paired changes between two runs, two encoders or two logs, with intervals."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from .._core.paths import results_root
from ..encoders import resolve
from ..errors import UserError
from ..metrics.measures import MEASURES
from ..result import Result, load_results, near_runs, same_photographs
from .contrasts import Contrast, contrast
from .scores import Scores, differs, of_result, read_log

BETWEEN_ENCODERS = ("found", "p1", "map")
"""Measures by which encoders are compared. They depend on the order of the results, not on distances."""

WITHIN_ENCODER = ("found", "p1", "valid")  # measures by which two runs with one encoder are compared

OF_A_CONDITION = ("dataset", "manip", "severity", "strength", "draws", "encoder", "device", "allow_hosts")
"""Fields of `RunSpec` in which runs that are compared may differ without a note."""

RANKED = tuple(name for name in MEASURES if name not in ("valid", "shift"))


def measures(a: str, b: str) -> tuple[str, ...]:
    """The measures by which A and B are compared by default: `WITHIN_ENCODER` or `BETWEEN_ENCODERS`; for logs valid@k."""
    if _log(a) or _log(b):
        return ("valid",)
    first, second = _run(a), _run(b)
    if first is None or second is None:
        return BETWEEN_ENCODERS
    shown = WITHIN_ENCODER if first.spec.encoder == second.spec.encoder else BETWEEN_ENCODERS
    return tuple(name for name in shown if name in first.rows and name in second.rows)


def apart(a: str, b: str) -> str:
    """Settings, besides condition and encoder, in which two runs or their logs differ: `k 3 and 10`; "" without both runs."""
    try:
        first, second = (_run(str(log.parent) if (log := _log(name)) else name) for name in (a, b))
    except UserError:  # a `run.json` beside a log that is not that of a run
        return ""
    if first is None or second is None:
        return ""
    x, y = first.spec.to_dict(), second.spec.to_dict()
    return ", ".join(f"{name} {x[name]!r} and {y[name]!r}" for name in x if name not in OF_A_CONDITION and x[name] != y[name])


def compare(a: str, b: str, measure: str = "") -> list[Contrast]:
    """Compute the changes from A to B with 95% intervals, paired by image or, if a log names no images, by category.

    Args:
        a, b: each is the id or folder of a finished run, the path of a log in the study's format, or the name of an
            encoder. All runs of an encoder are compared with the other encoder's runs of the same specification.
        measure: name of a registered measure that the runs have; the first of `measures(a, b)` if empty. A log holds only
            valid@k. Two encoders are compared by valid@k only if the two runs have different thresholds.

    There is one contrast for two runs or logs, and one for each pair of runs of two encoders. A `UserError` says that A or B is
    unknown, that they have nothing in common, or that the measure cannot compare them.

    >>> import tempfile
    >>> from clipnb.study_log import dumps
    >>> folder = Path(tempfile.mkdtemp())
    >>> for manip, score in (("original", 0.9), ("grey", 0.7)):
    ...     log = folder / f"clip_output_set_{manip}.json"
    ...     _ = log.write_text(dumps(manip, {"cats": [score], "dogs": [score, score]}))
    >>> logs = (str(folder / f"clip_output_set_{manip}.json") for manip in ("original", "grey"))
    >>> [round(contrast.interval.point, 3) for contrast in compare(*logs)]
    [-0.2]
    """
    measure = MEASURES.canonical(measure or measures(a, b)[0])
    first, second = _scores(a, measure), _scores(b, measure)
    if first is not None and second is not None:
        if differs(first, second, "photographs", "dataset"):
            raise UserError(f"{a} and {b} have different photographs and cannot be paired")
        if differs(first, second, "model") and not differs(first, second, "tau"):
            _require_order(measure)
        return [dataclasses.replace(contrast(first, second), before=first.source, after=second.source)]
    if first is not None or second is not None:
        known, unknown = (a, b) if second is None else (b, a)
        why = f"is neither a run nor a log{near_runs(unknown, 'run_id')} and cannot be compared with {known}"
        raise UserError(f"{unknown!r} {why}; clipnb runs lists them")
    _require_order(measure)
    return _encoders(a, b, measure)


def _require_order(measure: str) -> None:
    if measure not in RANKED:
        raise UserError(
            f"{measure} depends on how an encoder spreads its distances: compare encoders by {', '.join(RANKED)}, or two runs, "
            "each at the threshold of its encoder (clipnb threshold <data set> --encoder <encoder>; -p tau)"
        )


def _scores(name: str, measure: str) -> Scores | None:
    """The scores of a run or a log; None if the name is neither."""
    if (path := _log(name)) is None:
        return of_result(run, measure) if (run := _run(name)) else None
    if measure != "valid":
        raise UserError(f"{name} is a log: it holds valid@k but not {measure!r}")
    return read_log(path)


def _log(name: str) -> Path | None:
    path = Path(name)
    return path if path.suffix == ".json" and path.name != "run.json" else None


def _run(name: str) -> Result | None:
    path = Path(name)
    folders = (path.parent if path.name == "run.json" else path, results_root() / name)
    return next((Result.load(folder) for folder in folders if (folder / "run.json").is_file()), None)


def _encoders(a: str, b: str, measure: str) -> list[Contrast]:
    a, b = (_canonical(name) for name in (a, b))
    results = load_results()
    by_spec = {dataclasses.replace(r.spec, dataset=r.spec.dataset_name): r for r in results}
    known = sorted({r.spec.encoder for r in results})
    for name in (a, b):
        if name not in known:
            have = near_runs(name, "run_id", "encoder") or f"; encoders with runs: {', '.join(known) or 'none'}"
            raise UserError(f"{name!r} is neither a finished run, a log nor an encoder with runs{have}")
    found = []
    for r in (r for r in results if r.spec.encoder == a):
        other = by_spec.get(dataclasses.replace(r.spec, dataset=r.spec.dataset_name, encoder=b))
        if other and same_photographs(r, other):
            c = contrast(of_result(r, measure), of_result(other, measure))
            found.append(dataclasses.replace(c, dataset=f"{c.dataset}, {c.before}", before=a, after=b))
    if not found:
        raise UserError(f"{a} and {b} have no pair of runs with the same data set, photographs, manipulation and settings")
    return found


def _canonical(encoder: str) -> str:
    try:
        return resolve(encoder)[0]
    except UserError:
        return encoder
