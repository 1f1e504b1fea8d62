"""How far changes depend on the seed of random crops and on the statistical model, on real photographs that may not be shown.

`python -m clipnb_book.measured.draws` measures it again where $CLIPNB_DATA holds the photographs.
"""

from __future__ import annotations

import io
import json
import math
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from clipnb._core.files import read_json, write_text
from clipnb.analysis.contrasts import contrast
from clipnb.analysis.scores import of_result, paired_changes
from clipnb.analysis.sensitivity import draws_frame
from clipnb.encoders import OFFLINE
from clipnb.manipulations import CLEAN
from clipnb.metrics.measures import MEASURES
from clipnb.report.format import EXACT, NB, p_short, points, span, table
from clipnb.result import Result
from clipnb.runs import run
from clipnb.spec import RunSpec
from clipnb.stats.intervals import ALPHA, Interval

from .findings import DATA, FIGURES, SCENES, describe

FILE = DATA / "draws.json"
SETS, SHOWN = {SCENES: 5, FIGURES: 20}, {SCENES: "scenes", FIGURES: "people"}
"""Data set -> photographs of each category, and what they show."""

ENGINE = "openvino"
EDITS, DRAWS, ASKED = ("cropped", "blurred", "grey"), 5, ("found", "p1")


def mixed_model(changes: dict[str, list[float]]) -> tuple[float, float, float]:
    """Mean change, its standard error and p by a linear mixed model with random effects of the category.

    The model of scores has random effects of image and category, the condition, and a random slope of the condition by
    category. Paired changes of images remove the random effect of the image, so the model of changes has an intercept and a
    random intercept for each category. p is that of Wald's z test; NaN where nothing varies within a category.
    """
    from statsmodels.formula.api import mixedlm  # statsmodels is a package of the tests only

    rows = pd.DataFrame([(category, value) for category, values in changes.items() for value in values], columns=["kind", "change"])
    with warnings.catch_warnings(action="ignore"):  # a variance of zero between categories is at the bound of the parameters
        try:
            fit = mixedlm("change ~ 1", rows, groups="kind").fit(method="powell")  # gradients fail at the bound
        except np.linalg.LinAlgError:
            return math.nan, math.nan, math.nan
    return float(fit.params["Intercept"]), float(fit.bse["Intercept"]), float(fit.pvalues["Intercept"])


def compared(clean: Result, edited: Result, measure: str) -> dict[str, Any]:
    """The mixed model beside the test over categories."""
    scores = of_result(clean, measure), of_result(edited, measure)
    over = contrast(*scores)
    change, error, p = mixed_model(paired_changes(*scores))
    return {
        "dataset": clean.spec.dataset_name,
        "condition": edited.spec.manip,
        "measure": measure,
        "categories": over.interval.n,
        **over.interval.columns("change"),
        "p": over.p,
        "model": change,
        "model_error": error,
        "model_p": p,
    }


def rows(name: str) -> pd.DataFrame:
    """The table `draws` (of `draws_frame`) or `models` (of `compared`)."""
    return pd.read_csv(io.StringIO("\n".join(read_json(FILE)[name])))


def draws_table() -> str:
    """One row per data set and measure: the change by all draws, by single draws, and with images and draws as levels."""
    lines = []
    for row in rows("draws").to_dict("records"):
        over, nested = (
            Interval(row["change"], row[f"{name}_low"], row[f"{name}_high"], method, row["categories"])
            for name, method in (("change", "sign flip"), ("nested", "percentile"))
        )
        single = f"{points(row['lowest'])}{NB}to{NB}{points(row['highest'])}"
        measure = MEASURES[row["measure"]].label
        lines.append([SHOWN[row["dataset"]], measure, points(row["change"]), single, span(over, points), span(nested, points)])
    intervals = ["interval over categories", "also over photographs and draws"]
    head = ["photographs of", "measure", "change, points", "single draws", *intervals]
    return table(head, lines, "llrrrr")


def models_table() -> str:
    """One row per change: the sign-flip test over categories beside the mixed model."""
    lines = []
    for row in rows("models").to_dict("records"):
        model = ["none", "none"] if math.isnan(row["model_p"]) else [points(row["model"]), p_short(row["model_p"])]
        test = [MEASURES[row["measure"]].label, points(row["change"]), p_short(row["p"])]
        lines.append([SHOWN[row["dataset"]], row["condition"], *test, *model])
    head = ["photographs of", "edit", "measure", "change, points", "p, categories", "change, mixed model", "p, mixed model"]
    return table(head, lines, "lllrrrr")


def photographs() -> str:
    """How many photographs are used, in words."""
    categories = rows("models").groupby("dataset")["categories"].first()
    return " and ".join(
        f"{categories[name] * each} photographs of {SHOWN[name]} ({each} of each {one})"
        for (name, each), one in zip(SETS.items(), ("kind", "person"), strict=True)
    )


def reading() -> str:
    """How far single draws differ, and how much wider the interval becomes with images and draws as levels."""
    part = rows("draws").dropna()
    ratio = (part["nested_high"] - part["nested_low"]) / (part["change_high"] - part["change_low"])
    apart = (rows("draws")["highest"] - rows("draws")["lowest"]).max()
    return (
        f"Single draws differ by up to {100 * apart:.1f} points. An interval also over photographs and draws is "
        f"{ratio.min():.1f} to {ratio.max():.1f} times as wide as that over categories alone."
    )


def agreement() -> str:
    """The number of changes on which the mixed model and the test over categories agree."""
    known = rows("models").dropna(subset=["model_p"])
    agree = (known["p"] <= ALPHA) == (known["model_p"] <= ALPHA)
    said = [
        f"{int(agree[part.index].sum())} of {len(part)} changes on {SHOWN[str(name)]}"
        for name, part in known.groupby("dataset", sort=False)
    ]
    apart = math.ceil(1000 * (known["model"] - known["change"]).abs().max() - EXACT) / 10
    estimates = f"differ by at most {apart:.1f} points" if apart else "are equal"
    return f"The two tests decide alike on {' and '.join(said)}; their estimates of a change {estimates}."


def measure() -> None:
    """Measure and write the file.

    Raises:
        UserError: the photographs are not in $CLIPNB_DATA.
    """
    drawn, models, runs = [], [], []
    for dataset, each in SETS.items():
        spec = RunSpec(dataset, CLEAN, OFFLINE, per_category=each, engine=ENGINE)
        clean = run(spec)
        edited = [run(replace(spec, manip=manip, severity=3, draws=DRAWS)) for manip in EDITS]
        for name in ASKED:
            drawn.append(draws_frame([clean, *edited], name).assign(dataset=dataset, measure=name).drop(columns="run"))
            models += [compared(clean, one, name) for one in edited]
        runs += [clean, *edited]
    tables = {"draws": pd.concat(drawn), "models": pd.DataFrame(models)}
    lines = {name: frame.round(6).to_csv(index=False).splitlines() for name, frame in tables.items()}
    write_text(FILE, json.dumps({"about": describe(runs), **lines}, indent=1) + "\n")


if __name__ == "__main__":
    measure()
