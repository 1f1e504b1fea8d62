"""Measure the speed of clipnb relative to references: `python benchmarks/speed.py [folder]`.

The two sides of a ratio are timed in turn, so that other work of the machine affects both. The folder is a data set, by
default `$CLIPNB_DATA/miniplaces` or, without it, the sample photographs. Writes `book/clipnb_book/data/speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as clipnb sets it; read when torch is loaded

import numpy as np
import torch
from measuring import Row, network, new_store, row, seconds, subset
from networks import random_vit
from study_loop import grid
from tqdm import tqdm

import clipnb
from clipnb._core.paths import data_root
from clipnb.datasets.dataset import load_dataset
from clipnb.datasets.images import decode, read
from clipnb.embedding.embed import embed
from clipnb.manipulations import STUDY, condition

OUT = Path(__file__).resolve().parent.parent / "book" / "clipnb_book" / "data" / "speed.json"


def end_to_end(folder: Path, scratch: Path, images: int, rounds: int) -> Row:
    """Time ViT-L/14 from photographs to stored embeddings against its forward pass on prepared tensors."""
    encoder: Any = random_vit("ViT-L-14")
    photos = load_dataset(str(folder)).photos[:images]
    size = encoder.batch_size
    ready = torch.rand(len(photos), 3, encoder.input_size, encoder.input_size, device=encoder.device).split(size)

    def bare() -> None:
        with torch.inference_mode():
            for pixels in ready:
                encoder.model.encode_image(pixels).cpu()

    bare()
    ratios = []
    for _ in tqdm(range(rounds), "ViT-L/14"):
        alone = seconds(bare)
        ratios.append(alone / seconds(lambda: embed(photos, ["original"], encoder, new_store(encoder, scratch), progress=False)))
    detail = f"{images} photographs, batches of {size}, median of {rounds} rounds in turn, {encoder.device}; random weights"
    reach = 0.95 if encoder.device == "cpu" else 0.8
    return row("ViT-L/14 end to end against its bare forward pass", ratios, reach, detail)


def four_conditions(folder: Path, scratch: Path, images: int, rounds: int) -> Row:
    """Time efficientnet-lite2 under four conditions against its steps, each timed separately."""
    encoder = network("efficientnet-lite2")
    photos = load_dataset(str(folder)).photos[:images]
    size = getattr(encoder, "batch_size", 4)
    threads = os.cpu_count() or 1
    ratios = []
    for _ in tqdm(range(rounds), "four conditions"):
        with ThreadPoolExecutor(threads) as pool:
            kept: dict[str, Any] = {}

            def steps(pool: ThreadPoolExecutor = pool, kept: dict[str, Any] = kept) -> float:
                total = seconds(lambda: kept.update(images=list(pool.map(lambda p: decode(read(p.path)), photos))))
                jobs = [(image, manip) for image in kept["images"] for manip in STUDY]
                total += seconds(lambda: kept.update(made=list(pool.map(lambda job: condition(job[1])(job[0], 0, "x"), jobs))))
                total += seconds(lambda: kept.update(inputs=list(pool.map(encoder.prepare, kept["made"]))))
                seen = {pixels.tobytes(): pixels for pixels in kept["inputs"]}  # equal inputs are embedded once
                inputs = list(seen.values())
                batches = [np.stack(inputs[i : i + size]) for i in range(0, len(inputs), size)]
                return total + seconds(lambda: [encoder.encode(batch) for batch in batches])

            apart = steps()
        ratios.append(apart / seconds(lambda: embed(photos, STUDY, encoder, new_store(encoder, scratch), progress=False)))
    detail = (
        f"{images} photographs, {threads} cores, median of {rounds} rounds in turn; above 1 where decoding hides behind the network"
    )
    return row("efficientnet-lite2, four conditions, against the sum of its parts", ratios, 0.9, detail)


def clip_retrieval(folder: Path, scratch: Path, images: int, rounds: int) -> list[Row]:
    """Time ViT-B/32 by clipnb against `clip-retrieval inference`, which runs in another environment."""
    environment = os.environ.get("CLIPNB_CLIP_RETRIEVAL", "")
    if not Path(environment, "bin", "python").is_file():
        tqdm.write("clip-retrieval is not measured: CLIPNB_CLIP_RETRIEVAL names no environment that has it")
        return []
    model = random_vit("ViT-B-32", scratch / "vit-b-32.pt")
    photos = load_dataset(str(folder)).photos[:images]
    side = Path(__file__).resolve().parent.parent / "tests" / "clip_retrieval_side.py"

    def theirs() -> float:
        """Images per second as it reports them: reading, inference and writing, without loading the model."""
        there = Path(tempfile.mkdtemp(dir=scratch))
        for i, photo in enumerate(photos):
            shutil.copy(photo.path, there / f"{i:05d}{photo.path.suffix}")
        out = f"{there}-out"
        command = [f"{environment}/bin/python", str(side), "inference", str(there), out, f"open_clip:ViT-B-32/{model.weights}"]
        subprocess.run(command, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True)
        stats = [json.loads(path.read_text()) for path in Path(out, "stats").glob("*.json")]
        return sum(s["sample_count"] for s in stats) / sum(s["total_duration"] for s in stats)

    def ours() -> float:
        return images / seconds(lambda: embed(photos, ["original"], model, new_store(model, scratch)))

    ours()
    ratios, before = [], ours()
    for _ in tqdm(range(rounds), "clip-retrieval inference"):
        beside, after = theirs(), ours()
        ratios.append(statistics.mean([before, after]) / beside)
        before = after
    detail = (
        f"{len(photos)} photographs, ViT-B/32, random weights, median of {rounds} rounds, each between two of clipnb's; "
        "theirs by its own clock, without the loading of the model"
    )
    return [row("images/s against clip-retrieval inference", ratios, 1.0, detail)]


MEMORY = """
import json, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from networks import random_clip
from clipnb.datasets.dataset import load_dataset
from clipnb.embedding.embed import embed
from clipnb.embedding.store import EmbeddingStore

encoder = random_clip(dim=768)
peak, done = [0, 0], False
def watch():
    while not done:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak[0] = max(peak[0], int(status["RssAnon"].split()[0]))
        peak[1] = max(peak[1], int(status["VmRSS"].split()[0]))
        time.sleep(0.02)
thread = threading.Thread(target=watch); thread.start()
store = EmbeddingStore(Path(sys.argv[3]), encoder.identity, encoder.dim)
embed(load_dataset(sys.argv[2]).photos, ["original", "grey"], encoder, store, progress=False)
done = True; thread.join()
print(json.dumps(peak))
"""


def memory(scratch: Path, few: int, many: int) -> list[Row]:
    """Measure the peak memory of embedding many small photographs against few, by a tiny CLIP with 768 dimensions."""
    if not Path("/proc/self/status").is_file():
        tqdm.write("memory is not measured: this machine has no /proc/self/status")
        return []
    from PIL import Image

    source = scratch / "many"
    rng = np.random.default_rng(0)
    for i in tqdm(range(many), "photographs for the memory test"):
        (source / f"c{i % 10}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(source / f"c{i % 10}" / f"{i:05d}.png")

    def peak(n: int) -> list[int]:
        folder = subset(str(source), n, scratch / f"memory{n}")
        command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent), str(folder), tempfile.mkdtemp(dir=scratch)]
        found: list[int] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        return found

    small, large = peak(few), peak(many)
    detail = (
        f"memory that the system cannot take back (anonymous), {small[0] / 1024:.0f} MiB for {few} photographs, two conditions; "
        f"with mapped files, which it can, {large[1] / small[1]:.2f}"
    )
    return [row(f"peak memory, {many} photographs against {few}", [large[0] / small[0]], 1.1, detail, at_most=True)]


SECOND = """
import sys, time
from clipnb import RunSpec, run
start = time.perf_counter()
for manip in ("original", "blurred", "cropped", "grey"):
    run(RunSpec(sys.argv[1], manip, "efficientnet-lite2"), progress=False)
print(time.perf_counter() - start)
"""


def second_run(folder: Path, scratch: Path) -> Row:
    """Time four conditions in a new process, with all embeddings in the store."""
    os.environ["CLIPNB_CACHE"] = tempfile.mkdtemp(dir=scratch)

    def go() -> float:
        done = subprocess.run([sys.executable, "-c", SECOND, str(folder)], check=True, capture_output=True, text=True)
        return float(done.stdout)

    first, again = go(), [go() for _ in range(3)]
    times = first / statistics.median(again)
    n = len(load_dataset(str(folder)).photos)
    detail = f"seconds for {n} photographs and four conditions after the imports; the first time took {times:.0f} times as long"
    return row("second run of a finished grid, in seconds", again, 2.0, detail, at_most=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="data set: a folder, or a name in $CLIPNB_DATA")
    parser.add_argument("--images", type=int, default=500, help="number of photographs of the grid (default 500)")
    parser.add_argument("--queries", type=int, default=24, help="number of queries of the study's loop (default 24)")
    parser.add_argument("--only", nargs="*", help="measure only these: grid, end, parts, clip-retrieval, memory, second")
    parser.add_argument("--many", type=int, default=20000, help="number of photographs of the memory test (default 20000)")
    parser.add_argument("--out", type=Path, default=OUT, help="file of the table")
    options = parser.parse_args()
    dataset = options.folder or ("miniplaces" if (data_root() / "miniplaces").is_dir() else "sample-figures")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        folder = subset(dataset, options.images, scratch / "set")
        steps: dict[str, Callable[[], Row | list[Row]]] = {
            "grid": lambda: grid(folder, scratch, options.queries),
            "end": lambda: end_to_end(folder, scratch, 12, 3),
            "parts": lambda: four_conditions(folder, scratch, 100, 5),
            "clip-retrieval": lambda: clip_retrieval(folder, scratch, 160, 3),
            "memory": lambda: memory(scratch, 1000, options.many),
            "second": lambda: second_run(folder, scratch),
        }
        for name in options.only or steps:
            found = steps[name]()
            used = "generated photographs" if name == "memory" else Path(dataset).name
            rows += [r | {"photographs": used} for r in (found if isinstance(found, list) else [found])]
            kept = json.loads(options.out.read_text())["rows"] if options.only and options.out.is_file() else []
            measured = {r["measure"] for r in rows}
            table = {
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "device": "cuda" if torch.cuda.is_available() else "cpu",
                "versions": {"clipnb": clipnb.__version__, "torch": torch.__version__, "python": platform.python_version()},
                "rows": [r for r in kept if r["measure"] not in measured] + rows,
            }
            options.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
