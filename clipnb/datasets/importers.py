"""Import data sets in other layouts: Hugging Face image sets (`hf:`) and WebDataset tar files (`wds:`).

    hf:cifar10@test               a set on the Hub; the split follows the @ (train by default)
    hf:path/to/folder             a set that `datasets` saved, or a folder that it can read
    wds:shards/{0000..0003}.tar   files as img2dataset writes them; the category is `cls`, or a field of the json
    wds:shards/*.tar              the same, all of a folder

A set is written once to the cache as <category>/<image>, with the bytes of the files unchanged.
"""

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

from tqdm import tqdm

from .._core.files import replaced_folder
from .._core.paths import cache_root, project_root
from ..errors import DatasetError, needs, one_line
from .images import SUFFIXES, destination, digest, read

VERSION = 2  # increase this when the written files change

Sample = tuple[str, str, bytes]  # category, file name, content

LABELS = ("category", "class", "label", "cls")  # fields that may hold the category of a sample; the first one that exists is used


def is_imported(dataset: str) -> bool:
    """Whether a name is that of an `hf:` or `wds:` set."""
    return dataset.startswith(("hf:", "wds:"))


def ensure(dataset: str) -> Path:
    """The folder of an imported set, written if it is not there; `DatasetError` if the set cannot be read or has no images."""
    kind, _, name = dataset.partition(":")
    if not name:
        raise DatasetError(f"{dataset!r} is incomplete: write hf:<set>[@split] or wds:<path of tar files>")
    samples, state = _hugging_face(name) if kind == "hf" else _webdataset(name)
    version = digest(f"{VERSION}|{dataset}|{state}".encode())[:12]
    folder = cache_root() / "imported" / f"{_plain(name)}-{version}"
    if folder.is_dir():
        return folder
    taken: dict[str, str] = {}
    with replaced_folder(folder, keep=True) as partial:
        for category, file, content in tqdm(samples, desc=f"importing {dataset}", unit="photo", leave=False):
            target = destination(partial / _folder_of(category, taken) / _plain(file), content)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(content)
        if not any(partial.iterdir()):
            raise DatasetError(f"{dataset} holds no images with a category")
    return folder


def _folder_of(label: str, taken: dict[str, str]) -> str:
    """Name of the folder of a label: different for different labels, equal for two Unicode spellings of one."""
    label = unicodedata.normalize("NFC", label)
    plain = _plain(label)
    for name in (plain, f"{plain}-{digest(label.encode('utf-8', 'replace'))[:8]}"):
        if taken.setdefault(name.casefold(), label) == label:
            return name
    raise DatasetError(f"the label {label!r} would share the folder of another label: rename it")


def _plain(name: str) -> str:
    """A name that is valid as one part of a path."""
    return re.sub(r"[/\\\0]+", "_", name).strip(". ") or "unnamed"


def _hugging_face(name: str) -> tuple[Iterator[Sample], str]:
    with needs("reading a Hugging Face set", "datasets"):
        import datasets
    where, _, split = name.partition("@")
    here = project_root() / where
    with one_line(f"hf:{name} cannot be loaded", kind=DatasetError):
        if here.is_dir() and any((here / file).is_file() for file in ("dataset_info.json", "dataset_dict.json")):
            loaded: Any = datasets.load_from_disk(str(here))
            loaded = loaded[split or next(iter(loaded))] if isinstance(loaded, dict) else loaded
        else:
            loaded = datasets.load_dataset(str(here) if here.is_dir() else where, split=split or "train")
    images = [column for column, kind in loaded.features.items() if isinstance(kind, datasets.Image)]
    labels = [column for column, kind in loaded.features.items() if isinstance(kind, datasets.ClassLabel)]
    labels += [column for column in LABELS if column in loaded.features and column not in labels]
    if not images or not labels:
        columns = ", ".join(loaded.features)
        raise DatasetError(f"hf:{name} has no column of images, or no column of labels; its columns are {columns}")
    image, label = images[0], labels[0]
    raw = loaded.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    kind = loaded.features[label]
    places = [place.resolve() for place in (here, Path(datasets.config.HF_CACHE_HOME)) if place.is_dir()]

    def own_file(path: str) -> bytes:
        """An image that the set names by its path: a file of the set itself, or one that was downloaded for it."""
        if not any(Path(path).resolve().is_relative_to(place) for place in places):
            raise DatasetError(f"hf:{name} names a file outside it, {path!r:.200}: nothing was imported")
        return read(Path(path))

    def samples() -> Iterator[Sample]:
        left_out = 0
        for number, row in enumerate(raw):
            if row[image] is None or row[label] is None or (isinstance(kind, datasets.ClassLabel) and row[label] < 0):
                left_out += 1
                continue
            content = row[image]["bytes"] or own_file(row[image]["path"] or "")
            category = kind.int2str(row[label]) if isinstance(kind, datasets.ClassLabel) else str(row[label])
            yield category, f"{number:07d}{_suffix(row[image]['path'] or '', content)}", content
        if left_out:
            warnings.warn(f"hf:{name}: {left_out} samples without an image or a label are left out", stacklevel=2)

    return samples(), str(loaded._fingerprint)


def _webdataset(pattern: str) -> tuple[Iterator[Sample], str]:
    with needs("reading WebDataset tar files", "datasets"):
        import webdataset
        from webdataset.shardlists import expand_urls
    shards: list[Path] = []
    for part in expand_urls(pattern):
        files = sorted(glob(part, root_dir=project_root())) if "*" in part else []  # noqa: PTH207 - takes absolute paths
        shards += [project_root() / file for file in files or [part]]
    if missing := [shard.name for shard in shards if not shard.is_file()]:
        raise DatasetError(
            f"wds:{pattern}: no such file: {', '.join(missing[:3])} (several: {{0000..0003}}.tar or *.tar, in quotes)"
        )

    def samples() -> Iterator[Sample]:
        source = webdataset.WebDataset(
            [str(s) for s in shards], shardshuffle=False, empty_check=False, handler=webdataset.reraise_exception
        )
        with one_line(f"wds:{pattern} cannot be read", kind=DatasetError):
            for sample in source:
                image = next((part for part in sample if f".{part.rsplit('.', 1)[-1].lower()}" in SUFFIXES), None)
                category = _category(sample)
                if image and category:
                    yield category, f"{sample['__key__']}.{image.rsplit('.', 1)[-1]}", sample[image]

    return samples(), "|".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in map(Path.stat, shards))


def _category(sample: dict[str, Any]) -> str:
    """The category of a sample: its `cls`, or a field of its json; "" if it has none."""
    for part in ("cls", "cls.txt"):
        if part in sample:
            return bytes(sample[part]).decode("utf-8", "replace").strip()
    try:
        about = json.loads(sample.get("json", b"{}"))
    except ValueError:
        return ""
    return next((str(about[field]) for field in LABELS if isinstance(about, dict) and about.get(field) is not None), "")


def _suffix(path: str, content: bytes) -> str:
    """Suffix of an image file, from its name or its first bytes."""
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        return suffix
    starts = {b"\xff\xd8": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"BM": ".bmp", b"RIFF": ".webp"}
    return next((name for start, name in starts.items() if content.startswith(start)), ".tif")
