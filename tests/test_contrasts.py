"""Contrasts of runs and logs, and the commands that show and write them."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from clipnb import Result, RunSpec, UserError, load_results, run, study_log
from clipnb.analysis.compare import compare, measures
from clipnb.analysis.contrasts import contrast, contrasts, contrasts_frame, interaction_contrasts, interactions_frame
from clipnb.analysis.families import FEW_CHANGED, too_few, with_roles
from clipnb.analysis.scores import Scores, of_log, of_result, paired_changes, read_log
from clipnb.cli import main
from clipnb.encoders import ENCODERS
from clipnb.report.coverage import LOW, simulation
from clipnb.report.tables import all_tables, printable, runs_frame, write
from clipnb.stats.hypothesis import holm, interaction, tost
from clipnb.stats.sign_flips import sign_flip
from clipnb_book.published import original
from conftest import PhotoFolder, Printed, TinyEncoder, one_line, tiny_run

NAN = math.nan


class OtherEncoder(TinyEncoder):
    """The same on inverted photographs: another encoder with other numbers."""

    name = "tiny-other"
    identity = "tiny|other"

    def encode(self, batch: np.ndarray) -> np.ndarray:
        return super().encode(np.roll(batch, 3, axis=2)[:, ::-1] // 2)


ENCODERS.register(lambda name, compute: OtherEncoder(), "tiny-other")


def named(condition: str, images: dict[str, dict[str, float]], dataset: str = "set") -> Scores:
    values, names = {c: list(row.values()) for c, row in images.items()}, {c: list(row) for c, row in images.items()}
    return Scores(dataset, condition, values, names)


BEFORE = named("original", {"a": {"1": 0.9, "2": 0.5, "3": 0.7}, "b": {"1": 1.0}, "gone": {"1": 1.0}, "c": {"1": 0.4}})
AFTER = named("grey", {"a": {"2": 0.4, "1": 0.5, "3": NAN}, "b": {"1": 0.8, "new": 0.0}, "c": {"1": NAN}})


def test_images_are_paired_by_name_and_those_without_a_pair_left_out() -> None:
    changes = paired_changes(BEFORE, AFTER)
    assert list(changes) == ["a", "b"]
    assert_allclose(changes["a"], [-0.4, -0.1])
    assert_allclose(changes["b"], [-0.2])
    with pytest.raises(UserError, match="no category has a score in original and in grey: "):
        contrast(named("original", {"a": {"1": 1.0}}), named("grey", {"b": {"1": 1.0}}))


def test_a_contrast_averages_within_a_category_first() -> None:
    found = contrast(BEFORE, AFTER)
    assert_allclose(found.values, [-0.25, -0.2])
    assert found.interval.point == pytest.approx(-0.225)
    assert (found.paired_by, found.images, found.interval.n, found.effect) == ("image", 3, 2, -1)
    assert found.p == sign_flip([-0.25, -0.2]) == 0.5


def test_logs_are_paired_by_category() -> None:
    before, after = study_log.StudyLog("original", {"a": [1.0, 0.5], "b": [0.5]}, []), study_log.StudyLog("grey", {"a": [0.5]}, [])
    found = contrast(of_log(before, "set"), of_log(after, "set"))
    assert found.changes == {"a": -0.25}
    assert (found.paired_by, found.images) == ("category", 1), "the later log has a score of one image"
    assert math.isnan(found.nesting.icc)


def changed(dataset: str, shift: float, n: int, seed: int) -> list[Scores]:
    rng = np.random.default_rng(seed)
    clean = {f"{i}": {"x": float(v)} for i, v in enumerate(rng.uniform(0.6, 1, n))}
    after = {c: {"x": row["x"] + shift + float(rng.normal(0, 0.05))} for c, row in clean.items()}
    return [named("original", clean, dataset), named("grey", after, dataset)]


def test_the_family_is_adjusted_by_holm_and_the_interaction_is_between_changes() -> None:
    figures, scenes = changed("figures", -0.3, 12, 1), changed("scenes", -0.02, 14, 2)
    family = contrasts([*figures, *scenes])
    frame = contrasts_frame(family)
    assert frame["dataset"].tolist() == ["figures", "scenes"]
    assert_allclose(frame["p_holm"], holm([c.p for c in family]))
    (pair,) = interaction_contrasts(family[:1], family[1:])
    assert pair.test.p == interaction(family[0].values, family[1].values).p < 0.05
    assert pair.effect < -0.9
    assert frame["verdict"].tolist() == ["a loss", "cannot tell"]
    assert interactions_frame([pair])["verdict"].tolist() == ["a loss"]
    still = [dataclasses.replace(clean, condition="cropped") for clean in (figures[0], scenes[0])]
    assert contrasts_frame(contrasts([*figures, *scenes, *still]))["detectable"].isna().tolist() == [False, False, True, True]
    assert interactions_frame([pair])["difference"][0] == pytest.approx(frame["change"][0] - frame["change"][1])
    assert_allclose(interactions_frame([pair, pair])["p_holm"], holm([pair.test.p] * 2))


@pytest.fixture
def runs(photo_folder: PhotoFolder, own_results: Path) -> list[Result]:
    root = photo_folder({"cats": 4, "dogs": 4, "owls": 4})
    made = [tiny_run(root, manip, encoder=encoder) for encoder in ("tiny", "tiny-other") for manip in ("original", "grey")]
    for result in made:
        result.save()
    return made


def test_two_runs_are_compared_by_id_folder_or_log(runs: list[Result], tmp_path: Path) -> None:
    clean, grey = (r.spec.run_id for r in runs[:2])
    assert measures(clean, grey) == ("found", "p1", "valid")
    (by_id,) = compare(clean, grey, "valid")
    with one_line("compare takes names of saved runs, not results: after result.save.., result.spec.run_id is its name"):
        compare(clean, runs[0])  # type: ignore[arg-type]
    (by_folder,) = compare(tmp_path / "results" / clean, str(tmp_path / "results" / grey / "run.json"), "valid")
    assert by_id.changes == by_folder.changes
    logs = [str(next((tmp_path / "results" / name).glob("clip_output_*.json"))) for name in (clean, grey)]
    (by_log,) = compare(*logs)
    assert_allclose(list(by_log.changes.values()), list(by_id.changes.values()), atol=1e-12)
    assert (by_id.paired_by, by_log.paired_by, by_id.images, by_log.images) == ("image", "category", 12, 12)


def test_two_encoders_are_compared_on_all_that_both_have(runs: list[Result]) -> None:
    found = compare("tiny", "tiny-other", "ap")
    assert [c.dataset for c in found] == ["photos, original", "photos, grey"]
    expected = paired_changes(of_result(runs[1], "ap"), of_result(runs[3], "ap"))
    assert_allclose(found[1].values, [np.mean(v) for v in expected.values()])


def test_two_encoders_are_not_compared_at_one_threshold(runs: list[Result], tmp_path: Path) -> None:
    clean, other = runs[0].spec.run_id, runs[2].spec.run_id
    for a, b in (("tiny", "tiny-other"), (clean, other)):
        with pytest.raises(UserError, match="valid depends on how an encoder spreads its distances: compare encoders by found"):
            compare(a, b, "accuracy")
        assert [compare(a, b)[0].interval.point] == [0.0], "every clean photograph finds itself"
    calibrated = dataclasses.replace(runs[2].spec, tau=0.7)
    run(calibrated, progress=False).save()
    assert compare(clean, calibrated.run_id, "valid")[0].images == 12


def test_settings_that_differ_are_named(runs: list[Result], own_results: Path, printed: Printed) -> None:
    clean, grey = runs[:2]
    other = run(dataclasses.replace(grey.spec, k=3, tau=0.7), progress=False)
    folders = [result.save() for result in (clean, other)]
    said = 'the settings differ: k 2 and 3, tau 0.8 and 0.7; "this threshold" of a verdict is the first'
    assert printed("compare", clean.spec.run_id, other.spec.run_id).splitlines()[-1] == said
    logs = [str(next(folder.glob("clip_output_*.json"))) for folder in folders]
    assert printed("compare", *logs).splitlines()[-1] == said
    for same in (["tiny", "tiny-other"], [clean.spec.run_id, grey.spec.run_id], [grey.spec.run_id, runs[3].spec.run_id]):
        assert "settings" not in printed("compare", *same)
    (folders[0] / "run.json").write_text("{}")  # logs are compared as before, whatever else lies beside them
    assert "settings differ" not in printed("compare", *logs)


def test_what_cannot_be_compared_is_one_line(
    runs: list[Result], photo_folder: PhotoFolder, tmp_path: Path, printed: Printed
) -> None:
    other = tiny_run(photo_folder({"cats": 3, "dogs": 3}, "else"), "original")
    other.save()
    results = tmp_path / "results"
    log, of_encoder, of_photos = (str(next((results / r.spec.run_id).glob("clip_*"))) for r in (runs[0], runs[2], other))
    foreign = [tmp_path / f"clip_output_{name}_original.json" for name in ("photos", "else")]
    for path in foreign:
        path.write_text('{"original": {"cats": [0.5]}}')
    clean, grey = (r.spec.run_id for r in runs[:2])
    for typed, why in (
        ([clean, other.spec.run_id], "different photographs"),
        ([clean, "nothing"], "neither a run nor a log"),
        (["nothing", "tiny"], "encoders with runs: tiny, tiny-other"),
        ([log, str(tmp_path / "missing.json")], "No such file"),
        ([log, log, "--measure", "ap"], "valid"),
        ([log, of_encoder], "depends on how an encoder spreads its distances"),
        ([clean, of_encoder], "depends on how an encoder spreads its distances"),
        ([log, of_photos], "different photographs"),
        ([*map(str, foreign)], "different photographs"),
        ([clean, grey, "--measure", "beauty"], "choose from found"),
    ):
        said = printed("compare", *typed, status=1)
        assert why in said
        assert said.count("\n") == 1


def test_runs_of_different_code_of_one_encoder_are_not_compared(
    runs: list[Result], own_results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, grey = runs[:2]
    long_ago = clean.provenance | {"created": "2026-01-01T00:00:00+00:00"}
    old = dataclasses.replace(clean, spec=dataclasses.replace(clean.spec, k=3), provenance=long_ago)
    logs = [next((own_results / r.spec.run_id).glob("clip_*")) for r in (clean, grey)]
    monkeypatch.setattr(TinyEncoder, "identity", "tiny|edited code")
    run(grey.spec, progress=False).save()
    old.save()
    what = f"{grey.spec.run_id} used other code or weights than {clean.spec.run_id}: left out; run the older one again"
    with pytest.warns(UserWarning, match=what) as said:
        (left,) = compare("tiny", "tiny-other")
    assert left.dataset == "photos, original"
    alone = f"2 runs have no counterpart of the other encoder: left out ({old.spec.run_id}, photos-grey-tiny-other-k2)"
    assert {str(w.message) for w in said} == {what, alone}, "the clean runs are of one code"
    lone = shutil.copy(logs[1], own_results.parent / logs[1].name)
    for pair in ((clean.spec.run_id, grey.spec.run_id), map(str, logs), (str(logs[0]), str(lone))):
        assert main(["compare", *pair]) == 1
        printed = capsys.readouterr()
        assert "are of different code or weights of 'tiny' and cannot be compared: run the older one again" in printed.err
        assert (printed.out, printed.err.count("\n")) == ("", 1)
    run(clean.spec, progress=False).save()
    with pytest.warns(UserWarning, match=rf"{old.spec.run_id} used other code or weights than {clean.spec.run_id}"):
        assert [c.dataset for c in compare("tiny", "tiny-other")] == ["photos, original", "photos, grey"]
    assert compare(clean.spec.run_id, grey.spec.run_id)[0].images == 12
    before = shutil.copytree(own_results / grey.spec.run_id, own_results.parent / "before")
    monkeypatch.setattr(TinyEncoder, "identity", "tiny|edited again")
    run(grey.spec, progress=False).save()
    with pytest.warns(UserWarning, match="before and .* are of different code or weights of 'tiny'$"):
        assert compare(str(before), grey.spec.run_id)[0].images == 12, "one condition shows the effect of the code"


def test_pairs_of_runs_that_are_left_out_are_named(runs: list[Result], own_results: Path, printed: Printed) -> None:
    first, second = (tiny_run(runs[0].spec.dataset, "grey", 3, encoder) for encoder in ("tiny", "tiny-other"))
    changed = dataclasses.replace(second, provenance=second.provenance | {"data_fingerprint": "others"})
    unfound = [dataclasses.replace(r, rows=r.rows.assign(found=NAN, found_rr=NAN)) for r in runs[:2]]
    for result in (first, changed, *unfound):
        result.save()
    why = f"{first.spec.run_id} and {changed.spec.run_id} have different photographs and cannot be paired: left out"
    with pytest.warns(UserWarning, match=why):
        said = printed("compare", "tiny", "tiny-other")
    assert [line.split(":")[0] for line in said.splitlines() if " minus " in line] == ["p1", "map"]
    no_value = "tiny and tiny-other have no pair of runs with values of found: choose another --measure"
    with pytest.warns(UserWarning, match=why), pytest.raises(UserError, match=no_value):
        compare("tiny", "tiny-other", "found")
    assert measures(*(r.spec.run_id for r in unfound)) == ("p1", "valid")
    second.save()
    with pytest.warns(UserWarning, match=f"{unfound[1].spec.run_id} and .* do not both have values of found: left out"):
        assert [c.dataset for c in compare("tiny", "tiny-other")] == ["photos, grey"]


def test_equal_pairs_of_runs_are_counted_once_and_others_named_by_their_settings(runs: list[Result]) -> None:
    root = runs[0].spec.dataset
    for encoder in ("tiny", "tiny-other"):
        for settings in ({"tau": 0.5}, {"per_category": 3}):  # mAP depends on the second alone
            tiny_run(root, "grey", 2, encoder, **settings).save()
    with pytest.warns(UserWarning, match=r"tau0\.5 and .*-tau0\.5 have the values of a pair with other settings: counted once"):
        found = compare("tiny", "tiny-other", "map")
    names = ["photos, original", "photos, grey (photos-tiny-k2)", "photos, grey (photos-tiny-k2-per_category3)"]
    assert sorted(c.dataset for c in found) == sorted(names)
    with pytest.raises(UserError, match="tiny is compared with itself: name two encoders"):
        compare("tiny", "tiny", "map")
    tiny_run(root, "grey", 4, "histogram").save()
    with pytest.raises(UserError, match=r"no pair of runs .* and settings: the settings differ: k 4 and 2"):
        compare("histogram", "tiny")


def test_logs_of_other_weights_than_the_clean_one_are_left_out(
    runs: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, grey = (next((tmp_path / "results" / r.spec.run_id).glob("clip_*")) for r in runs[:2])
    grey.write_text(grey.read_text().replace(runs[1].provenance["encoder"]["identity"], "tiny|replaced weights"))
    assert main(["analyse", str(clean), str(grey)]) == 0
    said = capsys.readouterr()
    assert (
        "clip_output_photos_grey.json used other photographs, weights or code than the clean run: left out; run the older one again"
        in said.err
    )
    assert "Change from" not in said.out


def test_compare_prints_and_writes_table_and_picture(runs: list[Result], tmp_path: Path, printed: Printed) -> None:
    said = printed("compare", "tiny", "tiny-other", "--out", str(tmp_path / "out"))
    assert "found: tiny-other minus tiny, paired by image; no interval: " in said
    assert "no spread between categories, 3 categories are too few" in said
    assert "exploratory" in said
    alone = "photos, original; photos, grey: with 3 categories p is at least 0.25; no loss or gain can be decided"
    assert said.count(alone) == 3, "for each measure, as clipnb analyse says it"
    pictures = [f"contrasts-{measure}.png" for measure in ("found", "map", "p1")]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["compare.csv", "compare.md", "compare.tex", *pictures]
    frame = pd.read_csv(tmp_path / "out" / "compare.csv")
    expected = [c.interval.point for measure in ("found", "p1", "map") for c in compare("tiny", "tiny-other", measure)]
    assert_allclose(frame["change"], expected)
    tex = (tmp_path / "out" / "compare.tex").read_text(encoding="utf-8")
    assert "\\begin{tabular}" in tex
    assert "photos, grey" in tex


def test_export_writes_every_table_in_every_format(runs: list[Result], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--out", str(tmp_path / "out"), "--format", "csv", "parquet", "tex", "md"]) == 0
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {f"{t}.{f}" for t in ("runs", "categories", "contrasts", "queries") for f in ("csv", "parquet", "tex", "md")}
    table = pd.read_csv(tmp_path / "out" / "runs.csv").fillna("")
    assert set(table["run"]) == {r.spec.run_id for r in runs}
    by_run = table.set_index("run")
    assert by_run.loc[runs[1].spec.run_id, "valid"] == pytest.approx(runs[1].valid.point)
    for measure, method in (("found", "Gaffke"), ("valid", "Gaffke"), ("shift", "")):  # three categories are too few for t
        assert set(by_run[f"{measure}_interval"]) == {method}
        names = [r.spec.run_id for r in runs[:2]]
        assert main(["analyse", *names, "--measure", measure, "--out", str(tmp_path / measure)]) == 0
        means = pd.read_csv(tmp_path / measure / "conditions.csv").fillna("")
        exported = by_run.loc[names, [measure, *(f"{measure}_{end}" for end in ("low", "high", "interval"))]]
        columns = ["mean", "low", "high", "interval"]
        pd.testing.assert_frame_equal(means[columns], exported.reset_index(drop=True).set_axis(columns, axis=1))
    queries = pd.read_parquet(tmp_path / "out" / "queries.parquet")
    again = queries[queries["run"] == runs[1].spec.run_id].groupby("category")["valid"].mean()
    assert_allclose(again, list(runs[1].category_means.values()))
    changes = pd.read_csv(tmp_path / "out" / "contrasts.csv")
    assert changes.groupby("encoder", sort=False)["measure"].apply(list).tolist() == [["found", "p1", "map", "valid"]] * 2
    assert main(["analyse", "photos", "--encoder", "tiny", "--out", str(tmp_path / "analysed")]) == 0
    analysed = pd.read_csv(tmp_path / "analysed" / "contrasts.csv")
    own = changes[(changes["encoder"] == "tiny") & (changes["measure"] == "found")]
    pd.testing.assert_frame_equal(own[analysed.columns].reset_index(drop=True), analysed)
    for kind in ("tex", "md"):
        shown = (tmp_path / "out" / f"runs.{kind}").read_text(encoding="utf-8")
        assert all(name in shown for name in ("run", "queries", "found", "p1", "map", "valid"))
        assert "precision" not in shown
    assert " more columns are in other formats" in (tmp_path / "out" / "runs.tex").read_text(encoding="utf-8")


def test_float_noise_is_zero_in_tables_for_reading_and_a_small_p_is_not(tmp_path: Path) -> None:
    frame = pd.DataFrame({"change": [9.021e-18, -5.421e-17, -0.0, 2e-9], "p_holm": [1e-18, 1e-3, math.nan, 1.0], "n": [1, 2, 3, 4]})
    cells = [["0", "0", "0", "2e-09"], ["1e-18", "0.001", "", "1"], ["1", "2", "3", "4"]]
    for kind, between in (("md", "|"), ("tex", "&")):
        lines = write(frame, tmp_path / f"small.{kind}").read_text(encoding="utf-8").replace("\\\\", "").splitlines()
        found = [[cell.strip() for cell in line.strip("|").split(between)] for line in lines if between in line][-4:]
        assert [list(column) for column in zip(*found, strict=True)] == cells
    assert printable(frame).split("\n")[1].split() == ["0", "1e-18", "1"]
    assert pd.read_csv(write(frame, tmp_path / "small.csv"))["change"][0] == 9.021e-18


def test_measures_without_a_value_have_no_exported_contrasts(photo_folder: PhotoFolder, own_results: Path) -> None:
    flat = photo_folder({"cats": 4}) / "cats"  # no photograph has another of its kind
    found = all_tables([tiny_run(flat, manip) for manip in ("original", "grey")])["contrasts"]
    assert found["measure"].tolist() == ["found", "valid"]


def test_a_table_without_rows_is_not_written(
    runs: list[Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], printed: Printed
) -> None:
    monkeypatch.setenv("CLIPNB_RESULTS", str(tmp_path / "one"))
    assert "clipnb report" in printed("export", "--out", str(tmp_path / "out"), status=1)
    runs[0].save()
    assert main(["export", "--out", str(tmp_path / "out")]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"runs.csv", "categories.csv", "queries.csv"}
    assert capsys.readouterr().err == "contrasts: not written, because it has no rows\n"


def test_logs_of_other_programs_with_comments_are_analysed(tmp_path: Path, printed: Printed) -> None:
    for dataset, fall in (("Cats", 0.3), ("Roads", 0.0)):
        for manip, low in (("original", 0.0), ("grey", fall)):
            rows = ",\n".join(f'  "c{i}": [{0.9 - low - i / 100}, {0.8 - low}, ]' for i in range(8))
            (tmp_path / f"clip_output_{dataset}_{manip}.json").write_text(
                f'{{"{manip}": {{ // by hand\n{rows},\n  /* all */ "total": []\n}}}}', encoding="utf-8"
            )
    said = printed("analyse", str(tmp_path), "--out", str(tmp_path / "out"))
    assert "Interaction: change on Cats minus change on Roads" in said
    frame = pd.read_csv(tmp_path / "out" / "contrasts.csv")
    assert_allclose(frame["change"], [-0.3, 0], atol=1e-9)
    assert frame["p_holm"].tolist() == [2 * 2 / 2**8, 1]
    assert (tmp_path / "out" / "contrasts.png").stat().st_size > 1000


def test_the_studys_own_logs_are_analysed(capsys: pytest.CaptureFixture[str]) -> None:
    """They are shortened, and count by the means that they list."""
    assert main(["analyse", str(Path(original.__file__).parent / "data")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "51 0.9615" in said
    assert "28 0.7301" in said


def test_found_is_analysed_and_a_threshold_that_does_not_fit_is_not_called_no_change(
    photo_folder: PhotoFolder, printed: Printed, own_results: Path
) -> None:
    root = photo_folder(dict.fromkeys("abcdefg", 2))
    for manip in ("original", "grey"):
        tiny_run(root, manip, tau=1e-3).save()
    said = printed("analyse", str(root), "--encoder", "tiny", "--k", "2", "--tau", "0.001").splitlines()
    assert said[0] == "found: mean over categories"
    said = printed("analyse", str(root), "--encoder", "tiny", "--k", "2", "--tau", "0.001", "--measure", "valid")
    assert said.startswith("photos: 100% of the clean queries have no valid result")
    assert "cannot tell at this threshold" in said
    assert "no change" not in said


def test_exports_name_the_method_of_each_interval(photo_folder: PhotoFolder) -> None:
    frame = runs_frame([tiny_run(photo_folder(dict.fromkeys("abcdef", 2)), "grey", 1)])
    assert frame[["found_interval", "valid_interval", "shift_interval"]].values.tolist() == [["Gaffke", "Gaffke", "t"]]


def test_categories_without_a_score_are_named(photo_folder: PhotoFolder, printed: Printed, own_results: Path) -> None:
    for manip in ("original", "grey"):
        tiny_run(photo_folder({"cats": 3, "dogs": 3, "alone": 1}, manip + "/pets"), manip).save()
    said = printed("analyse", "pets", "--encoder", "tiny", "--k", "2", "--measure", "p1")
    assert said.count("pets: no image has a score in alone\n") == 1
    assert "no image has a score" not in printed("analyse", "pets", "--encoder", "tiny", "--k", "2")


def test_analyse_takes_a_measure_a_margin_and_a_primary_condition(
    photo_folder: PhotoFolder, tmp_path: Path, printed: Printed, own_results: Path
) -> None:
    roots = [photo_folder(dict.fromkeys(kinds, 3), name) for name, kinds in (("pets", "abcd"), ("roads", "efghi"))]
    made = {}
    for root in roots:
        for manip, severity in (("original", 0), ("grey", 0), ("blurred", 0), ("grey", 2), ("grey", 5)):
            result = tiny_run(root, manip, severity=severity)
            result.save()
            made[root.name, result.spec.condition_id] = result
    asked = ["analyse", *map(str, roots), "--encoder", "tiny", "--k", "2", "--measure", "shift", "--out", str(tmp_path / "out")]
    assert "TOST" in printed(*asked, "--margin", "0.05")
    once = printed(*asked[:-2])
    for again in (str(roots[0]), f"{roots[0]}/", "pets-tiny-k2", "pets-grey-s5-tiny-k2"):
        same = sorted(printed("analyse", again, *asked[1:-2]).splitlines())
        assert same == sorted(once.splitlines()), "a run that two names stand for counts once"

    def table(name: str) -> pd.DataFrame:
        return pd.read_csv(tmp_path / "out" / f"{name}.csv")

    for name, column, sets in (("contrasts", "after", 2), ("interactions", "condition", 1)):
        frame = table(name)
        assert frame[column].tolist() == ["blurred", "grey"] * sets + ["grey/2", "grey/5"] * sets
        roles = ["planned" if fixed else "exploratory" for fixed in frame[column].isin(["grey", "blurred"])]
        assert frame["role"].tolist() == roles, "the fixed settings are the family, severities are exploratory"
        for _, part in frame.groupby("role"):
            assert_allclose(part["p_holm"], holm(part["p"].tolist()))
    clean, grey = (of_result(made["pets", condition], "shift") for condition in ("original", "grey-s5"))
    changes = contrast(clean, grey).values
    row = table("equivalence").query("dataset == 'pets' and condition == 'grey/5'").iloc[0]
    assert row["change"] == pytest.approx(np.mean(changes))
    assert row["p"] == pytest.approx(tost(changes, 0.05).p, nan_ok=True)
    assert len(table("equivalence")) == 8 + 4

    for spelled in ("grey-s5", "grey/5"):
        assert main([*asked, "--primary", spelled]) == 0
        for name, column in (("contrasts", "after"), ("interactions", "condition")):
            frame = table(name)
            assert set(frame[frame["role"] == "primary"][column]) == {"grey/5"}
            assert set(frame["role"]) == {"primary", "exploratory"}
    first = table("interactions").iloc[0]
    assert first["p"] == pytest.approx(first["p_holm"], nan_ok=True)
    default = "planned: conditions at a fixed setting; --primary CONDITION plans one condition in their place"
    assert default in printed(*asked).splitlines()
    assert default not in printed(*asked, "--primary", "grey/5")
    for wrong, said in (
        ([*asked, "--margin", "0"], "margin must be above 0, not 0"),
        ([*asked, "--margin", "2"], "--margin 2 allows every change: shift is from 0 to 2 (5 points: 0.05)"),
        ([*asked, "--measure", "p1", "--margin", "5"], "--margin 5 allows every change: p1 is from 0 to 1 (5 points: 0.05)"),
        ([*asked, "--primary", "gry"], "--primary 'gry' is not a condition of a change (did you mean 'grey' or"),
        ([*asked, "--measure", "beauty"], "unknown measure 'beauty'"),
        (["analyse", str(Path(original.__file__).parent / "data"), "--measure", "map"], "valid@k but not 'map'"),
    ):
        errors = printed(*wrong, status=1)
        assert said in errors
        assert errors.count("\n") == 1


def test_data_sets_and_families_that_cannot_be_decided_are_named() -> None:
    def table(*sizes: int) -> pd.DataFrame:
        named = {"dataset": [f"of {n}" for n in sizes], "after": "grey", "role": "planned"}
        return pd.DataFrame(named | {"categories": sizes, "changed": sizes, "low": -0.1})

    alone = "of 5: with 5 categories p is at least 0.0625; no loss or gain can be decided"
    assert too_few(table(5, 100)) == [alone]
    assert too_few(table(6, 6)) == ["planned: with 6 categories p is at least 0.0312; adjusted over 2 changes none reaches 0.05"]
    assert too_few(table(5)) == [alone]
    assert too_few(table(6)) == too_few(table(6, 7)) == []


def test_an_interval_that_rests_on_few_categories_is_named() -> None:
    def said(changed: int, categories: int) -> list[str]:
        d = {str(i): 0.1 + 0.01 * i if i < changed else 0.0 for i in range(categories)}
        family = contrasts(
            [Scores("roads", "original", {c: [0.5] for c in d}), Scores("roads", "grey", {c: [0.5 + v] for c, v in d.items()})]
        )
        return too_few(with_roles(family, contrasts_frame))

    assert said(8, 40) == ["roads, grey: 8 of 40 categories change; its interval is too narrow"]
    assert said(10, 40) == said(8, 12) == []
    # what the simulation says of populations of which 15% change
    part = simulation().query("population == '15% of categories change' and method == 'sign flip' and none < 1")
    few = part["categories"] * 0.15 < FEW_CHANGED
    assert (part[few].groupby("categories")["rate"].mean() < LOW).all()
    assert (part[~few].groupby("categories")["rate"].mean() >= LOW).all()


def test_a_log_names_its_data_set(tmp_path: Path) -> None:
    log = study_log.dumps("grey", {"a": [1.0]})
    for name, dataset in (("clip_output_my_set_grey.json", "my_set"), ("clip_output_set_Grey.json", "set"), ("odd.json", "odd")):
        (tmp_path / name).write_text(log, encoding="utf-8")
        assert read_log(tmp_path / name).dataset == dataset


def test_markup_in_latex_and_markdown_tables_is_escaped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"run_id": ["a_b & 50% | $x$"], "n": [1.23456], "none": [NAN]})
    assert r"a\_b \& 50\% | \$x\$ & 1.235 &" in write(frame, tmp_path / "t.tex").read_text(encoding="utf-8")
    assert r"a\_b \& 50% \| \$x\$" in write(frame, tmp_path / "t.md").read_text(encoding="utf-8")
    with pytest.raises(UserError, match="unknown format 'xlsx'; choose from csv"):
        write(frame, tmp_path / "t.xlsx")


def test_a_wide_latex_table_says_in_its_caption_what_all_rows_share(tmp_path: Path) -> None:
    columns = {f"value_{i}": [i, i + 0.5] for i in range(9)}
    frame = pd.DataFrame({"set": ["a_b", "a_b"], "hash": ["x" * 64, "y" * 64], **columns})
    tex = write(frame, tmp_path / "t.tex", "Nine values").read_text(encoding="utf-8")
    assert "\\caption{Nine values. In all rows: set a b. Only in other formats: hash}" in tex
    assert "x" * 64 not in tex
    assert "\\rotatebox{90}{value 8}" in tex
    assert tex.startswith("% packages: array, booktabs, longtable, graphicx, pdflscape\n\\begin{landscape}")


def test_a_latex_table_always_names_the_run_of_a_row(tmp_path: Path) -> None:
    runs = [f"a-data-set-with-a-long-name-blurred-s{n}-efficientnet-lite2" for n in range(13)]
    rows = [(run, f"category {n}", (7 * at + n) / 91) for at, run in enumerate(runs) for n in range(7)]
    frame = pd.DataFrame(rows, columns=["run", "category", "valid"])  # each score stands once, so that scores tell rows apart
    frame["hash"] = [f"{n:064x}" for n in range(len(frame))]
    tex = write(frame, tmp_path / "t.tex", "Runs").read_text(encoding="utf-8")
    assert "Only in other formats: hash" in tex
    assert ">{\\raggedright\\arraybackslash}p{4cm}" in tex
    lines = [line.rsplit(" & ", 1)[0] for line in tex.splitlines() if " & category " in line and "run &" not in line]
    assert len(set(lines)) == 91
    assert all(tex.count(run) == 7 for run in runs)


@pytest.mark.skipif(not shutil.which("xelatex"), reason="needs xelatex")
def test_latex_tables_can_be_typeset(tmp_path: Path) -> None:
    names = {"small": 3, "wide": 12, "long": 60}
    for name, size in names.items():
        frame = pd.DataFrame({f"{name}_{i}": [f"{row}% & {i}" for row in range(size)] for i in range(min(size, 12))})
        write(frame, tmp_path / f"{name}.tex", f"{name} & 50%")
    inputs = "".join(f"\\input{{{name}.tex}}\n" for name in names)
    packages = "\\usepackage{array,booktabs,longtable,graphicx,pdflscape}\\usepackage[margin=1cm]{geometry}"
    (tmp_path / "all.tex").write_text(f"\\documentclass[a4paper]{{article}}{packages}\\begin{{document}}{inputs}\\end{{document}}")
    command = ["xelatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:]
    assert "Overfull" not in done.stdout


def test_what_cannot_be_analysed_is_one_line(tmp_path: Path, printed: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "clip_output_set_original.json").write_text('{"original": {"a": [], "total": [0.0]}}', encoding="utf-8")
    for folder, said in ((tmp_path, "no image has a score"), (tmp_path / "nothing", "neither a log nor")):
        assert said in printed("analyse", str(folder), status=1)
    (tmp_path / "clip_output_set_grey.json").write_text('{"grey": {"a": [0.5], "total": [0.5]}}', encoding="utf-8")
    assert main(["analyse", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert said.err == "clipnb: clip_output_set_original.json: no image has a score: left out\n"
    assert "set: no change is computed" in said.out


def test_what_a_table_of_changes_does_not_show_is_said_below_it(
    tmp_path: Path, photo_folder: PhotoFolder, own_results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    logs = {"original": {"a": [0.5, 0.4], "c7": [0.3]}, "grey": {"a": [0.2], "C7": [0.3]}}
    for manip, scores in logs.items():
        total = {"total": [sum(v) / len(v) for v in scores.values()]}
        (tmp_path / f"clip_output_set_{manip}.json").write_text(json.dumps({manip: scores | total}))
    assert main(["analyse", str(tmp_path), "--k", "3"]) == 0
    said = capsys.readouterr()
    assert said.err == "clipnb: --k ignored: settings choose among saved runs, not logs\n"
    assert "set, grey: images with a score before and after differ in a (2 and 1), c7 (1 and 0), C7 (0 and 1)\n" in said.out
    assert main(["analyse", str(tmp_path), "--clean", "orig"]) == 0
    assert "set: no change is computed, because there is no condition 'orig' (did you mean 'original'?)" in capsys.readouterr().out
    square = photo_folder({"cats": 3, "dogs": 3}, size=(64, 64))
    names = [(result := tiny_run(square, manip)).save() and result.spec.run_id for manip in ("original", "cropped")]
    for command in ("analyse", "compare"):
        assert main([command, *names]) == 0
        assert ": the edit left all photographs as they were" in capsys.readouterr().out


def test_groups_of_other_photographs_are_named(
    photo_folder: PhotoFolder, own_results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photo_folder({"cats": 4, "dogs": 4})
    run(RunSpec(str(root), "grey", "tiny", 1), progress=False).save()
    (root / "cats" / "00.png").unlink()
    for manip in ("original", "grey"):
        run(RunSpec(str(root), manip, "tiny", 2), progress=False).save()
    assert main(["analyse", str(root), "--encoder", "tiny"]) == 0
    names = "photos-original-tiny-k2, photos-grey-tiny-k2"
    said = capsys.readouterr().err
    assert "photos: these runs used different photographs: " in said
    assert all(name in said for name in (names, "photos-grey-tiny-k1"))
    assert main(["analyse", str(root), "--encoder", "tiny", "--k", "2"]) == 0
    assert "different photographs" not in capsys.readouterr().err
    assert main(["analyse", str(root), "--margin", "0"]) == 1
    assert capsys.readouterr() == ("", "clipnb: --margin must be above 0, not 0\n")


def test_runs_on_other_photographs_are_left_out_with_a_message(
    photo_folder: PhotoFolder, capsys: pytest.CaptureFixture[str], own_results: Path
) -> None:
    root = photo_folder({"cats": 3, "dogs": 3})
    for manip in ("original", "grey"):
        run(RunSpec(str(root), manip, "tiny", 2), progress=False).save()
        (root / "cats" / "00.png").unlink(missing_ok=True)
    assert main(["analyse", str(root), "--encoder", "tiny", "--k", "2"]) == 0
    said = capsys.readouterr()
    left_out = "photos-grey-tiny-k2 used other photographs, weights or code than the clean run: left out; run the older one again"
    assert left_out in said.err
    assert "grey" not in said.out
    assert len(load_results()) == 2
    with pytest.warns(UserWarning, match=f"contrasts: {left_out}"):
        assert all_tables(load_results())["contrasts"].empty
