"""`clipnb index --engine ray`: make shards on Ray, in processes that each hold an encoder.

All workers write to one folder, so a cluster needs a file system that its machines share.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from .._core.ray_pool import RayPool
from .build import Engine, Plan, Shard, load_worker, make_shard


class Worker:
    """An encoder, and the threads that decode."""

    def __init__(self, plan: Plan) -> None:
        self.encoder = load_worker(plan)
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)

    def __call__(self, shard: Shard) -> int:
        make_shard(shard, self.encoder, self.pool)
        return shard.number


def ray_engine(workers: int = 2, address: str | None = None, gpus: float = 0) -> Engine:
    """Return an engine that makes shards on Ray; `RayPool` explains the arguments.

    Raises:
        MissingExtra: Ray is not installed.
    """
    pool = RayPool(workers, address, gpus)

    def run(shards: Sequence[Shard], plan: Plan) -> Iterable[int]:
        return pool.work(partial(Worker, plan), shards)

    return run
