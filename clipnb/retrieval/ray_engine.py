"""`clipnb index --engine ray`: make shards on Ray Data, whose actors each hold an encoder.

Ray schedules the shards, replaces a worker that dies and has its shard made again. All workers write to one folder, so a
cluster needs a file system that its machines share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..errors import MissingExtra
from .build import Engine, Plan, Shard, load_worker, make_shard


class Worker:
    """An encoder in a process of its own."""

    def __init__(self, shards: Sequence[Shard], plan: Plan) -> None:
        self.shards = {shard.number: shard for shard in shards}
        self.encoder = load_worker(plan)
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        make_shard(self.shards[int(row["shard"])], self.encoder, self.pool)
        return {"shard": row["shard"], "worker": os.getpid()}


def ray_engine(workers: int = 2, address: str | None = None, gpus: float = 0) -> Engine:
    """Return an engine that makes shards on Ray.

    Args:
        workers: number of processes.
        address: address of a running cluster ("auto" or "host:port"); None starts a cluster on this machine.
        gpus: number of GPUs, or share of a GPU, for each worker.

    Raises:
        MissingExtra: Ray is not installed.
    """
    try:
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("the engine ray", "scale") from error

    def run(shards: Sequence[Shard], plan: Plan) -> Iterable[int]:
        started = not ray.is_initialized()
        if started:
            cpus: dict[str, Any] = {} if address else {"num_cpus": max(workers + 1, os.cpu_count() or 1)}  # one for Ray's own tasks
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **cpus)
        ray.data.DataContext.get_current().enable_progress_bars = False
        try:
            numbers = [{"shard": shard.number} for shard in shards]
            made = ray.data.from_items(numbers, override_num_blocks=len(numbers)).map(
                Worker,
                fn_constructor_args=(list(shards), plan),
                compute=ray.data.ActorPoolStrategy(size=min(workers, len(numbers))),
                num_cpus=1,
                num_gpus=gpus or None,
            )
            for row in made.iter_rows():
                yield int(row["shard"])
        finally:
            if started:
                ray.shutdown()

    return run
