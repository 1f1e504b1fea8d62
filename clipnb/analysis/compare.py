"""`clipnb compare A B`: two runs, two encoders or two logs, paired, with intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from .._core.paths import results_root
from ..errors import UserError
from ..metrics.measures import MEASURES
from ..result import Result, load_results, same_photographs
from .contrasts import Contrast, contrast
from .scores import Scores, of_result, read_log


def compare(a: str, b: str, measure: str = "valid") -> list[Contrast]:
    """What changes from A to B, on everything that both have.

    Args:
        a, b: each the id or folder of a finished run, a log in the study's format, or the name of an encoder (then all
            of its runs are compared with the other encoder's runs of the same specification).
        measure: a column of the runs' rows; a log has accuracies only.

    Raises:
        UserError: one of them is unknown, or they have nothing in common.

    >>> import tempfile
    >>> from clipnb.study_log import write
    >>> folder = Path(tempfile.mkdtemp())
    >>> for manip, score in (("original", 0.9), ("grey", 0.7)):
    ...     write(folder / f"clip_output_set_{manip}.json", manip, {"cats": [score], "dogs": [score, score]})
    >>> logs = (str(folder / f"clip_output_set_{manip}.json") for manip in ("original", "grey"))
    >>> [round(contrast.interval.point, 3) for contrast in compare(*logs)]
    [-0.2]
    """
    first, second = _open(a, measure), _open(b, measure)
    if first is not None and second is not None:
        (one, run_a), (other, run_b) = first, second
        if run_a and run_b and not same_photographs(run_a, run_b):
            raise UserError(f"{a} and {b} saw different photographs: they cannot be paired")
        found = contrast(one, other)
        return [dataclasses.replace(found, before=one.source, after=other.source)]
    if first is not None or second is not None:
        known, unknown = (a, b) if second is None else (b, a)
        raise UserError(f"{unknown!r} is no run or log that could be compared with {known}: clipnb export lists the runs")
    return _encoders(a, b, measure)


def _open(name: str, measure: str) -> tuple[Scores, Result | None] | None:
    """A run or a log, if the name is one."""
    path = Path(name)
    if path.suffix == ".json" and path.name != "run.json":
        if MEASURES.canonical(measure) != "valid":
            raise UserError(f"{name} is a log: it holds valid@k and no {measure!r}")
        return read_log(path), None
    for folder in (path.parent if path.name == "run.json" else path, results_root() / name):
        if (folder / "run.json").is_file():
            result = Result.load(folder)
            return of_result(result, measure), result
    return None


def _encoders(a: str, b: str, measure: str) -> list[Contrast]:
    results = load_results()
    by_spec = {r.spec: r for r in results}
    known = sorted({r.spec.encoder for r in results})
    for name in (a, b):
        if name not in known:
            raise UserError(
                f"{name!r} is no finished run, no log, and no encoder with runs; encoders with runs: {', '.join(known) or 'none'}"
            )
    pairs: Sequence[tuple[Result, Result]] = [
        (r, other)
        for r in results
        if r.spec.encoder == a and (other := by_spec.get(dataclasses.replace(r.spec, encoder=b))) and same_photographs(r, other)
    ]
    if not pairs:
        raise UserError(f"{a} and {b} have no run in common: same data set, photographs, manipulation and settings")
    found = []
    for r, other in pairs:
        c = contrast(of_result(r, measure), of_result(other, measure))
        found.append(dataclasses.replace(c, dataset=f"{c.dataset}, {c.before}", before=a, after=b))
    return found
