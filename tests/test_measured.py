"""Numbers on photographs that are not part of the project: kept so that tables and figures are those of the measurement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipnb import run
from clipnb.analysis import calibration
from clipnb.manipulations import STUDY
from clipnb.report import threshold_tables
from clipnb.spec import RunSpec
from clipnb.stats.sign_flips import change_interval
from clipnb_book import corrections, tables, values
from clipnb_book.measured import findings, gallery_size, records
from clipnb_book.threshold_sweep import sweeps_of


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records are of the sample scenes by the weak baseline, in place of the real photographs."""
    for name, value in (("SETS", ("sample-scenes",)), ("OFFLINE", "histogram"), ("ENGINE", "torch")):
        monkeypatch.setattr(records, name, value)
    records.write(tmp_path)
    monkeypatch.setattr(records, "_record", lambda name: json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8")))


@pytest.mark.usefixtures("kept")
def test_what_was_kept_gives_the_same_tables_and_verdicts() -> None:
    now = calibration.calibration_of(RunSpec("sample-scenes", encoder="histogram"), progress=False)
    then = records.calibration("sample-scenes")
    assert tables.threshold_table(then) == tables.threshold_table(now)
    assert threshold_tables.threshold_answer(then) == threshold_tables.threshold_answer(now)
    assert len(then.curve.tau) < 250 < len(now.curve.tau)
    at = np.searchsorted(now.curve.tau, then.curve.tau - 1e-6)
    assert np.allclose(now.curve.recall[at], then.curve.recall, atol=1e-6)
    assert np.allclose(now.curve.fpr[at], then.curve.fpr, atol=1e-6)

    swept = sweeps_of([run(RunSpec("sample-scenes", m, "histogram"), progress=False) for m in STUDY])
    assert [(s.holds, s.verdicts) for s in records.sweeps("sample-scenes")] == [(s.holds, s.verdicts) for s in swept]

    corrected, _ = corrections.measured("sample-scenes", "histogram")
    before = records.corrections("sample-scenes")
    assert corrections.corrections_table(before) == corrections.corrections_table(corrected)
    assert corrections.summary(before) == corrections.summary(corrected)
    pd.testing.assert_frame_equal(before.drop(columns="changes"), corrected.drop(columns="changes"), atol=1e-6)


@pytest.mark.parametrize("dataset", records.SETS)
def test_what_is_kept_agrees_with_the_findings(dataset: str) -> None:
    """The three files were measured apart, on the same photographs, and by another engine: the accuracies are the same."""
    assert records._record("thresholds")["about"]["photographs"] == findings.about()["photographs"]
    for manip, sweep in zip(STUDY[1:], records.sweeps(dataset), strict=True):
        change = change_interval(findings.changes(dataset, "efficientnet-lite2", manip))
        at = int(np.argmin(np.abs(sweep.taus - sweep.tau)))
        assert sweep.changes[at].point == pytest.approx(change.point, abs=2e-3)
    frame = records.corrections(dataset)
    assert set(frame["correction"]) == {c.name for c in corrections.CORRECTIONS}
    assert len(frame["changes"].iloc[0]) == findings.counts()[dataset]["categories"]


def test_a_set_without_findings_is_not_listed_as_measured() -> None:
    measured = set(findings.counts())
    assert {card.name for card in records.cards()} > measured
    listed = [line.split("`")[1] for line in values.measured_cards().splitlines()[2:]]
    assert set(listed) == measured


def test_the_whole_gallery_gives_what_the_run_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec("sample-scenes", "blurred", "histogram", severity=3)
    result = run(spec, progress=False)
    sizes = (20, len(result.rows))
    of = {"SPECS": (spec,), "SIZES": {"sample-scenes": sizes}, "SCENES": "sample-scenes", "FILE": tmp_path / "sizes.json"}
    for name, value in of.items():
        monkeypatch.setattr(gallery_size, name, value)
    gallery_size.measure()
    whole = gallery_size.curve("sample-scenes").set_index(["measure", "size"])["value"]
    assert whole["found", sizes[1]] == pytest.approx(result.macro("found").point, abs=1e-4)
    assert f" and {100 * result.macro('found').point:.0f}% of the blurred" in gallery_size.reading()
    assert json.loads((tmp_path / "sizes.json").read_text())["about"]["photographs"].keys() == {"sample-scenes"}


def test_the_committed_curves_agree_with_the_table_of_severities() -> None:
    table, _ = records.severities()
    for spec in gallery_size.SPECS:
        curve = gallery_size.curve(spec.dataset).set_index(["measure", "size"])["value"]
        own = table[(table["dataset"] == spec.dataset) & (table["encoder"] == spec.encoder) & (table["manip"] == "blurred")]
        assert curve["found"].iloc[-1] == pytest.approx(own.set_index("severity")["found"][3], abs=5e-3)
