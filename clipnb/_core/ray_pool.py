"""Work on Ray Data: processes that each hold a worker. Ray replaces a process that dies and has its work done again."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import needs


class _Actor:
    """A worker in a process of its own, in the folder and with the settings of the process that started it."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], folder: str, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        with suppress(OSError):  # another machine may lack the folder
            os.chdir(folder)
        self.work = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"made": pickle.dumps(self.work(pickle.loads(row["piece"])))}


@dataclass(frozen=True)
class RayPool:
    """A number of processes (`workers`) on Ray; `MissingExtra` if Ray is not installed."""

    workers: int = 2
    address: str | None = None  # address of a running cluster ("auto" or "host:port"); None starts a cluster on this machine
    gpus: float = 0  # number of GPUs, or share of a GPU, for each process
    environment: Mapping[str, str] | None = None  # environment variables of the processes, besides this one's CLIPNB_ variables

    def __post_init__(self) -> None:
        if not self.address:  # Ray then listens on the loopback address alone; from "127.0.0.1" it makes one that others reach
            os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        with needs("the engine ray", "scale"):
            import ray.data  # noqa: F401

    def work(self, make: Callable[[], Callable[[Any], Any]], pieces: Sequence[Any]) -> Iterator[Any]:
        """Call a worker, which `make` makes in each process, for each piece of work; yield each result as soon as it is ready."""
        import ray.data

        started = not ray.is_initialized()
        if started:
            cores = max(self.workers + 1, os.cpu_count() or 1)  # one for Ray's own tasks
            own: dict[str, Any] = {} if self.address else {"num_cpus": cores, "_node_ip_address": "127.0.0.1"}
            ray.init(address=self.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **own)
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        settings = {name: value for name, value in os.environ.items() if name.startswith("CLIPNB_")}
        try:
            rows = ray.data.from_items([{"piece": pickle.dumps(p)} for p in pieces], override_num_blocks=len(pieces)).map(
                _Actor,
                fn_constructor_args=(make, os.getcwd(), settings | dict(self.environment or {})),
                compute=ray.data.ActorPoolStrategy(size=min(self.workers, len(pieces))),
                num_cpus=1,
                num_gpus=self.gpus or None,
            )
            for row in rows.iter_rows():
                yield pickle.loads(row["made"])
        finally:
            if started:
                ray.shutdown()
