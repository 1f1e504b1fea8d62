"""The specification of a run. It is made from notebook parameters and saved with the result.

Of the two modes, `study` is the original protocol: it asks the gallery for 10 results, moves the query towards photographs that
people rate 9 (weight 0.5), drops results that look alike or are unsafe, keeps the query's own image, ignores colour profiles as
CLIP's preprocessing does, uses the threshold 0.8, and counts a category without results as 0. `corrected` does not move the
query, drops only its own image and copies, converts colours, and skips a category without results; all settings can change.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._core.paths import expanded, normalized_dataset, normalized_gallery
from ._core.text import address_mistake, file_slug, gallery_slug, is_service, looks_like_address
from .datasets.dataset import slug
from .datasets.images import COLOURS, digest
from .datasets.picture_hash import BITS, NEAR
from .encoders import DEVICES, ENCODERS, ENGINES, PRECISIONS, default_encoder, resolve, settled_precision
from .encoders.prompts import IMAGENET, PHOTO, RULE, allowed
from .errors import UserError
from .manipulations import CLEAN, MANIPULATIONS, Condition

MODES = ("corrected", "study")
INDEXES = ("exact", "hnsw", "ivf", "stored")
"""Ways to search a gallery in this process; `stored` is the index inside a clip-retrieval folder."""

NOTHING_LEFT_OUT = -2  #: value of `duplicates` that lets a query find itself

AS_STUDY: dict[str, Any] = {
    "num_images": 10,
    "aesthetic_score": 9,
    "aesthetic_weight": 0.5,
    "deduplicate": True,
    "safety": True,
    "duplicates": NOTHING_LEFT_OUT,
    "colour": "stored",
}
"""The settings of mode `study`."""


def _field(default: object, what: str, allows: Callable[[Any], bool] = lambda v: True, wanted: str = "", **options: Any) -> Any:
    """A field of `RunSpec`: its help text, which values of the default's type it allows, and that rule in words."""
    return dataclasses.field(default=default, metadata={"help": what, "allows": allows, "wanted": wanted}, **options)


def _count(default: int, what: str, least: int = 0, all_for_zero: str = "") -> Any:
    zero = f" ({all_for_zero})" if all_for_zero else ""
    return _field(default, what, lambda v: v >= least, f"a whole number from {least}{zero} up")


def _choice(default: str, what: str, choices: tuple[str, ...], **options: Any) -> Any:
    return _field(default, what, lambda v: v in choices, f"one of {', '.join(choices)}", **options)


@dataclass(frozen=True)
class RunSpec:
    """All parameters that determine the numbers of a run.

    Names are changed to their registered spelling, and settings that depend on others are completed:

    >>> spec = RunSpec("./holiday/", "gray", "histogram", severity=3)
    >>> spec.dataset, spec.manip, spec.index
    ('./holiday', 'grey', 'exact')
    >>> spec.run_id
    'holiday-grey-s3-histogram'

    Raises:
        UserError: a parameter is wrong; the message names every wrong parameter.
    """

    dataset: str = _field(
        "sample-figures",
        "sample-figures, sample-scenes, a folder of yours, a name in $CLIPNB_DATA (nba, miniplaces), hf:<set>, wds:<tars>",
    )
    manip: str = _field("original", "original, blurred, cropped or grey; `clipnb info` lists more; grey+blurred does both")
    encoder: str = _field(
        "", "ViT-L/14, efficientnet-lite2, histogram, open_clip:<model>/<tag>, ...; empty: $CLIPNB_ENCODER, else ViT-L/14"
    )
    k: int = _count(10, "number of results per query", 1)
    tau: float = _field(
        0.8,
        "a result is valid below this L2 distance to the query before manipulation",
        lambda v: 0 < v <= 2,
        "a distance above 0 and at most 2",
    )
    seed: int = _field(0, "seed of every random draw", wanted="a whole number")
    precision: str = _choice("auto", "precision of the network: fp32, bf16, fp16, or auto: fp16 on CUDA, else fp32", PRECISIONS)
    engine: str = _choice("torch", "what runs the network: torch, compile (torch.compile) or openvino (faster on a CPU)", ENGINES)
    device: str = _choice("auto", "device of the network: cpu, cuda, mps, or auto, the fastest available", DEVICES, compare=False)
    prompts: str = _field(
        PHOTO, "zero-shot texts: photo (a photo of a {}.), imagenet (80 templates), or templates joined by |", allowed, RULE
    )
    colour: str = _choice("srgb", "the colour profile of a photograph (Display P3): srgb applies it, stored ignores it", COLOURS)
    gallery: str = _field("", "searched: the data set if empty, else folders separated by commas, or a service's http://host:port")
    index: str = _field(
        "", "exact (default), hnsw, ivf, or stored (a clip-retrieval folder's own); for a service, the name of its index"
    )
    mode: str = _choice("corrected", "corrected, or study: exactly the original protocol", MODES)
    duplicates: int = _field(
        NEAR,
        "copies to leave out: images whose hash differs in at most this many of 256 bits; -1: equal files; -2: none",
        lambda v: NOTHING_LEFT_OUT <= v < BITS,
        "a number of bits from 0 to 255, -1 or -2",
    )
    num_images: int = _count(0, "results requested from a service; 0 for as many as k needs")
    aesthetic_score: int = _field(
        9, "the rating towards which the query is moved, 0 to 9", lambda v: 0 <= v <= 9, "a whole number from 0 to 9"
    )
    aesthetic_weight: float = _field(
        0.0, "how far the query is moved; 0 leaves it alone", lambda v: 0 <= v <= 1, "a number from 0 to 1"
    )
    deduplicate: bool = _field(False, "drop results that look alike", wanted="True or False")
    safety: bool = _field(False, "a service drops results that its safety models reject", wanted="True or False")
    allow_hosts: str = _field("", "hosts whose images are fetched although their address is private, separated by commas")
    severity: int = _field(
        0, "1 to 5; 0 is the fixed setting, or 3 if there is none", lambda v: 0 <= v <= 5, "0 (the fixed setting) or 1 to 5"
    )
    strength: float = _field(
        0.0,
        "value of the manipulation's parameter instead of a severity, such as a blur of 2.5 px; 0: use the severity",
        lambda v: v >= 0,
        "a number from 0 up",
    )
    draws: int = _count(1, "draws of a random manipulation per photograph; its score is their mean", 1)
    categories: int = _count(0, "categories to draw from the data set; 0 for all (the study: 70 players)", 0, "all")
    per_category: int = _count(0, "photographs to draw per category; 0 for all (the study: 60)", 0, "all")
    start: int = _count(0, "number of the first category whose photographs are queries; for long runs in batches")
    step: int = _count(0, "number of categories in this batch; 0 for all that follow", 0, "all that follow")

    def __post_init__(self) -> None:
        """Change names to their registered spelling, fill in settings, and report all mistakes in one error."""
        mistakes: list[str] = []

        def settle(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        settle("dataset", normalized_dataset(str(self.dataset)))
        for field in ("severity", "categories", "per_category", "step"):
            if getattr(self, field) is None:
                settle(field, 0)
        for field, spelling, value in (
            ("manip", MANIPULATIONS.canonical, str(self.manip)),
            ("encoder", lambda name: resolve(name)[0], str(self.encoder) or default_encoder()),
        ):
            try:
                settle(field, spelling(value))
            except UserError as error:
                mistakes.append(str(error))
        wrong = [said for field in FIELDS.values() if (said := _breaks_rule(field, getattr(self, field.name)))]
        mistakes += wrong or _conflicts(self)
        if not mistakes:
            try:
                settle("severity", (settled := MANIPULATIONS[self.manip].settle(self.severity, self.strength))[0])
                settle("strength", settled[1])
            except UserError as error:
                mistakes.append(str(error))
        if mistakes:
            raise UserError("; ".join(mistakes))
        settle("precision", settled_precision(self.precision, self.encoder, self.engine, self.device))
        settle("gallery", normalized_gallery(self.gallery))
        settle("index", self.index.strip() if is_service(self.gallery) else self.index.strip().lower() or "exact")
        for field, value in AS_STUDY.items() if self.mode == "study" else ():
            settle(field, value)
        settle("tau", float(self.tau))
        settle("aesthetic_weight", float(self.aesthetic_weight))
        if not MANIPULATIONS[self.manip].draws:
            settle("draws", 1)

    @property
    def dataset_name(self) -> str:
        """Short name of the data set; the last folder of a path."""
        return slug(self.dataset)

    @property
    def run_id(self) -> str:
        """Name of the run's folder and page: data set, condition, encoder, and every setting that is not the default."""
        return self._id([self.dataset_name, self.condition_id])

    @property
    def condition_id(self) -> str:
        """Manipulation, severity or strength, and number of draws, as part of a file name."""
        return self.condition.slug + f"-draws{self.draws}" * (self.draws > 1)

    @property
    def condition(self) -> Condition:
        """The condition of the queries, in its first draw."""
        return Condition(self.manip, self.severity, strength=self.strength)

    @property
    def conditions(self) -> list[str]:
        """The conditions of the queries, one per draw, as text."""
        return [str(Condition(self.manip, self.severity, draw, self.strength)) for draw in range(self.draws)]

    @property
    def group_id(self) -> str:
        """Common name of the runs that differ from this one only in the condition."""
        return self._id([self.dataset_name])

    def _id(self, parts: list[str]) -> str:
        parts = [*parts, encoder_slug(self.encoder)]
        for field in ("k", "tau", "seed", "categories", "per_category", "start", "step"):
            if (value := getattr(self, field)) != FIELDS[field].default:
                parts.append(f"{field}{value}")
        parts += [value for value in (self.precision, self.engine) if value not in ("fp32", "torch")]
        if self.prompts != PHOTO:
            parts.append(f"prompts-{self.prompts if self.prompts == IMAGENET else digest(self.prompts.encode())[:8]}")
        return "-".join([*parts, *_protocol_parts(self)])

    def under(self, manip: str, severity: int = 0, strength: float = 0.0) -> RunSpec:
        """The same run under another manipulation; without severity and strength, at its fixed setting."""
        return dataclasses.replace(self, manip=manip, severity=severity, strength=strength)

    @property
    def clean(self) -> RunSpec:
        """The same run without a manipulation."""
        return self.under(CLEAN)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


FIELDS: dict[str, dataclasses.Field[Any]] = {field.name: field for field in dataclasses.fields(RunSpec)}
"""The table of a run's parameters: name -> field with the default, and with help text and rule in `metadata`."""

RunSpec.__doc__ = f"{inspect.getdoc(RunSpec)}\n\nAttributes:\n" + "\n".join(
    f"    {name}: {field.metadata['help']}." for name, field in FIELDS.items()
)


FLAGS = ("encoder", "k", "tau", "seed", "precision", "engine", "device", "draws", "categories", "per_category", "prompts", "colour")
"""Fields that commands take as flags."""


def spec_of(parameters: Mapping[str, Any]) -> RunSpec:
    """The specification in a notebook's parameters; parameters that are not fields of `RunSpec` are ignored."""
    return RunSpec(**{key: value for key, value in parameters.items() if key in FIELDS})


def _breaks_rule(field: dataclasses.Field[Any], value: object) -> str:
    kind = type(field.default)
    right = isinstance(value, kind) or (kind is float and isinstance(value, int))
    if right and isinstance(value, bool) == (kind is bool) and field.metadata["allows"](value):
        return ""
    return f"{field.name} must be {field.metadata['wanted'] or 'a text'}, not {value!r}"


def _conflicts(spec: RunSpec) -> list[str]:
    """Mistakes in combinations of settings that are right one by one."""
    said, gallery = [], spec.gallery.strip()
    if "://" in gallery and "," in gallery:
        said.append("a service cannot be one of several galleries: name its address alone")
    elif is_service(gallery):
        if mistake := address_mistake(gallery):
            said.append(mistake)
        elif not spec.index.strip():
            said.append("a service has indexes by name: pass -p index <name> (GET /indices-list lists them)")
        if 0 < spec.num_images < spec.k:
            said.append(f"num_images = {spec.num_images} cannot give k = {spec.k} results")
    elif looks_like_address(gallery) and not os.path.isdir(expanded(gallery)):  # noqa: PTH112
        said.append(f"a service's address begins with http:// or https://: -p gallery http://{gallery}")
    elif spec.index and spec.index.strip().lower() not in INDEXES:
        names = "(names are for the indexes of a service, whose address begins with http://)"
        said.append(f"index must be one of {', '.join(INDEXES)}, not {spec.index!r} {names}")
    if spec.mode == "study":
        usual = ((name, FIELDS[name].default, getattr(spec, name)) for name in ("k", "tau", "severity", "strength", "draws"))
        said += [f"mode study has {name} {theirs}, not {value}" for name, theirs, value in usual if value != theirs]
    return said


def encoder_slug(name: str) -> str:
    """Name of an encoder as part of a file name: of a path the last part, with dashes for special characters."""
    start, colon, rest = name.rpartition("@" if "@" in name and ":" in name else ":")
    whole = name in ENCODERS or (colon == ":" and not Path(rest).is_absolute())
    short = name if whole else f"{start}{colon}{Path(rest).name}"
    return re.sub(r"[^\w.@+-]+", "-", short)


def _protocol_parts(spec: RunSpec) -> list[str]:
    """Parts of a run's name for gallery and protocol: every setting that is not the default."""
    parts = [f"in-{gallery_slug(spec.gallery)}"] * bool(spec.gallery) + [file_slug(spec.index)] * (spec.index not in ("", "exact"))
    if spec.mode != "corrected":
        return [*parts, spec.mode]
    parts += [f"duplicates{spec.duplicates}"] * (spec.duplicates != FIELDS["duplicates"].default)
    parts += ["colour-stored"] * (spec.colour == "stored") + [f"of{spec.num_images}"] * (spec.num_images > 0)
    parts += [f"aesthetic{spec.aesthetic_score}x{spec.aesthetic_weight:g}"] * (spec.aesthetic_weight > 0)
    return parts + [field for field in ("deduplicate", "safety") if getattr(spec, field)]
