"""Tables of the provenance of the book's numbers, and of runs with CLIP if there are any (Markdown)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clipnb.encoders import ENCODERS
from clipnb.report.format import table
from clipnb.report.text import results_table
from clipnb.result import Result

from .measured import findings, records

SHOWN_VERSIONS = ("clipnb", "torch", "numpy", "pillow", "faiss-cpu")
"""Packages whose versions are named beside numbers of real photographs."""

UNKNOWN = "not recorded"
"""Cell for a value that an older measurement did not record."""

NOT_CLIP = ("efficientnet-lite2", "histogram")


def measured(text: str) -> str:
    """Mark a date or a time: only these texts may differ between two builds of the book."""
    return f"[{text}]{{.measured}}"


def _versions(results: Sequence[Result]) -> str:
    names = list(dict.fromkeys(name for r in results for name in r.provenance["versions"]))
    rows = [
        [name, ", ".join(sorted({r.provenance["versions"][name] for r in results if name in r.provenance["versions"]}))]
        for name in names
    ]
    rows.append(["machine", ", ".join(sorted({r.provenance["machine"] for r in results}))])
    return table(["what", "version"], rows, "ll")


def _runs(results: Sequence[Result], pages: Mapping[str, str]) -> str:
    rows = []
    for r in results:
        p = r.provenance
        rows.append(
            [
                pages.get(r.spec.run_id, f"`{r.spec.run_id}`"),
                str(r.spec.seed),
                f"{p['device']}, {r.spec.precision}",
                str(p["categories"]),
                str(p["images"]),
                str(len(p["unreadable"])),
                measured(f"{p['seconds']:.1f}"),
                measured(p["created"].replace("T", " ").removesuffix("+00:00")),
            ]
        )
    head = ["run", "seed", "device", "categories", "images", "unreadable", "seconds", "when (UTC)"]
    return table(head, rows, "lrlrrrrl")


def _real() -> str:
    """A table with a row for each measurement on real photographs that has no table of its own."""
    counted = findings.counts()
    rows = []
    for what, about in records.abouts().items():
        photographs = [
            f"{name} ({counted[name]['images']:,} of {counted[name]['categories']} categories, `{digest[:12]}`)"
            for name, digest in about["photographs"].items()
        ]
        weights = [f"{encoder} (`{sha[:12]}`)" if sha else encoder for encoder, sha in about["weights"].items()]
        versions = [f"{name} {version}" for name, version in about["versions"].items() if name in SHOWN_VERSIONS]
        code = f"`{about['code_sha256'][:12]}`" if "code_sha256" in about else UNKNOWN
        settings = f"k {about['k']}, tau {about['tau']:g}, seed {about['seed']}, {about.get('engine', 'torch')}"
        cells = [what, ", ".join(photographs), ", ".join(weights), settings]
        rows.append([*cells, code, ", ".join(versions), about.get("created", UNKNOWN)[:12].split("T")[0]])
    head = ["measurement", "photographs", "encoders, weights", "settings", "code", "versions", "date"]
    return table(head, rows, "lllllll")


def status(results: Sequence[Result], pages: Mapping[str, str]) -> dict[str, str]:
    """The values for the status page."""
    return {"versions": _versions(results), "runs": _runs(results, pages), "real": _real()}


def is_clip(encoder: str) -> bool:
    """Whether an encoder is CLIP or of its kind, by its name; a custom one (`module:function`) does not count."""
    custom = ":" in encoder and not encoder.startswith("open_clip:")
    return encoder not in NOT_CLIP and not custom and (encoder in ENCODERS or encoder.startswith("open_clip:") or "/" in encoder)


def clip_results(results: Sequence[Result], pages: Mapping[str, str]) -> str:
    """A table of the runs with CLIP, or a note that there are none."""
    runs = [r for r in results if is_clip(r.spec.encoder)]
    if not runs:
        return "```{admonition} There are no runs with CLIP's weights\nThis page shows such runs as soon as there are any.\n```"
    return results_table(runs, pages)
