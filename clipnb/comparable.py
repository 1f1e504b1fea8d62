"""Whether two runs can be compared: the same photographs, and the same code and weights of the encoder."""

from __future__ import annotations

from .result import Result


def same_photographs(a: Result, b: Result) -> bool:
    """Whether two runs used the same photographs; their encoders may differ."""
    return bool(a.provenance["data_fingerprint"] == b.provenance["data_fingerprint"])


def of_one_code(a: Result, b: Result) -> bool:
    """Whether two runs used the same encoder, with the same code and weights."""
    return bool(a.provenance["encoder"]["identity"] == b.provenance["encoder"]["identity"])


def comparable(a: Result, b: Result) -> bool:
    """Whether two runs used the same photographs and the same encoder."""
    return same_photographs(a, b) and of_one_code(a, b)


def why_incomparable(edited: Result, clean: Result) -> str:
    """Why a run under a manipulation is not `comparable` with the clean run: the edited photographs that it cannot read, if any."""
    new = {name: why for name, why in edited.provenance["unreadable"].items() if name not in clean.provenance["unreadable"]}
    if new:
        them = "1 edited photograph" if len(new) == 1 else f"{len(new)} edited photographs"
        return f"{edited.spec.run_id}: {edited.spec.encoder} cannot read {them}; the first: {next(iter(new.values()))}"
    return f"{edited.spec.run_id} used other photographs, weights or code than the clean run: run the older one again"
