"""The simulation behind the intervals: reproducible from its seed, and its committed numbers say what the book says."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from clipnb.analysis.pair_counts import jackknife_interval
from clipnb.analysis.result_threshold import ResultThreshold
from clipnb.report.coverage import LOW, breaking_points, lowest
from clipnb.report.coverage import simulation as every_seed
from clipnb.report.format import NB, over_categories, percent, points, span, stated
from clipnb.stats.intervals import FEWEST, Interval, t_interval, unpaired_difference
from clipnb.stats.sign_flips import change_interval
from clipnb_book import simulation
from clipnb_book.published.original import printed_log

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "intervals.py"


@pytest.fixture(scope="module")
def coverage() -> Iterator[ModuleType]:
    sys.path.insert(0, str(PATH.parent))
    spec = importlib.util.spec_from_file_location("intervals_benchmark", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(PATH.parent))


@pytest.mark.parametrize("which", [0, 1])
def test_populations_have_the_printed_means_and_spread(coverage: ModuleType, which: int) -> None:
    people = coverage.POPULATIONS[which]
    printed = np.array(printed_log(("NBA", "MiniPlaces")[which]).total)
    assert people.mean == pytest.approx(printed.mean())
    rng = np.random.default_rng(3)
    means, _ = coverage.means_of(people, 4_000, rng)
    assert means.mean() == pytest.approx(printed.mean(), abs=0.01)
    assert means.std() == pytest.approx(printed.std(), rel=0.15)


def test_images_are_nested_as_stated(coverage: ModuleType) -> None:
    from clipnb.stats.effect_sizes import nesting

    people, rng = coverage.POPULATIONS[1], np.random.default_rng(4)
    centres, sizes = people.categories(3_000, rng)
    images = people.images_of(centres, sizes, rng)
    assert nesting(np.split(images, np.cumsum(sizes)[:-1])).icc == pytest.approx(simulation.ICC, abs=0.02)


def test_a_replicate_depends_on_its_name_alone(coverage: ModuleType) -> None:
    asked = [coverage.intervals(coverage.POPULATIONS[1], 10, r, 7) for r in (0, 1, 2)]
    assert [coverage.intervals(coverage.POPULATIONS[1], 10, r, 7) for r in (2, 1, 0)] == asked[::-1]
    assert coverage.intervals(coverage.POPULATIONS[1], 10, 0, 8) != asked[0]


QUICK = ("difference", "test", "mean", "change")


def test_the_number_of_processes_changes_nothing(coverage: ModuleType, tmp_path: Path) -> None:
    one, two = (coverage.simulate(tmp_path / str(n), 2, (5,), n, (6,), QUICK) for n in (1, 2))
    assert_frame_equal(one, two)


def test_a_stopped_simulation_is_resumed(coverage: ModuleType, tmp_path: Path) -> None:
    def simulated() -> pd.DataFrame:
        return coverage.simulate(tmp_path, 2, (5,), 1, (6,), ("change",))

    whole = simulated()
    first, second, *_ = sorted(tmp_path.iterdir())
    first.unlink()
    second.write_text(second.read_text(encoding="utf-8").replace(",coverage,", ",kept,"), encoding="utf-8")
    again = simulated()
    assert again.query("what == 'kept'")["population"].nunique() == 1
    assert_frame_equal(again.replace("kept", "coverage"), whole)


def test_models_agree_with_students_t_where_categories_are_alike_and_have_no_interval_without_spread(coverage: ModuleType) -> None:
    rng = np.random.default_rng(0)
    sizes = np.full(28, 20)
    images = rng.binomial(10, np.repeat(rng.beta(20, 20, 28), 20)) / 10
    means = images.reshape(28, 20).mean(axis=1)
    t = t_interval(means)
    for low, high in (coverage.beta(means), coverage.logistic(images, sizes)):
        assert (low, high) == pytest.approx((t.low, t.high), abs=0.003)
    assert np.isnan(coverage.beta(np.full(6, 0.5))).all()


def test_no_model_covers_enough_everywhere() -> None:
    """What the page says in words."""
    part = every_seed()[every_seed()["question"].str.startswith("model")]
    lowest_rates = part.groupby(["question", "method"])["rate"].min()
    assert (lowest_rates < LOW).all()
    assert simulation.models("model of means").count("covers") == 3
    naive = simulation.simulation().query("question == 'mean' and method == 't over images, as if independent'")
    assert (naive.groupby("categories")["rate"].min() < 0.9).all()


def test_a_data_set_without_an_interval_counts_as_not_covered(coverage: ModuleType) -> None:
    row = coverage.changes("normal", 5, 0, 1)
    assert (row["sign flip"], row["none, sign flip"]) == (0, 1)


def test_the_committed_table_has_every_cell_of_two_seeds(coverage: ModuleType) -> None:
    table = every_seed()
    assert set(table["seed"]) == set(coverage.SEEDS)
    cells = table.groupby("seed").apply(
        lambda part: set(zip(part["question"], part["population"], part["categories"], strict=True))
    )
    asked = coverage.QUESTIONS.items()
    expected = {(q, p, n) for q, (_, populations, _) in asked for p in populations for n in coverage.SIZES_OF[q]}
    assert all(found == expected for found in cells)
    assert set(coverage.SIZES) == {5, 6, 10, 28, 51, 100}
    assert all(len(coverage.QUESTIONS[q][1]) >= 8 for q in ("mean", "change", "difference", "test"))
    expected_sizes = {q: int(coverage.REPLICATES * share) for q, (_, _, share) in coverage.QUESTIONS.items()}
    assert table.groupby("question")["replicates"].unique().map(list).to_dict() == {q: [n] for q, n in expected_sizes.items()}


def test_the_second_seed_confirms_the_first() -> None:
    first, second = (part.set_index(["method", "population", "categories"]) for _, part in every_seed().groupby("seed"))
    gap = (first["rate"] - second["rate"]).abs()
    assert gap.max() < 5 * (0.25 / 200 * 2) ** 0.5  # five standard errors of the least certain difference
    assert f"the largest difference is {100 * gap.max():.1f} points" in simulation.agreement()
    for part in (first, second):
        means = part[part["question"] == "mean"].groupby("method")["rate"].min()
        assert list(means[means >= LOW].index) == [simulation.CHOSEN["mean"]], "the narrowest that covers everywhere"


def test_a_gallery_that_categories_share_makes_no_interval_too_narrow() -> None:
    part = every_seed().query("question == 'shared gallery' and none < 1")
    assert part["rate"].min() > LOW
    assert part["rate"].mean() > simulation.NOMINAL


def test_welchs_test_fails_between_few_categories_and_many_where_one_can_collapse() -> None:
    """What the page says in words of the interval and of the permutation test."""
    part = simulation.simulation().query("question == 'difference' and categories == 6")
    rates = part.pivot(index="method", columns="population", values="rate")
    collapse = [name for name in rates if "collapse" in name]
    many, few = (rates.loc[f"Welch interval, against {size}"] for size in ("100", "as many"))
    assert many[collapse].min() < 0.7
    assert 1 - many.min() > rates.loc["interaction by permutation, against 100"].max()
    assert abs(1 - few.min() - rates.loc["interaction by permutation, against as many"].max()) < 0.05


def test_the_interval_of_a_change_covers_what_student_s_t_covers_and_five_categories_have_none() -> None:
    table = simulation.simulation()
    part = table[table["question"] == "change"].pivot(index=["population", "categories"], columns="method", values="rate")
    six = part.drop(index=5, level="categories")
    assert (six["sign flip"] > six["t"] - 0.1).all()
    assert six["sign flip"].drop(index=["15% of categories change", "5% of categories collapse"], level="population").min() > 0.85
    assert (part.xs(5, level="categories")["sign flip"] == 0).all()


@pytest.mark.parametrize(
    ("documented", "question", "method", "population"),
    [
        (jackknife_interval, "threshold", "jackknife", "^equal"),
        (jackknife_interval, "threshold", "jackknife", "^unequal"),
        (ResultThreshold, "results", "jackknife", ""),
        (unpaired_difference, "difference", "Welch interval, against as many", ""),
        (unpaired_difference, "difference", "Welch interval, against 100", ""),
        (change_interval, "change", "sign flip", ""),
        (t_interval, "mean", "t$", ""),
    ],
)
def test_docstrings_say_what_an_interval_covers(
    documented: Callable[..., Interval], question: str, method: str, population: str
) -> None:
    part = simulation.simulation().query(f"question == '{question}' and categories >= {FEWEST}")
    rates = part[part["method"].str.match(method) & part["population"].str.contains(population)]["rate"]
    assert f"{rates.min():.1%} to {rates.max():.1%}" in " ".join((documented.__doc__ or "").split())


def test_an_interval_says_beside_its_bounds_what_it_covers_where_that_is_little() -> None:
    rates = every_seed().query("question == 'change' and method == 'sign flip' and categories == 6")
    worst = math.floor(100 * rates.groupby("population")["rate"].mean().min())
    assert worst < 50
    change = Interval(-0.2, -0.3, -0.1, "sign flip", 9)  # as with six categories, the next smaller number that was simulated
    assert span(change, points).endswith(f"−10.0; covers ≥{NB}{worst}%")
    assert stated(change).endswith(f"; covers ≥{NB}{worst}%")
    said = f"over categories; in simulations ≥{NB}{worst}% of such intervals held the true value"
    assert over_categories([change, change]).endswith(said)
    for enough in (Interval(0.2, 0.1, 0.3, "Gaffke", 6), Interval(0.2, 0.1, 0.3, "t", 6, level=0.9), Interval(1, 0, 2, "given", 6)):
        assert "covers" not in span(enough) + span(enough, percent)
    few = breaking_points().query("method == 'inverted t' and categories == 6").groupby("population")["rate"].mean().min()
    assert lowest("inverted t", 6) == pytest.approx(few)
    assert few < LOW < lowest("inverted t", 10)


def test_the_page_says_what_covers_too_little() -> None:
    said = simulation.reading()
    assert "*Gaffke* (mean) covers" in said
    assert "5% of categories collapse" in said
    assert simulation.worst_table("mean").count("**") > 10
    assert "| none |" in simulation.coverage_table("change")
    assert simulation.error_table().count("\n") > 6
