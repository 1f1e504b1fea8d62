"""Measure the speed of galleries: `python benchmarks/search.py` or `python benchmarks/search.py scale`.

Without an argument, 1,000 queries with k = 10 search 100,000 generated vectors of 768 values by the exact index, by a bare
torch matrix product with top-k, by HNSW, and, if $CLIPNB_CLIP_RETRIEVAL names an environment with clip-retrieval, by its back
end with 16 requests at a time. The methods take turns, and each ratio is of measurements from the same round. With
`OPENBLAS_CORETYPE=SkylakeX` (or `Haswell`) the BLAS of FAISS uses the kernels of that processor; such rows are added to the
table. Writes `book/clipnb_book/data/search.csv`.

`scale` measures the size, the build time, the queries per second and the recall of the indexes of 1,000 to 1,000,000
vectors, one size for each power of ten. Writes `book/clipnb_book/data/scale.csv`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as clipnb sets it: waiting threads yield the processor

import faiss
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from clipnb._core.random import rng_for
from clipnb.retrieval import faiss_index
from clipnb.retrieval.knn_client import KnnClient, Options

ROOT = Path(__file__).resolve().parent.parent
DIM, K = 768, 10


def vectors(n: int, *identity: object) -> NDArray[np.float32]:
    """Draw (n, 768) unit vectors in clusters of about 100 around 20 topics, as embeddings of photographs are clustered."""
    topics = rng_for(0, "topics").normal(size=(20, DIM)).astype(np.float32)
    centres = topics[rng_for(0, "topic").integers(0, 20, 10_000)] + 0.8 * rng_for(0, "centres").normal(size=(10_000, DIM)).astype(
        np.float32
    )
    rng = rng_for(0, *identity)
    out = centres[rng.integers(0, max(10, min(10_000, n // 100)), n)]
    out += 0.7 * rng.standard_normal((n, DIM), dtype=np.float32)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    return out


def timed(work: Callable[[], object]) -> float:
    """Time an action in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speed(rounds: int) -> None:
    """Measure the methods in turn and write `search.csv`."""
    import torch

    gallery, asked = vectors(100_000, "gallery"), vectors(1_000, "queries")
    held, queries = torch.from_numpy(gallery), torch.from_numpy(asked)
    exact = faiss_index.build("exact", [gallery], len(gallery), DIM)
    hnsw = faiss_index.build("hnsw", [gallery], len(gallery), DIM)
    methods: dict[str, tuple[int, Callable[[], object]]] = {
        "clipnb exact": (1_000, lambda: exact.search(asked, K)),
        "torch matmul + topk": (1_000, lambda: torch.topk(queries @ held.T, K)),
        "clipnb hnsw": (1_000, lambda: hnsw.search(asked, K)),
    }
    recall = {
        "clipnb exact": 1.0,
        "torch matmul + topk": 1.0,
        "clipnb hnsw": faiss_index.recall_at_k(hnsw, gallery, asked[:200], K),
    }
    with tempfile.TemporaryDirectory() as folder, back_end(Path(folder), {"exact": exact, "hnsw": hnsw}) as address:
        if address:
            for name in ("exact", "hnsw"):
                client = KnnClient(address, name, concurrency=16)
                client.query(asked[:16], Options(K))  # the first answers are slower
                few = asked[:200]
                methods[f"clip-retrieval back, {name}"] = (200, lambda client=client, few=few: client.query(few, Options(K)))
                recall[f"clip-retrieval back, {name}"] = recall[f"clipnb {name}"]
        rates: dict[str, list[float]] = {name: [] for name in methods}
        for work in (work for _, work in list(methods.values())[:3]):
            work()
        for _ in range(rounds):
            for name, (count, work) in methods.items():
                rates[name].append(count / timed(work))
    ours = rates["clipnb exact"]
    rows = [
        {
            "what": name,
            "queries_per_second": round(statistics.median(found), 1),
            "slowest": round(min(found), 1),
            "fastest": round(max(found), 1),
            "clipnb_exact_is_faster_by": round(statistics.median([a / b for a, b in zip(ours, found, strict=True)]), 2),
            "recall": round(recall[name], 4),
        }
        for name, found in rates.items()
    ]
    write(pd.DataFrame(rows), "search.csv", beside=True)


@contextmanager
def back_end(folder: Path, galleries: dict[str, faiss_index.FaissIndex]) -> Iterator[str]:
    """Serve galleries by clip-retrieval's back end on this machine, and yield its address, or "" without clip-retrieval."""
    import torch
    from networks import random_clip

    python = Path(os.environ.get("CLIPNB_CLIP_RETRIEVAL", "/nowhere")) / "bin" / "python"
    if not python.is_file():
        print("clip-retrieval is not measured: CLIPNB_CLIP_RETRIEVAL names no environment that has it")
        yield ""
        return
    for name, index in galleries.items():
        faiss_index.write(index, folder / name / "image.index")
        (folder / name / "metadata").mkdir()
        urls = [f"http://images.invalid/{i}.jpg" for i in range(index.size)]
        pd.DataFrame({"url": urls}).to_parquet(folder / name / "metadata" / "metadata_0.parquet")
    (folder / "indices.json").write_text(json.dumps({name: str(folder / name) for name in galleries}))
    torch.save(random_clip(64).model.state_dict(), folder / "tiny.pt")  # the back end loads a model, but does not use it
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [python, ROOT / "tests" / "clip_retrieval_side.py", "back", folder / "indices.json", str(port), folder / "tiny.pt"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            while True:
                try:
                    urllib.request.urlopen(f"{address}/indices-list").close()
                    break
                except OSError:
                    if server.poll() is not None:
                        raise RuntimeError((folder / "log").read_text()[-2000:]) from None
                    time.sleep(0.5)
            yield address
        finally:
            server.terminate()


def scale(decades: list[int], hnsw_up_to: int, rounds: int) -> None:
    """Measure the indexes of each size and write `scale.csv`."""
    rows = []
    asked = vectors(1_000, "queries")
    for n in decades:
        gallery = vectors(n, "gallery", n)
        for kind in ("exact", "ivf", "hnsw"):
            if kind == "hnsw" and n > hnsw_up_to:
                continue
            started = time.perf_counter()
            index = faiss_index.build(kind, (gallery[a : a + 65_536] for a in range(0, n, 65_536)), n, DIM)
            built = time.perf_counter() - started
            few = asked[: 200 if n == 10**6 and kind == "exact" else 1_000]
            index.search(few[:50], K)
            rates = [len(few) / timed(partial(index.search, few, K)) for _ in range(rounds)]
            with tempfile.TemporaryDirectory() as folder:
                faiss_index.write(index, Path(folder) / "image.index")
                size = (Path(folder) / "image.index").stat().st_size
            recall = 1.0 if kind == "exact" else faiss_index.recall_at_k(index, gallery, asked[:200], K)
            measured = {
                "bytes": size,
                "build_seconds": round(built, 2),
                "queries_per_second": round(statistics.median(rates), 1),
                "rounds": " ".join(f"{rate:.1f}" for rate in rates),
                "recall": round(recall, 4),
            }
            rows.append({"vectors": n, "index": kind} | measured)
            print(rows[-1], flush=True)
            write(pd.DataFrame(rows), "scale.csv")


def kernels() -> str:
    """The processor whose kernels the BLAS of FAISS uses; on a processor that is newer than the BLAS, the oldest, Prescott."""
    found = (each for each in threadpool_info() if each["internal_api"] == "openblas" and "faiss" in each["filepath"])
    return next((str(each["architecture"]) for each in found), "unknown")


def write(table: pd.DataFrame, name: str, beside: bool = False) -> None:
    """Write the table with the machine; `beside` keeps the rows of the file that were measured with other kernels."""
    path = ROOT / "book" / "clipnb_book" / "data" / name
    table["kernels"] = kernels()
    table["cores"] = os.cpu_count()
    table["faiss"] = faiss.__version__
    table["machine"] = platform.machine()
    if beside:
        kept = pd.read_csv(path)
        kept = kept[~kept["kernels"].isin(table["kernels"])]
    pd.concat([kept, table] if beside else [table]).to_csv(path, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("what", nargs="?", choices=["speed", "scale"], default="speed")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--decades", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6])
    options.add_argument("--hnsw-up-to", type=int, default=10**5)
    chosen = options.parse_args()
    if chosen.what == "scale":
        scale(chosen.decades, chosen.hnsw_up_to, chosen.rounds)
    else:
        speed(chosen.rounds)
