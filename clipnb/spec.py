"""The specification of a run: notebook parameters go in, and come out again with the result."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import protocol
from .datasets import slug
from .encoders import ENCODERS, ENGINES, PRECISIONS, default_encoder, resolve
from .errors import UserError
from .manipulations import CLEAN, MANIPULATIONS, Condition


def encoder_slug(name: str) -> str:
    """An encoder's name as part of a file name: a checkpoint's path by its last part, odd characters as dashes."""
    short = name if name in ENCODERS or name.startswith("open_clip:") else Path(name).name
    return re.sub(r"[^\w.@+-]+", "-", short)


def _tidy(dataset: str) -> str:
    """One spelling for a folder: `./holiday/` is `holiday`."""
    return os.path.normpath(dataset) if dataset else dataset


_NUMBERS: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "k": (int, lambda v: v >= 1, "a whole number from 1 up"),
    "tau": ((int, float), lambda v: 0 < v <= 2, "a distance above 0 and at most 2"),
    "seed": (int, lambda v: True, "a whole number"),
    "severity": (int, lambda v: 0 <= v <= 5, "0 (the fixed setting) or 1 to 5"),
    "draws": (int, lambda v: v >= 1, "a whole number from 1 up"),
    "categories": (int, lambda v: v >= 0, "a whole number from 0 (all) up"),
    "per_category": (int, lambda v: v >= 0, "a whole number from 0 (all) up"),
    "start": (int, lambda v: v >= 0, "a whole number from 0 up"),
    "step": (int, lambda v: v >= 0, "a whole number from 0 (all that follow) up"),
}
"""Parameters that are numbers: their type, what is allowed, and how to say so."""


@dataclass(frozen=True)
class RunSpec:
    """Everything that decides the numbers of one run; nothing else may.

    Attributes:
        dataset: sample set, name of a folder in $CLIPNB_DATA, or path of a folder <root>/<category>/<image>.
        manip: what is done to the query photographs.
        encoder: what turns photographs into vectors, by a name of `clipnb.encoders`; "" takes $CLIPNB_ENCODER or the
            study's, ViT-L/14.
        k: results asked for each query, at least 1.
        tau: L2 distance to the clean query below which a result is valid, in (0, 2] (unit vectors).
        seed: decides every random draw.
        precision: of the encoder's weights: fp32, bf16 or fp16.
        engine: what runs the network: torch, compile (torch.compile) or openvino (CPU).
        gallery: what is searched: "" for the data set itself; data sets, folders of photographs or clip-retrieval
            folders, separated by commas; or the address of a clip-retrieval service (http://host:port).
        index: how it is searched: exact, hnsw, ivf or stored (the folder's own image.index); for a service, the name of
            its index.
        mode: corrected, or study: the original protocol to the letter.
        duplicates: bits of 256 in which the picture hash of a gallery image may differ from the query's to count as a
            copy of it, which is left out; -1: only files of the same content are; -2: nothing is.
        num_images: results that a service is asked for, 0 for k and some to replace the query's own copies.
        aesthetic_score, aesthetic_weight: the query is moved by this weight towards images rated so; weight 0 leaves it
            alone.
        deduplicate: results that look alike are dropped.
        safety: a service drops results that its safety models reject.
        allow_hosts: hosts, separated by commas, whose images are fetched although their address is private.
        severity: of the manipulation, 1 to 5; 0 for its fixed setting, the study's (for one without such, 3).
        draws: how many times a random manipulation is drawn for each photograph; its score is their mean.
        categories: how many categories to draw from the data set, 0 for all.
        per_category: how many photographs to draw from each, 0 for all.
        start, step: the queries are those of `step` categories from number `start` on, by name; step 0 for all that follow.
            The gallery remains that of all categories, so that batches merge into the whole run.
    """

    dataset: str = "sample-figures"
    manip: str = "original"
    encoder: str = ""
    k: int = 10
    tau: float = 0.8
    seed: int = 0
    precision: str = "fp32"
    engine: str = "torch"
    gallery: str = ""
    index: str = ""
    mode: str = "corrected"
    duplicates: int = 24
    num_images: int = 0
    aesthetic_score: int = 9
    aesthetic_weight: float = 0.0
    deduplicate: bool = False
    safety: bool = False
    allow_hosts: str = ""
    severity: int = 0
    draws: int = 1
    categories: int = 0
    per_category: int = 0
    start: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        """Bring names to their registered spelling; report every mistake at once.

        Raises:
            UserError: one line naming each parameter that is wrong.
        """
        mistakes: list[str] = []

        def settle(field: str, value: object) -> None:
            object.__setattr__(self, field, value)

        settle("dataset", _tidy(str(self.dataset)))
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
        mistakes += [
            f"{field} must be {want}, not {value!r}"
            for field, (kinds, good, want) in _NUMBERS.items()
            if isinstance(value := getattr(self, field), bool) or not isinstance(value, kinds) or not good(value)
        ]
        if self.precision not in PRECISIONS:
            mistakes.append(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.engine not in ENGINES:
            mistakes.append(f"engine must be one of {', '.join(ENGINES)}, not {self.engine!r}")
        mistakes += protocol.mistakes(self)
        if mistakes:
            raise UserError("; ".join(mistakes))
        for field, value in protocol.settled(self).items():
            settle(field, value)
        settle("tau", float(self.tau))
        manipulation = MANIPULATIONS[self.manip]
        settle("severity", manipulation.settle(self.severity))
        if not manipulation.draws:
            settle("draws", 1)

    @property
    def dataset_name(self) -> str:
        """The data set's short name: the last folder where it is a path."""
        return slug(self.dataset)

    @property
    def run_id(self) -> str:
        """Name of the run's folder and page: data set, manipulation, encoder, and each setting that is not the usual one."""
        return self._id([self.dataset_name, self.condition_id])

    @property
    def condition_id(self) -> str:
        """The manipulation with its severity and draws, as part of a file name."""
        return self.manip + f"-s{self.severity}" * (self.severity > 0) + f"-draws{self.draws}" * (self.draws > 1)

    @property
    def condition(self) -> Condition:
        """What is done to the queries, by its first draw."""
        return Condition(self.manip, self.severity)

    @property
    def conditions(self) -> list[str]:
        """What is done to the queries, a condition a draw."""
        return [str(Condition(self.manip, self.severity, draw)) for draw in range(self.draws)]

    def _id(self, parts: list[str]) -> str:
        parts = [*parts, encoder_slug(self.encoder)]
        for field in ("k", "tau", "seed", "categories", "per_category", "start", "step"):
            value = getattr(self, field)
            if value != type(self).__dataclass_fields__[field].default:
                parts.append(f"{field}{value}")
        if self.precision != "fp32":
            parts.append(self.precision)
        if self.engine != "torch":
            parts.append(self.engine)
        return "-".join([*parts, *protocol.name_parts(self)])

    def under(self, manip: str, severity: int = 0) -> RunSpec:
        """The same run under another manipulation: at its fixed setting, or at a severity."""
        return dataclasses.replace(self, manip=manip, severity=severity)

    @property
    def clean(self) -> RunSpec:
        """The same run on the photographs as they are."""
        return self.under(CLEAN)

    @property
    def group_id(self) -> str:
        """Name of the runs that differ from this one in the manipulation only."""
        return self._id([self.dataset_name])

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def spec_of(parameters: Mapping[str, Any]) -> RunSpec:
    """The run that a notebook's parameters describe; those that are not part of the specification are passed over."""
    return RunSpec(**{key: value for key, value in parameters.items() if key in RunSpec.__dataclass_fields__})
