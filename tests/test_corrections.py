"""Each correction alone, and the arithmetic of the page on scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from clipnb.analysis.calibration import calibration_of
from clipnb.execution.pages import state_of
from clipnb.manipulations import STUDY
from clipnb.runs import run
from clipnb.spec import RunSpec
from clipnb_book import corrections, scale
from conftest import REPOSITORY
from test_galleries import build, varied


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return varied(tmp_path_factory.mktemp("corrections") / "photos", {"cats": 8, "dogs": 8, "hats": 8})


def test_each_row_differs_from_the_study_in_one_setting(photos: Path, tmp_path: Path) -> None:
    frame, study = corrections.measured(str(photos), "tiny")
    value = frame.set_index(["correction", "manip"])["value"]
    for manip in STUDY:
        to_the_letter = run(RunSpec(str(photos), manip, "tiny", mode="study"), progress=False)
        assert value["the study's protocol", manip] == pytest.approx(to_the_letter.valid.point)
    corrected = []
    for kind in ("cats", "dogs", "hats"):  # scored with the threshold of the other two
        (tmp_path / kind).mkdir()
        for other in {"cats", "dogs", "hats"} - {kind}:
            (tmp_path / kind / other).symlink_to(photos / other)
        tau = calibration_of(RunSpec(str(tmp_path / kind), encoder="tiny"), progress=False).values["tau_fpr_5"].point
        corrected.append(run(RunSpec(str(photos), "grey", "tiny", tau=tau), progress=False).category_means[kind])
    assert value["all corrected", "grey"] == pytest.approx(np.mean(corrected))
    assert [r.spec.manip for r in study] == list(STUDY)
    change = frame.set_index(["correction", "manip"])["change"]
    assert change["the study's protocol"].eq(0).all()
    assert np.isnan(change["crop at severity 3", "grey"])
    assert not np.isnan(change["crop at severity 3", "cropped"])
    assert (change["own image left out"] < 0).all()  # a query that may find itself has one valid result for nothing
    touched = frame.dropna(subset=["change"])
    assert [len(c) for c in touched["changes"]] == [3] * len(touched)  # cats, dogs, hats
    assert np.allclose([np.mean(c) for c in touched["changes"]], touched["change"])
    assert touched["low"].isna().all()  # three categories are too few
    written = corrections.corrections_table(frame).splitlines()
    assert len(written) == 2 + len(corrections.CORRECTIONS)
    singles = frame[~frame["correction"].isin(["the study's protocol", "all corrected"])]
    most = singles["change"].abs().groupby(singles["correction"]).mean().idxmax()
    assert f"*{most}* is the single correction that changes the share of valid results most" in corrections.summary(frame)
    assert len(corrections.figure({"photos": frame}).axes) == 1


def test_the_arithmetic_by_hand() -> None:
    """1,000 million images: at 312 a second 890 GPU hours; 768 values of two bytes are 1,536 GB, of four 3,072 GB."""
    lines = {what: result for what, _, result in scale.arithmetic(10**9, 10)}
    assert lines["embedding"] == "890 GPU hours"
    assert lines["embedding, time"] == "3.7 days"
    assert lines["embedding, cost"] == "USD 1,781"
    assert lines["embeddings on disk"].startswith("1.5 TB, USD 154 a month")
    assert lines["memory, exact, 32 bits"].startswith("3.07 TB")
    assert lines["memory, HNSW, 16 bits"].startswith("1.79 TB")  # 1,536 bytes and 64 links of 4
    assert lines["memory, IVF with product quantization"].startswith("0.07 TB")


def test_every_decade_was_measured() -> None:
    rows = scale.measured()
    assert {10**3, 10**4, 10**5, 10**6} <= set(rows.query("index == 'exact'")["vectors"])
    assert (rows.query("index == 'exact'")["recall"] == 1).all()
    per_vector = rows["bytes"] / rows["vectors"]
    for index in ("exact", "hnsw"):
        np.testing.assert_allclose(per_vector[rows["index"] == index], scale.bytes_per_vector(index), rtol=0.02)
    assert 0.8 < scale.growth() < 1.3


def test_the_measured_rates_meet_their_limits() -> None:
    """Where FAISS's BLAS computes for the processor that it runs on: at least as fast as a bare matrix product, and ten times
    the service's rate with the same index over the same vectors."""
    rows = pd.read_csv(REPOSITORY / "book" / "clipnb_book" / "data" / "search.csv")
    assert len(scale.speed_table().splitlines()) == 2 + len(rows)
    assert set(rows["kernels"]) == {"Prescott", "SkylakeX"}  # what it does by itself there, and what it is told to
    rates = rows.pivot(index="what", columns="kernels", values="queries_per_second")
    assert rates.loc["clipnb exact", "Prescott"] < rates.loc["torch matmul + topk", "Prescott"]  # as the page says
    rate = rates["SkylakeX"]
    assert rate["clipnb exact"] >= rate["torch matmul + topk"]
    for index in ("exact", "hnsw"):
        assert rate[f"clipnb {index}"] >= 10 * rate[f"clip-retrieval back, {index}"]


def test_a_page_is_out_of_date_when_its_gallery_changed(photos: Path, tmp_path: Path) -> None:
    gallery = build(photos, tmp_path / "gallery")
    spec = RunSpec(str(photos), "grey", "tiny", gallery=str(gallery))
    before = state_of(spec)
    assert state_of(spec) == before
    (gallery / "metadata" / "metadata_0000.parquet").touch()
    assert state_of(spec) != before
