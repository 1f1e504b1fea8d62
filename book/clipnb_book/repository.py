"""Write the address of the repository into the files that repeat it: the setting, the citation, badges and install cells.

`python -m clipnb_book.repository https://github.com/me/clipnb` writes an address; without one, it removes the address.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from clipnb._core.files import write_text
from clipnb._core.paths import project_root
from clipnb.errors import UserError

GITHUB = "https://github.com/"
COLAB = "https://colab.research.google.com/"

_SETTING = re.compile(r'(?<=^repository: \{url: ")[^"]*', re.MULTILINE)
_CITED = re.compile(r"^repository-code: .*\n", re.MULTILINE)
_BADGE = re.compile(r"\n\n\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
_INSTALL = re.compile(r'(%pip install -q \\"clipnb\[[^\]]*\])[^"\\]*')


def address_of(root: Path) -> str:
    """The address in `_config.yml`; "" for none."""
    found = _SETTING.search((root / "_config.yml").read_text(encoding="utf-8"))
    return found.group() if found else ""


def notebooks(root: Path) -> dict[Path, str]:
    """Notebook -> the path of the notebook in the repository that its badge opens."""
    paths = sorted([*(root / "book").glob("*.ipynb"), *(root / "notebooks").glob("*.ipynb")])
    return {path: path.relative_to(root).as_posix() for path in paths} | {root / "tests" / "run.ipynb": "notebooks/run.ipynb"}


def badge(address: str, notebook: str) -> str:
    """A badge that opens a notebook of the repository in Colab (Markdown)."""
    opened = f"{COLAB}github/{address.removeprefix(GITHUB)}/blob/main/{notebook}"
    return f"[![Open in Colab]({COLAB}assets/colab-badge.svg)]({opened})"


def set_address(root: Path, address: str) -> list[Path]:
    """Replace the address of the repository in a checkout, and return the files that changed.

    Args:
        root: the checkout.
        address: https://github.com/<owner>/<name>, or "" to remove the address.

    Raises:
        UserError: the address is of another form.
    """
    address = address.rstrip("/").removesuffix(".git")
    if address and not re.fullmatch(re.escape(GITHUB) + r"[\w.-]+/[\w.-]+", address):
        raise UserError(f"the address of a repository is {GITHUB}<owner>/<name>, not {address!r}")
    config, citation = root / "_config.yml", root / "CITATION.cff"
    old = {path: path.read_text(encoding="utf-8") for path in (config, citation, *notebooks(root))}
    new = {path: _in_notebook(old[path], address, opened) for path, opened in notebooks(root).items()}
    new[config] = _SETTING.sub(address, old[config])
    cited = f'repository-code: "{address}"\n' if address else ""
    new[citation] = re.sub(r"^license: .*\n", rf"\g<0>{cited}", _CITED.sub("", old[citation]), flags=re.MULTILINE)
    changed = [path for path in old if new[path] != old[path]]
    for path in changed:
        write_text(path, new[path])
    return changed


def _in_notebook(text: str, address: str, opened: str) -> str:
    """The text of a notebook file with another address in its badge and its install cell."""
    notebook = json.loads(text)
    first = notebook["cells"][0]
    said = _BADGE.sub("", "".join(first["source"]))
    if address:
        title, end, rest = said.partition("\n")
        said = f"{title}\n\n{badge(address, opened)}{end}{rest}"
    first["source"] = said.splitlines(keepends=True) if isinstance(first["source"], list) else said
    installed = f" @ git+{address}" if address else ""
    return _INSTALL.sub(rf"\g<1>{installed}", json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m clipnb_book.repository", description="Set the address of the repository.")
    parser.add_argument("address", nargs="?", default="", help=f"{GITHUB}<owner>/<name>; without it, the address is removed")
    address = parser.parse_args().address
    try:
        changed = set_address(project_root(), address)
    except UserError as error:
        raise SystemExit(f"clipnb: {error}") from error
    print(f"{len(changed)} files changed: the repository is {address or 'not named'}")


if __name__ == "__main__":
    main()
