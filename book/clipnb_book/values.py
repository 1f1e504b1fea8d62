"""The numbers for the pages of the book: `{{ key }}` in a page stands for a value of this dictionary."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clipnb import __version__
from clipnb.datasets.picture_hash import NEAR
from clipnb.datasets.samples import IMAGES_PER_CATEGORY, SAMPLES
from clipnb.encoders import OFFLINE
from clipnb.manipulations import BLUR_SIGMA, MANIPULATIONS, STUDY
from clipnb.manipulations.imagenet_c import CORRUPTIONS
from clipnb.metrics.measures import MEASURES
from clipnb.report import format, text
from clipnb.result import Result
from clipnb.spec import RunSpec
from clipnb.stats.intervals import FEWEST

from . import api_reference, captions, simulation, status, tables
from .claims import ledger
from .claims.evidence import findings_contrasts, findings_crossed, from_findings, from_runs, graded
from .measured import findings, records
from .published.original import printed_log


def values(results: Sequence[Result], pages: Mapping[str, str]) -> dict[str, Any]:
    """Nested names -> text, computed from the results at hand and the study's printed lists.

    Args:
        results: all results.
        pages: run id -> Markdown link to its page, of the runs that have one.

    Raises:
        KeyError: the sample runs are not among the results.
        UserError: the claim ledger has a mistake, or a verdict that the numbers do not give.
    """
    return {
        "study": {
            "nba": {"mean": f"{np.mean(printed_log('NBA').total):.4f}"},
            "scenes": {"mean": f"{np.mean(printed_log('MiniPlaces').total):.4f}"},
        },
        "setup": _setup(),
        "samples": _samples(results),
        "runs": _runs(results, pages),
        "claims": _claims(results),
        "simulation": simulation.values(),
        "cards": {"measured": measured_cards(), "near": str(NEAR), "copies": tables.kept_table("copies.csv", "lrrrrrrrrr")},
        "findings": _findings(),
        "status": status.status(results, pages),
        "clip": {
            "results": status.clip_results(results, pages),
            "encoders": tables.kept_table("encoders.csv", "lllr"),
            "precision": tables.kept_table("precision.csv", "lrr"),
        },
        "caption": captions.values(),
        "about": {"bibtex": _bibtex()},
        "api": {"modules": api_reference.modules_table()},
    }


def _claims(results: Sequence[Result]) -> dict[str, Any]:
    """The judged ledger and the tables of the planned contrasts; raises `LedgerError` for a verdict that the numbers do not give."""
    entries = ledger.read()
    family = [c for name in (findings.FIGURES, findings.SCENES) for c in findings_contrasts(name, OFFLINE)]
    return {
        **ledger.pages(ledger.settle(entries, {"runs": from_runs(results), "findings": from_findings, "severities": graded})),
        "contrasts": text.contrasts_table(["data set", "condition"], [[c.dataset, c.after] for c in family], family),
        "interactions": tables.crossed_table(findings_crossed(OFFLINE)),
    }


def _setup() -> dict[str, str]:
    usual = RunSpec(encoder=OFFLINE)
    return {
        "k": str(usual.k),
        "tau": f"{usual.tau:g}",
        "cosine": f"{1 - usual.tau**2 / 2:g}",
        "sigma": f"{BLUR_SIGMA:g}",
        "encoder": f"`{OFFLINE}`",
        "fewest": str(FEWEST),
        "severities": _severities(),
        "measures": _measures(),
        "glossary": _glossary(),
        "corruptions": _corruptions(),
        "manipulations": "\n".join(
            ["| name | what it does | draws |", "|:--|:--|:--|"]
            + [f"| `{m.name}` | {m.summary} | {'seeded' if m.draws else 'no'} |" for m in map(MANIPULATIONS.__getitem__, STUDY)]
        ),
    }


def _measures() -> str:
    """The registered measures: the glossary's table."""
    rows = [
        [f"`{m.name}`", m.label, f"{m.range[0]:g} to {m.range[1]:g}", m.meaning, m.absent]
        for m in map(MEASURES.__getitem__, MEASURES)
    ]
    return format.table(["name", "in figures and tables", "range", "meaning", "queries without a value"], rows, "lllll")


def _glossary() -> str:
    """The registered measures as a glossary."""
    entries = [(m.label, f"{m.meaning} In tables and on the command line `{m.name}`.") for m in map(MEASURES.__getitem__, MEASURES)]
    return "\n".join(["```{glossary}", *(f"{label}\n  {said}\n" for label, said in entries), "```"])


def _bibtex() -> str:
    """A BibTeX entry of the project (Markdown)."""
    title = "clipnb: how far can a photograph be changed before it is no longer found?"
    fields = {"title": f"{{{title}}}", "author": "{The clipnb authors}", "version": f"{{{__version__}}}", "note": "{MIT licence}"}
    return "\n".join(["```bibtex", "@software{clipnb,", *(f"  {name} = {value}," for name, value in fields.items()), "}", "```"])


def _corruptions() -> str:
    """The corruptions of ImageNet-C, in a line for each unit of strength."""
    alike: dict[tuple[str, bool], list[str]] = {}
    for name in CORRUPTIONS:
        alike.setdefault((MANIPULATIONS[name].unit, MANIPULATIONS[name].draws), []).append(f"`{name}`")
    return "\n".join(f"- {', '.join(group)}: {unit}{', seeded' if draws else ''}" for (unit, draws), group in alike.items())


def _severities() -> str:
    rows = []
    for name in MANIPULATIONS:
        m = MANIPULATIONS[name]
        if name in CORRUPTIONS or not m.parameter.levels:
            continue
        rows.append(
            [f"`{name}`", m.parameter.name, ", ".join(f"{v:g}" for v in m.parameter.levels), m.unit, "seeded" if m.draws else "no"]
        )
    return format.table(["name", "what severities 1 to 5 set", "values", "unit of strength", "draws"], rows, "lllll")


def sample_conditions(results: Sequence[Result], dataset: str) -> dict[str, Result]:
    """The four usual runs of a sample set with the offline encoder, in the study's order."""
    by_spec = {r.spec: r for r in results}
    return {manip: by_spec[RunSpec(dataset, manip, OFFLINE)] for manip in STUDY}


def at_least(value: float) -> str:
    """A lower limit of a share in percent; it is rounded down, so that "at least" stays true."""
    return f"{math.floor(1000 * value + format.EXACT) / 1000:.1%}"


def _samples(results: Sequence[Result]) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    for name, sources in SAMPLES.items():
        conditions = sample_conditions(results, name)
        sets[name.removeprefix("sample-")] = {
            "categories": str(len(sources)),
            "same_kind": at_least(min(r.mean("p1") for r in conditions.values())),
            "noop": {m: format.share(r.noop_share) for m, r in conditions.items()},
        }
    credit = ["| set | category | photograph |", "|:--|:--|:--|"]
    credit += [
        f"| {name.replace('-', format.NB_HYPHEN)} | {category.replace('-', format.NB_HYPHEN)} | {source.credit} |"
        for name, group in SAMPLES.items()
        for category, source in group.items()
    ]
    return {**sets, "per_category": str(IMAGES_PER_CATEGORY), "credits": "\n".join(credit)}


def measured_cards() -> str:
    """The cards of the real photographs that have findings (Markdown)."""
    measured = findings.counts()
    return tables.cards_table([card for card in records.cards() if card.name in measured])


def _findings() -> dict[str, Any]:
    cropped = findings.rows().query("encoder == @OFFLINE and manip == 'cropped'").groupby("dataset")
    return {
        name: {
            "categories": str(count["categories"]),
            "images": f"{count['images']:,}",
            "untouched": format.share(cropped["noop"].mean()[name]),
        }
        for name, count in findings.counts().items()
    }


def _runs(results: Sequence[Result], pages: Mapping[str, str]) -> dict[str, str]:
    sha = hashlib.sha256()
    for r in results:
        sha.update(repr(r.spec).encode() + r.rows.to_json(double_precision=3).encode())  # batches round at 1e-7
    return {
        "count": str(len(results)),
        "table": text.results_table(results, pages),
        "warnings": text.warnings_list(results),
        "digest": f"`{sha.hexdigest()[:16]}`",
    }
