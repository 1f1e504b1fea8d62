"""Coverage of the intervals and error rates of the tests on simulated data: `python benchmarks/intervals.py`.

Categories are drawn from populations whose means are known: the lists that the study prints and that this project measured,
and lists that are hard for an interval (a ceiling, many zeros, a rare collapse). Images are nested in categories with the
intra-class correlation of the study's images, and an image's accuracy is a share of ten results. A data set without an
interval counts as not covered, but not for the threshold for results, which often has none. Each replicate has its own
generator, whose seed derives from its purpose; the numbers depend neither on the order nor on the number of processes. Two
seeds are simulated; the second confirms the first. A run that was stopped goes on where it was: delete `_build/simulation` if
the code has changed since. Writes `clipnb/report/data/simulation.csv`; rows of questions and sizes that are not asked for stay.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from populations import CHANGES, EDITS, PAIRS, POPULATIONS, Population, Vector, by_category, means_of, redrawn, searched
from regressions import beta, logistic
from scipy import special, stats
from threshold_questions import results, thresholds
from tqdm import tqdm

from clipnb._core.files import write_text
from clipnb._core.random import rng_for
from clipnb.stats.hypothesis import holm, interaction, tost, wilcoxon
from clipnb.stats.intervals import Interval, mean_interval, t_interval, ticks
from clipnb.stats.sign_flips import change_interval, sign_flip
from clipnb_book.claims.tests import spread_changes
from clipnb_book.simulation import GALLERIES, RESAMPLES

SIZES = (5, 6, 10, 28, 51, 100)
MODEL_SIZES = (6, 10, 28)
"""Numbers of categories for the models of statsmodels, which take up to half a second for a data set."""

REPLICATES = 400
SEEDS = (2022, 2023)
"""The seed of the numbers in the book, and one that confirms them."""

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "clipnb" / "report" / "data" / "simulation.csv"
CELLS = ROOT / "_build" / "simulation"
"""Folder of the finished cells, from which a run that was stopped continues."""

ORDER = ["seed", "question", "method", "population", "categories"]

Row = dict[str, float]
Task = tuple[int, str, str, int]
"""Seed, question, population and number of categories."""


def candidates(x: Vector, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Intervals of a mean that were not chosen; NaN without spread."""
    n, mean, error = x.size, float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size)
    if not np.ptp(ticks(x)):
        return dict.fromkeys(("t", "t of the logit", "bootstrap-t", "BCa", "percentile"), (math.nan, math.nan))
    arm = float(stats.t.ppf(0.975, n - 1)) * error
    within = min(max(mean, 1e-6), 1 - 1e-6)
    logit = special.logit(within) + np.array([-1, 1]) * arm / (within * (1 - within))
    drawn = x[rng.integers(0, n, (RESAMPLES, n))]
    means, errors = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / math.sqrt(n)
    upper, lower = np.quantile((means - mean)[errors > 0] / errors[errors > 0], (0.975, 0.025))
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / RESAMPLES
    left_out = (x.mean() - x) / (n - 1)
    acceleration = float((-(left_out**3)).sum() / (6 * (left_out**2).sum() ** 1.5))
    z0 = float(stats.norm.ppf(np.clip(below, 1e-3, 1 - 1e-3)))
    z = z0 + stats.norm.ppf((0.025, 0.975))
    bca = np.quantile(means, stats.norm.cdf(z0 + z / (1 - acceleration * z)))
    return {
        "t": (mean - arm, mean + arm),
        "t of the logit": tuple(special.expit(logit)),
        "bootstrap-t": (mean - float(upper) * error, mean - float(lower) * error),
        "BCa": (float(bca[0]), float(bca[1])),
        "percentile": (float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))),
    }


def _row(chosen: Interval, others: dict[str, tuple[float, float]], truth: float) -> Row:
    found = {}
    for method, (low, high) in {chosen.method: (chosen.low, chosen.high), **others}.items():
        found[method] = float(low <= truth <= high)
        found[f"none, {method}"] = float(math.isnan(low))
        found[f"width, {method}"] = high - low
    return found


def intervals(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether each interval of the macro mean contains the true mean, its width, and whether there is none."""
    rng = rng_for(seed, "intervals", people.name, n, replicate)
    means, images = means_of(people, n, rng)
    found = _row(mean_interval(means, bounds=(0, 1)), candidates(means, rng), people.mean)
    low, high = stats.t.interval(0.95, len(images) - 1, images.mean(), stats.sem(images))
    return found | {"t over images, as if independent": low <= people.mean <= high}


def changes(name: str, n: int, replicate: int, seed: int) -> Row:
    """Whether each interval of a mean change contains 0, the true mean, and its width."""
    rng = rng_for(seed, "changes", name, n, replicate)
    d = CHANGES[name](n, rng)
    others = candidates(d, rng)
    del others["t of the logit"]
    return _row(change_interval(d, flips=RESAMPLES, seed=replicate), others, 0.0)


def models_of_means(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether the interval of each model contains the true mean, beside Student's t."""
    rng = rng_for(seed, "models of means", people.name, n, replicate)
    centres, sizes = people.categories(n, rng)
    images = people.images_of(centres, sizes, rng)
    means = by_category(images, sizes)
    return _row(t_interval(means), {"beta regression": beta(means), "logistic GEE": logistic(images, sizes)}, people.mean)


def models_of_changes(name: str, n: int, replicate: int, seed: int) -> Row:
    """Whether the interval of a beta regression of changes, scaled to [0, 1], contains the true mean, beside Student's t."""
    d = CHANGES[name](n, rng_for(seed, "models of changes", name, n, replicate))
    low, high = beta((1 + d) / 2)
    return _row(t_interval(d), {"beta regression": (2 * low - 1, 2 * high - 1)}, 0.0)


def tests(people: Population, n: int, replicate: int, seed: int) -> Row:
    """Whether each test rejects a true null hypothesis at the level of 5 %."""
    rng = rng_for(seed, "tests", people.name, n, replicate)
    flip = partial(sign_flip, flips=RESAMPLES, seed=replicate)
    skewed = redrawn(people, n, rng, True)
    found: Row = {"sign flip, skewed change": flip(skewed) <= 0.05, "Wilcoxon, skewed change": wilcoxon(skewed) <= 0.05}
    margin = 2 * float(people.centres.std())
    found["TOST at a true change of the margin"] = tost(skewed + margin, margin).p <= 0.05
    a, b = (means_of(people, n, rng)[0] for _ in range(2))
    found["equal spread, sign flip"] = flip(spread_changes(a, b)) <= 0.05
    found["equal spread, Pitman-Morgan"] = bool(np.ptp(a) and np.ptp(b)) and stats.pearsonr(a + b, a - b).pvalue <= 0.05
    family = [flip(redrawn(people, n, rng)) for _ in range(6)]
    found["any of six contrasts, sign flip, Holm"] = min(holm(family)) <= 0.05
    found["any of six contrasts, sign flip, unadjusted"] = min(family) <= 0.05
    return found


def two_sets(pair: tuple[str, str], n: int, replicate: int, seed: int) -> Row:
    """Test the interaction of n changes with n others, and with 100 others, all with mean zero."""
    rng = rng_for(seed, "two sets", *pair, n, replicate)
    found: Row = {}
    for size, m in (("as many", n), ("100", 100)):
        got = interaction(CHANGES[pair[0]](n, rng), CHANGES[pair[1]](m, rng), seed=replicate, permutations=199)
        found[f"Welch interval, against {size}"] = float(0 in got.difference)
        found[f"none, Welch interval, against {size}"] = float(not got.difference.bounded)
        found[f"interaction by permutation, against {size}"] = got.p_permutation <= 0.05
    return found


@cache
def _over_galleries(edit: str, n: int, seed: int) -> float:
    """The mean change over `GALLERIES` galleries of n categories."""
    found = [searched(edit, n, rng_for(seed, "galleries", edit, n, replicate)) for replicate in range(GALLERIES)]
    return float(np.mean([after.mean() - before.mean() for before, after in found]))


def shared(edit: str, n: int, replicate: int, seed: int) -> Row:
    """Whether each interval of a change contains the mean change over galleries, where all categories share one gallery."""
    before, after = searched(edit, n, rng_for(seed, "shared", edit, n, replicate))
    d, true = after - before, _over_galleries(edit, n, seed)
    found = change_interval(d, flips=RESAMPLES, seed=replicate)
    return _row(found, {"t": stats.t.interval(0.95, n - 1, d.mean(), stats.sem(d))}, true)


QUESTIONS: dict[str, tuple[Callable[[Any, int, int, int], Row], dict[str, Any], float]] = {
    "mean": (intervals, {p.name: p for p in POPULATIONS}, 1.0),
    "change": (changes, {name: name for name in CHANGES}, 1.0),
    "test": (tests, {p.name: p for p in POPULATIONS}, 0.5),
    "difference": (two_sets, {" / ".join(pair): pair for pair in PAIRS}, 0.5),
    "threshold": (thresholds, {"equal sizes": 0.0, "unequal sizes": 1.2}, 0.5),
    "results": (results, {"equal sizes": 0.0, "unequal sizes": 1.2}, 0.5),
    "shared gallery": (shared, {edit: edit for edit in EDITS}, 1.0),
    "model of means": (models_of_means, {p.name: p for p in POPULATIONS}, 0.25),
    "model of changes": (models_of_changes, {name: name for name in CHANGES}, 0.25),
}
"""Question -> function of a replicate, its populations, and the question's share of the replicates."""

SIZES_OF = {question: MODEL_SIZES if question.startswith("model") else SIZES for question in QUESTIONS}

ERRORS = ("sign flip, skewed", "Wilcoxon", "TOST", "equal spread", "any of six", "interaction by")
"""Prefixes of the methods whose rate is the rate of false rejections; the rate of the others is coverage."""


def cell(task: Task, replicates: int) -> pd.DataFrame:
    """Simulate a question for a population and size: a row for each method; `width` is the median width relative to t."""
    seed, question, name, n = task
    ask, populations, share = QUESTIONS[question]
    table = pd.DataFrame([ask(populations[name], n, r, seed) for r in range(max(1, int(replicates * share)))], dtype=float)
    widths = {method: table.pop(method).median() for method in list(table) if method.startswith("width, ")}
    none = {method: table.pop(method).mean() for method in list(table) if method.startswith("none, ")}
    rates, reference = table.mean().fillna(0.0), widths.get("width, t", math.nan)
    return pd.DataFrame(
        {
            "seed": seed,
            "question": question,
            "what": ["type-I error" if method.startswith(ERRORS) else "coverage" for method in table],
            "method": list(table),
            "population": name,
            "categories": n,
            "rate": rates.to_numpy().round(4),
            "none": [round(none.get(f"none, {method}", 0.0), 4) for method in table],
            "error": np.sqrt(rates * (1 - rates) / len(table)).to_numpy().round(4),
            "replicates": len(table),
            "width": [round(widths.get(f"width, {method}", math.nan) / reference, 3) for method in table],
        }
    )


def kept(task: Task, replicates: int, folder: Path) -> pd.DataFrame:
    """Read the cell from its file in a folder, or simulate it and write the file."""
    seed, question, name, n = task
    path = folder / f"{replicates} {seed} {question} {list(QUESTIONS[question][1]).index(name)} {n}.csv"
    if not path.is_file():
        write_text(path, cell(task, replicates).to_csv(index=False))
    return pd.read_csv(path)


def simulate(
    folder: Path,
    replicates: int = REPLICATES,
    seeds: Sequence[int] = SEEDS,
    processes: int = 0,
    sizes: Sequence[int] = SIZES,
    questions: Sequence[str] = tuple(QUESTIONS),
) -> pd.DataFrame:
    """Simulate all cells that have no file in the folder, and return all as one sorted table."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = [(q, n) for n in sorted(sizes, reverse=True) for q in questions if n in SIZES_OF[q]]
    tasks = [(s, q, name, n) for s in seeds for q, n in asked for name in QUESTIONS[q][1]]
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        work = pool.map(partial(kept, replicates=replicates, folder=folder), tasks)
        cells = list(tqdm(work, total=len(tasks), desc="simulating", unit="cell"))
    return pd.concat(cells).sort_values(ORDER, ignore_index=True)


def merged(kept: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """The new rows, and the kept rows of all other cells."""
    cell = ["seed", "question", "categories"]
    others = kept[~kept.set_index(cell).index.isin(new.set_index(cell).index)]
    return pd.concat([others, new]).sort_values(ORDER, ignore_index=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    options.add_argument("--replicates", type=int, default=REPLICATES)
    options.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    options.add_argument(
        "--processes", type=int, default=0, help="number of processes, 0 for the number of cores; the numbers do not depend on it"
    )
    options.add_argument("--questions", nargs="+", default=list(QUESTIONS), choices=list(QUESTIONS))
    options.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="numbers of categories")
    options.add_argument("--out", type=Path, default=OUT)
    given = options.parse_args()
    new = simulate(CELLS, given.replicates, given.seeds, given.processes, given.sizes, given.questions)
    table = merged(pd.read_csv(given.out), new) if given.out.is_file() else new
    table.to_csv(given.out, index=False, lineterminator="\n")
    shutil.rmtree(CELLS)
    print(table.pivot_table(index=["question", "method", "population"], columns=["categories", "seed"], values="rate").to_string())


if __name__ == "__main__":
    main()
