"""The simulation behind the intervals: reproducible from its seed, and its committed numbers say what the book says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pandas.testing import assert_frame_equal

from clipnb.stats.intervals import mean_interval
from clipnb_book import simulation
from clipnb_book.published.original import printed_log

PATH = Path(__file__).resolve().parent.parent / "benchmarks" / "intervals.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("intervals_benchmark", PATH)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("which", [0, 1])
def test_populations_have_the_printed_means_and_spread(coverage: ModuleType, which: int) -> None:
    people = coverage.POPULATIONS[which]
    printed = np.array(printed_log(("NBA", "MiniPlaces")[which]).total)
    assert people.mean == pytest.approx(printed.mean())
    rng = np.random.default_rng(3)
    means, _ = coverage._means(people, 4_000, rng)
    assert means.mean() == pytest.approx(printed.mean(), abs=0.01)
    assert means.std() == pytest.approx(printed.std(), rel=0.15)


def test_images_are_nested_as_stated(coverage: ModuleType) -> None:
    from clipnb.stats.effect_sizes import nesting

    people, rng = coverage.SCENES, np.random.default_rng(4)
    centres, sizes = people.categories(3_000, rng)
    images = people.images_of(centres, sizes, rng)
    assert nesting(np.split(images, np.cumsum(sizes)[:-1])).icc == pytest.approx(coverage.ICC, abs=0.02)


def test_a_replicate_depends_on_its_name_alone(coverage: ModuleType) -> None:
    asked = [coverage.intervals(coverage.SCENES, 10, r, 7) for r in (0, 1, 2)]
    assert [coverage.intervals(coverage.SCENES, 10, r, 7) for r in (2, 1, 0)] == asked[::-1]
    assert coverage.intervals(coverage.SCENES, 10, 0, 8) != asked[0]


def test_the_number_of_processes_changes_nothing(coverage: ModuleType) -> None:
    one, two = (coverage.simulate(12, 5, processes, (6,), ("two sets", "tests", "intervals")) for processes in (1, 2))
    assert_frame_equal(one, two)


def test_the_committed_table_has_every_cell() -> None:
    table = simulation.simulation()
    assert set(table["categories"]) == {6, 10, 28, 51, 100}
    assert table.groupby(["what", "method", "population"]).size().eq(5).all()
    assert (table["replicates"] >= 250).all()


def test_what_is_called_a_95_percent_interval_is_one() -> None:
    table = simulation.simulation()
    own = table[(table["what"] == "coverage") & (table["method"] == table["categories"].map(simulation.chosen))]
    assert len(own) == 10
    assert own["rate"].between(0.93, 0.97).all()
    naive = table[table["method"] == "t over images, as if independent"]
    assert (naive["rate"] < 0.9).all()
    for g in (6, 28, 51):
        assert mean_interval(np.random.default_rng(g).random(g), resamples=99).method == simulation.chosen(g)


def test_the_page_says_what_covers_too_little() -> None:
    said = simulation.reading()
    assert ": all rates are within 93% to 97%" in said
    assert "not all" not in said
    assert "*BCa* misses that range" in said
    assert "*t over images, as if independent*" in said
    assert simulation.coverage_table().count("**") > 10
