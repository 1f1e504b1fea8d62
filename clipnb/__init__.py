"""How far can a photograph be blurred, cropped or greyed before an image embedding stops finding it, and its kind?

`run` measures what a specification asks for, and returns a result:

>>> import clipnb
>>> spec = clipnb.RunSpec("sample-figures", "grey", "histogram", per_category=4, k=3)
>>> result = clipnb.run(spec, progress=False)
>>> result.spec.manip, len(result.rows)
('grey', 24)

A name is loaded at its first use, so that `import clipnb` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import analysis, datasets, embedding, encoders, manipulations, metrics, report, retrieval, stats
    from .analysis.calibration import calibrate
    from .analysis.compare import compare
    from .datasets.dataset import load_dataset
    from .embedding.embed import embed_images
    from .encoders import load_encoder
    from .errors import UserError
    from .result import Result, load_results
    from .runs import run, study_runs
    from .spec import RunSpec

__version__ = "0.1.0"

_HOME = {
    "Result": "result",
    "RunSpec": "spec",
    "UserError": "errors",
    "calibrate": "analysis.calibration",
    "compare": "analysis.compare",
    "embed_images": "embedding.embed",
    "load_dataset": "datasets.dataset",
    "load_encoder": "encoders",
    "load_results": "result",
    "run": "runs",
    "study_runs": "runs",
}

__all__ = ["Result", "RunSpec", "UserError", "analysis", "calibrate", "compare", "datasets", "embed_images", "embedding"]
__all__ += ["encoders", "load_dataset", "load_encoder", "load_results", "manipulations", "metrics", "report", "retrieval", "run"]
__all__ += ["stats", "study_runs"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
