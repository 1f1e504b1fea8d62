"""Names that others chose: of encoders, whose code is imported only if a person typed it, and of folders, in tables."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import papermill  # noqa: F401 - loads the plug-in
import pytest

from clipnb import RunSpec, UserError, load_results, run, study_runs
from clipnb.cli import main
from clipnb.execution.papermill_command import planned
from clipnb.manipulations import STUDY
from clipnb.report.tables import printable, write
from clipnb_book.extension import write_dataset_pages
from conftest import HANGS, PhotoFolder, Printed, one_line

OWN = "payload:build"


@pytest.fixture
def canary(bare_project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that exists once the payload in the project is imported."""
    monkeypatch.setattr("sys.path", list(sys.path))
    here = bare_project / "imported"
    (bare_project / "payload.py").write_text(f"from pathlib import Path\nPath({str(here)!r}).touch()\n")
    yield here
    sys.modules.pop("payload", None)


def change(folder: Path, **parts: dict[str, object]) -> dict[str, Any]:
    """Change fields of the record of a run; the record."""
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for part, fields in parts.items():
        record[part] |= fields
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return record


def hostile(photos: Path, **fields: object) -> Path:
    """The folder of a run, as it is saved, that names another encoder."""
    saved = run(RunSpec(str(photos), "original", "histogram", k=2), progress=False).save()
    record = change(saved, spec={"encoder": OWN, **fields})
    return saved.rename(saved.with_name(RunSpec(**record["spec"]).run_id))


@pytest.mark.parametrize("dataset", ["./photos", "photos"])
def test_a_page_of_the_book_shows_a_run_but_loads_no_encoder(canary: Path, photo_folder: PhotoFolder, dataset: str) -> None:
    """`./photos` is compared by its path: the record of another path once made the page run everything again."""
    photos = photo_folder({"cats": 4, "dogs": 4}, "checkout/photos")
    folder = hostile(photos, dataset=dataset)
    change(folder, provenance={"root_sha256": ""})
    write_dataset_pages(Path.cwd(), load_results())
    (page,) = Path("book/datasets").glob("*.ipynb")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").replace("%pip", "pass #")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert not canary.exists()
    assert done.returncode == 0, done.stderr


def test_saved_runs_are_the_same_read_alone_and_without_one_a_page_says_so(photo_folder: PhotoFolder, own_results: Path) -> None:
    root = str(photo_folder({"cats": 3, "dogs": 3}))
    with pytest.raises(UserError, match="there is no saved run photos-original-tiny"):
        study_runs(root, "tiny", only_saved=True)
    for manip in STUDY:
        run(RunSpec(root, manip, "tiny", k=2), progress=False).save()
    both = [study_runs(root, "tiny", only_saved=alone, k=2) for alone in (False, True)]
    assert [[r.spec for r in found] for found in both] == [[RunSpec(root, manip, "tiny", k=2) for manip in STUDY]] * 2


@pytest.mark.parametrize(
    "command",
    [
        ["runs"],
        ["runs", "photos"],
        ["analyse", "photos"],
        ["compare", OWN, "histogram"],
        ["export"],
        ["merge"],
        ["tolerance", "./photos", "--encoder", "histogram", "--manips", "grey", "--width", "0", "--categories", "2"],
        ["sweep", "./photos", "--encoders", "histogram", "--manips", "grey", "--k", "2", "--no-pages"],
        ["sweep", "grid.yml", "--dry-run"],
        ["sweep", "grid.yml", "--no-pages"],
    ],
    ids=" ".join,
)
def test_no_command_imports_what_a_result_or_a_grid_names(
    canary: Path, photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    photos = photo_folder({"cats": 4, "dogs": 4}, "checkout/photos")
    hostile(photos)
    hostile(photos, step=1)
    Path("grid.yml").write_text(f"datasets: ./photos\nencoders: [histogram, {OWN}]\nsettings: {{k: 2}}\n")
    main(command)
    assert not canary.exists()


def test_a_grid_with_code_says_what_to_type_and_does_it(canary: Path, photo_folder: PhotoFolder, printed: Printed) -> None:
    photo_folder({"cats": 4, "dogs": 4}, "checkout/photos")
    Path("grid.yml").write_text(f"datasets: ./photos\nencoders: {OWN}\nsettings: {{k: 2}}\n")
    assert f"type it: --encoders {OWN}" in printed("sweep", "grid.yml", "--no-pages", status=1)
    main(["sweep", "grid.yml", "--no-pages", "--encoders", OWN])
    assert canary.exists()


@pytest.mark.parametrize("given", [["-f", "p.yml"], ["-fp.yml"], ["--parameters_file", "p.yml"], ["--parameters_file=p.yml"]])
def test_papermill_runs_no_code_that_only_a_file_of_parameters_names(
    bare_project: Path, photo_folder: PhotoFolder, given: list[str]
) -> None:
    photo_folder({"cats": 6, "dogs": 6}, "checkout/photos")
    Path("p.yml").write_text(f"dataset: ./photos\nencoder: {OWN}\nk: 3\n")
    command = ["notebooks/run.ipynb", *given]
    with pytest.raises(UserError, match=f"imported only if you type it: -p encoder {OWN}"):
        planned(command)
    for typed in (["-p", "encoder", OWN], ["-y", f"encoder: {OWN}"]):
        plan = planned([*command, *typed])
        assert plan is not None
        assert plan.spec.encoder == OWN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "has an alias"),
        ("k: " + "[" * 30_000, "nests more than 10"),
        ("k: 2026-13-45\n", "month must be in 1..12"),
        ("- k\n", "must be name: value pairs"),
        ("", "the notebook has no parameter 'kk'"),
    ],
)
def test_a_wrong_file_of_parameters_is_one_line(bare_project: Path, text: str, said: str) -> None:
    Path("p.yml").write_text(text or "kk: 3\n")
    with one_line(said):
        planned(["notebooks/run.ipynb", "-f", "p.yml"])
    for missing in ("nowhere.yml", "/dev/zero", "notebooks"):
        with pytest.raises(UserError, match="cannot be read"):
            planned(["notebooks/run.ipynb", "-f", missing])


FORMULAS = ["=1+cmd|' /C calc'!A0", "@SUM(1)", "+1+1", "-2+3", "\t=1", " =1", "\uff1d1"]
MARKUP = ["<img src=x onerror=alert(1)>", "[x](javascript:alert(1))", "![x](http://h/x)", "a | b", "**a** `b`", "{{x}}", "{x}`y`"]
CONTROL = ["\x1b[2J\x1b]0;x\x07", "a\rb", "\u202ea"]


def test_names_in_exported_tables_are_text(tmp_path: Path) -> None:
    import pandas as pd
    from markdown_it import MarkdownIt

    names = [*FORMULAS, *MARKUP, *CONTROL, "plain", "-1", "1e5"]
    frame = pd.DataFrame({"category": names, "change": -0.5, "list": [[name, name] for name in names]})
    cells = pd.read_csv(write(frame, tmp_path / "t.csv"), dtype=str)["category"].tolist()
    assert cells[: len(FORMULAS)] == [f"'{name}".replace("\t", " ") for name in FORMULAS]
    assert cells[len(FORMULAS) : -len(CONTROL) - 3] == MARKUP
    assert cells[-3:] == names[-3:]
    assert pd.read_csv(tmp_path / "t.csv")["change"].tolist() == [-0.5] * len(names)
    text = write(frame, tmp_path / "t.md").read_text(encoding="utf-8")
    page = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    for tag in ("<img", "<a ", "<strong", "<code"):
        assert tag not in page
    assert page.count("<tr>") == 1 + len(names)
    assert page.count("<td") == 3 * len(names)
    assert "{{" not in text
    for shown in (text, printable(frame), (tmp_path / "t.csv").read_text(encoding="utf-8")):
        assert not set(shown) & set("\x1b\x07\r\u202e")
        assert shown.count("\n") - len(names) in (0, 1, 2)  # one line a row


def test_commands_print_names_as_text(
    photo_folder: PhotoFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLIPNB_RESULTS", str(tmp_path / "results"))
    root = photo_folder({"=1+1": 3, "a\x1b[2Jb": 3})
    run(RunSpec(str(root), "original", "tiny", k=2), progress=False).save()
    main(["export", "--out", str(tmp_path)])
    for name in ("runs.csv", "categories.csv"):
        assert not re.search("[\n,]=", (tmp_path / name).read_text())
    main(["card", str(root), "--files"])
    assert "\x1b" not in capsys.readouterr().out
