"""The address of the repository: set everywhere by one command, and taken out again."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from clipnb.errors import UserError
from clipnb_book.extension import offer_repository
from clipnb_book.repository import address_of, notebooks, set_address

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://github.com/me/some.project"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the repository, without what is generated."""
    made = (".git", ".venv*", "_build", "results", "runs", "datasets", "cards", "api", "__pycache__", ".*_cache", "shared")
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=lambda folder, names: skipped(folder, names, made))


def skipped(folder: str, names: list[str], made: tuple[str, ...]) -> set[str]:
    """Names of generated folders: those in `made`, but packages of that name stay."""
    return shutil.ignore_patterns(*made)(folder, names) - {n for n in names if (Path(folder) / n / "__init__.py").is_file()}


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_an_address_is_written_and_taken_out_and_nothing_else_changes(copy: Path) -> None:
    assert set_address(copy, address_of(copy)) == [], "every file has the address of the setting"
    set_address(copy, "")
    before = contents(copy)
    for path in notebooks(copy):
        text = path.read_text(encoding="utf-8")
        assert "colab-badge" not in text
        assert re.search(r'%pip install -q \\"clipnb\[[\w,]+\]\\"\\n', text)
    assert not [name for name, content in before.items() if not name.startswith("tests/") and b"github.com/OWNER" in content]
    with pytest.raises(UserError, match=r"is https://github\.com/<owner>/<name>, not 'github\.com/me'"):
        set_address(copy, "github.com/me")
    assert contents(copy) == before
    set_address(copy, ADDRESS + ".git/")
    after = contents(copy)
    named = {path.relative_to(copy).as_posix() for path in notebooks(copy)}
    assert {name for name in after if after[name] != before.get(name)} == named | {"_config.yml", "CITATION.cff"}
    assert address_of(copy) == ADDRESS
    assert f'\nrepository-code: "{ADDRESS}"\n' in (copy / "CITATION.cff").read_text()
    for path, opened in notebooks(copy).items():
        text = path.read_text(encoding="utf-8")
        assert text.count("colab-badge") == text.count(f"/github/me/some.project/blob/main/{opened})") == 1
        assert len(re.findall(rf'%pip install -q \\"clipnb\[[\w,]+\] @ git\+{ADDRESS}\\"', text)) == 1
    set_address(copy, "https://github.com/you/other")
    assert not any(b"some.project" in content for name, content in contents(copy).items() if name in named)
    set_address(copy, "")
    assert contents(copy) == before


def test_buttons_that_need_the_repository_are_shown_only_with_an_address() -> None:
    options = {"repository_url": "", "launch_buttons": {"colab_url": "https://colab.research.google.com"}}
    offer_repository(options)
    assert options == {"repository_url": "", "use_repository_button": False, "use_issues_button": False}
    options = {"repository_url": ADDRESS, "launch_buttons": {"colab_url": "https://colab.research.google.com"}}
    offer_repository(options)
    assert all(options[name] for name in ("use_repository_button", "use_issues_button", "launch_buttons"))
