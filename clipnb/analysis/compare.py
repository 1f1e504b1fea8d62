"""`clipnb compare A B`: the paired changes between two runs, two encoders or two logs, with intervals."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .._core.paths import results_root
from .._core.text import first_of
from ..comparable import of_one_code, same_photographs
from ..encoders import resolve
from ..errors import UserError
from ..manipulations import CLEAN
from ..metrics.measures import MEASURES
from ..result import Result, load_results, near_runs
from ..spec import RunSpec
from .contrasts import Contrast, contrast
from .scores import Scores, differs, not_comparable, of_result, read_log

BETWEEN_ENCODERS = ("found", "p1", "map")
"""Measures by which encoders are compared. They depend on the order of the results, not on distances."""

WITHIN_ENCODER = ("found", "p1", "valid")  # measures by which two runs with one encoder are compared

OF_A_CONDITION = ("dataset", "manip", "severity", "strength", "draws", "encoder", "device", "allow_hosts")
"""Fields of `RunSpec` in which runs that are compared may differ without a note."""

RANKED = tuple(name for name in MEASURES if name not in ("valid", "shift"))


def measures(a: str, b: str) -> tuple[str, ...]:
    """The measures by which A and B are compared by default: `WITHIN_ENCODER` or `BETWEEN_ENCODERS`; for logs valid@k.

    Those of which both have values; a `UserError` if there is none.
    """
    if _log(a) or _log(b):
        return ("valid",)
    first, second = _run(a), _run(b)
    if (first is None) != (second is None):
        return BETWEEN_ENCODERS
    pairs = [(first, second)] if first and second else _pairs(a, b)
    same = bool(first and second and first.spec.encoder == second.spec.encoder)
    shown, allowed = (WITHIN_ENCODER, tuple(MEASURES)) if same else (BETWEEN_ENCODERS, RANKED)
    have = [name for name in MEASURES if any(_both_scored(pair, name) for pair in pairs)]
    if not (found := tuple(name for name in shown if name in have)):
        other = ", ".join(name for name in allowed if name in have)
        choice = f": choose --measure from {other}" if other else ""
        raise UserError(f"{a} and {b} have no values of {', '.join(shown)}{choice}")
    return found


def compared_runs(a: str, b: str) -> list[Result]:
    """The runs that `compare` compares; none of logs."""
    if _log(a) or _log(b):
        return []
    first, second = _run(a), _run(b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `compare` gave them
        return [first, second] if first and second else [r for pair in _pairs(a, b) for r in pair]


def apart(a: str, b: str) -> str:
    """Settings, besides condition and encoder, in which two runs or their logs differ: `k 3 and 10`; "" without both runs."""
    return _differing(*specs) if (specs := _specs(a, b)) else ""


def _differing(one: RunSpec, other: RunSpec) -> str:
    x, y = one.to_dict(), other.to_dict()
    return ", ".join(f"{name} {x[name]!r} and {y[name]!r}" for name in x if name not in OF_A_CONDITION and x[name] != y[name])


def _specs(a: str, b: str) -> tuple[RunSpec, RunSpec] | None:
    """The specifications of two runs, or of the runs beside two logs; None without both."""
    try:
        first, second = (_run(str(log.parent) if (log := _log(name)) else name) for name in (a, b))
    except UserError:  # a `run.json` beside a log that is not that of a run
        return None
    return (first.spec, second.spec) if first and second else None


def compare(a: str | Path, b: str | Path, measure: str = "") -> list[Contrast]:
    """Compute the changes from A to B with 95% intervals, paired by image or, if a log names no images, by category.

    Args:
        a, b: each is the id or folder of a finished run, the path of a log in the study's format, or the name of an
            encoder. All runs of an encoder are compared with the other encoder's runs of the same specification, except
            those of other photographs, weights or code than its clean run; a Python warning names what is left out.
        measure: name of a registered measure that the runs have; the first of `measures(a, b)` if empty. A log holds only
            valid@k. Two encoders are compared by valid@k only if the two runs have different thresholds.

    There is one contrast for two runs or logs, and one for each pair of runs of two encoders. A `UserError` says that A or B is
    unknown or a result, that they have nothing in common, that the measure cannot compare them, or that the weights or the code
    of their one encoder changed in between.

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
    if isinstance(a, Result) or isinstance(b, Result):
        raise UserError("compare takes names of saved runs, not results: after result.save(), result.spec.run_id is its name")
    a, b = str(a), str(b)  # a path, too
    measure = MEASURES.canonical(measure or measures(a, b)[0])
    first, second = _scores(a, measure), _scores(b, measure)
    if first is not None and second is not None:
        if differs(first, second, "photographs", "dataset"):
            raise UserError(f"{a} and {b} have different photographs and cannot be paired")
        _require_one_code(a, b, first, second)
        if differs(first, second, "model") and not differs(first, second, "tau"):
            _require_order(measure)
        return [dataclasses.replace(contrast(first, second), before=first.source, after=second.source)]
    if first is not None or second is not None:
        known, unknown = (a, b) if second is None else (b, a)
        why = f"is neither a run nor a log{near_runs(unknown, 'run_id')} and cannot be compared with {known}"
        raise UserError(f"{unknown!r} {why}; clipnb runs lists them")
    _require_order(measure)
    return _encoders(a, b, measure)


def _require_one_code(a: str, b: str, first: Scores, second: Scores) -> None:
    """Refuse two conditions of one encoder of different code or weights. One condition may show the effect of the code itself."""
    if differs(first, second, "model") or not differs(first, second, "encoder"):
        return
    specs = _specs(a, b)
    if differs(first, second, "group") if specs is None else _computed(specs[0]) != _computed(specs[1]):
        return
    said = f"{a} and {b} are of different code or weights of {first.run['model']!r}"
    if differs(first, second, "run"):
        raise UserError(f"{said} and cannot be compared: run the older one again")
    warnings.warn(said, stacklevel=3)


def _computed(spec: RunSpec) -> tuple[str, str]:
    """How an encoder computes: its identity depends on it, apart from code and weights."""
    return spec.precision, spec.engine


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
    if a == b:
        raise UserError(f"{a} is compared with itself: name two encoders, or two runs of one")
    found: dict[tuple[str, tuple[float, ...]], tuple[str, Contrast]] = {}
    for pair in (pairs := _pairs(a, b)):
        if _both_scored(pair, measure):
            c = contrast(*(of_result(r, measure) for r in pair))
            own = (f"{c.dataset}, {c.before}", tuple(c.values))
            if own in found:
                warnings.warn(f"{_named(pair)} have the values of a pair with other settings: counted once", stacklevel=3)
            found.setdefault(own, (pair[0].spec.group_id, c))
    if not found:
        for r in pairs[0]:
            r.column(measure)  # says why it has none
        raise UserError(f"{a} and {b} have no pair of runs with values of {measure}: choose another --measure")
    for pair in (pair for pair in pairs if not _both_scored(pair, measure)):
        warnings.warn(f"{_named(pair)} do not both have values of {measure}: left out", stacklevel=3)
    several = Counter(name for name, _ in found)
    named = [(f"{name} ({group})" if several[name] > 1 else name, c) for (name, _), (group, c) in found.items()]
    return [dataclasses.replace(c, dataset=name, before=a, after=b) for name, c in named]


def _pairs(a: str, b: str) -> list[tuple[Result, Result]]:
    """The pairs of runs of two encoders on the same photographs; a warning names others, a `UserError` says that there is none."""
    a, b = (_canonical(name) for name in (a, b))
    results = load_results()
    known = sorted({r.spec.encoder for r in results})
    for name in (a, b):
        if name not in known:
            have = near_runs(name, "run_id", "encoder") or f"; encoders with runs: {', '.join(known) or 'none'}"
            raise UserError(f"{name!r} is neither a finished run, a log nor an encoder with runs{have}")
    first, second = (_of_one_code([r for r in results if r.spec.encoder == name]) for name in (a, b))
    by_spec = {dataclasses.replace(r.spec, dataset=r.spec.dataset_name): r for r in second}
    pairs, different = [], set[int]()
    for r in first:
        if other := by_spec.get(dataclasses.replace(r.spec, dataset=r.spec.dataset_name, encoder=b)):
            if same_photographs(r, other):
                pairs.append((r, other))
            else:
                warnings.warn(f"{_named((r, other))} have different photographs and cannot be paired: left out", stacklevel=3)
                different |= {id(r), id(other)}
    if not pairs:
        near = (_differing(x.spec, y.spec) for x in first for y in second if _condition(x) == _condition(y))
        why = f": the settings differ: {said}" if (said := next(near, "")) else ""
        raise UserError(f"{a} and {b} have no pair of runs with the same data set, photographs, manipulation and settings{why}")
    named = different.union(id(r) for pair in pairs for r in pair)
    if alone := [r.spec.run_id for r in (*first, *second) if id(r) not in named]:
        less = "1 run has" if len(alone) == 1 else f"{len(alone)} runs have"
        warnings.warn(f"{less} no counterpart of the other encoder: left out ({first_of(alone)})", stacklevel=3)
    return pairs


def _condition(r: Result) -> tuple[str, str]:
    return r.spec.dataset_name, r.spec.condition_id


def _of_one_code(runs: Sequence[Result]) -> list[Result]:
    """Runs of an encoder with the code and weights of its newest clean run, and the photographs of their own; others are named."""
    by_age = sorted(runs, key=lambda r: (r.spec.manip == CLEAN, r.provenance["created"]))
    newest = {_computed(r.spec): r for r in by_age}
    clean = {r.spec.group_id: r for r in runs if r.spec.manip == CLEAN}
    kept, others = [], dict[tuple[str, str], list[str]]()
    for r in runs:
        model, own = newest[_computed(r.spec)], clean.get(r.spec.group_id, r)
        if not of_one_code(r, model):
            what, than = "code or weights", own if of_one_code(own, model) else model
        elif not same_photographs(r, own):
            what, than = "photographs", own
        else:
            kept.append(r)
            continue
        others.setdefault((what, than.spec.run_id), []).append(r.spec.run_id)
    for reason, left in others.items():
        warnings.warn(not_comparable(left, *reason), stacklevel=3)
    return kept


def _both_scored(pair: tuple[Result, Result], measure: str) -> bool:
    return all(r.scored(measure) for r in pair)


def _named(pair: tuple[Result, Result]) -> str:
    return " and ".join(r.spec.run_id for r in pair)


def _canonical(encoder: str) -> str:
    try:
        return resolve(encoder)[0]
    except UserError:
        return encoder
