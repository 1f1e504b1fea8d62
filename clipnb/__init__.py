"""How far can a photograph be blurred, cropped or greyed before an image embedding stops finding its kind?

A run is a specification in and a result out::

    spec = clipnb.RunSpec(dataset="sample-figures", manip="grey")
    result = clipnb.run(spec)

Everything here is loaded on first use, so that `import clipnb` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        accounting,
        answer,
        cards,
        contrast_figures,
        corrections,
        datasets,
        evidence,
        figures,
        findings,
        measured,
        original,
        pictures,
        reading,
        samples,
        scale,
        sentences,
        severity,
        severity_figures,
        severity_pictures,
        speed,
    )
    from .errors import UserError
    from .results import Result, load_results
    from .runs import run, saved_result
    from .spec import RunSpec, spec_of

__version__ = "0.1.0"

_HOME = {
    "Result": "results",
    "RunSpec": "spec",
    "UserError": "errors",
    "load_results": "results",
    "saved_result": "runs",
    "run": "runs",
    "spec_of": "spec",
}
__all__ = [
    "Result",
    "RunSpec",
    "UserError",
    "accounting",
    "answer",
    "cards",
    "contrast_figures",
    "corrections",
    "datasets",
    "evidence",
    "figures",
    "findings",
    "load_results",
    "measured",
    "original",
    "pictures",
    "reading",
    "run",
    "samples",
    "saved_result",
    "scale",
    "sentences",
    "severity",
    "severity_figures",
    "severity_pictures",
    "spec_of",
    "speed",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
