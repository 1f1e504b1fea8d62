"""An estimate for a collection as large as LAION-5B: hours, bytes, memory and cost from measured rates and stated prices.

Everything that was measured comes from `book/clipnb_book/data/scale.csv` (`python benchmarks/search.py scale`); everything that was
not is an assumption, named here and shown beside the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from clipnb.report.format import share, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DATA = Path(__file__).parent / "data"

LAION = 5_850_000_000
"""Images of LAION-5B, to the nearest ten million (Schuhmann et al. 2022)."""

DIM = 768
LINKS = 32
"""Links of a node of the HNSW graph, M; its lowest level has 2 M links of four bytes each."""

QUANTIZED = 64
"""Bytes per vector after product quantization with 64 sub-vectors of 8 bits."""

GPUS = 64

ASIDE = 1.25
"""Factor by which a round is drawn to the right of its median, so that both are visible."""

ASSUMED = {
    "images a second on one GPU (ViT-L/14, A100, clip-retrieval's documentation)": 312.0,
    "price of a GPU hour, US dollars": 2.0,
    "price of a GB of memory a month, US dollars": 3.0,
    "price of a GB of disk a month, US dollars": 0.1,
    "bytes of a photograph as it is fetched (JPEG)": 50_000.0,
}
"""Assumptions, not measured: the rate is from documents, the prices are examples."""


def measured() -> pd.DataFrame:
    """Rows of the index measurements: vectors, index, bytes, build_seconds, queries_per_second, rounds, recall.

    `queries_per_second` is the median of `rounds`, a list of the rate in each.
    """
    rows = pd.read_csv(DATA / "scale.csv")
    rows["rounds"] = [[float(rate) for rate in each.split()] for each in rows["rounds"]]
    return rows


def measured_table() -> str:
    """A Markdown table with a row for each size and index."""
    rows = [
        [
            f"{row['vectors']:,}",
            str(row["index"]),
            f"{row['bytes'] / 2**20:,.1f}",
            f"{row['build_seconds']:,.1f}",
            f"{row['queries_per_second']:,.0f}",
            f"{min(row['rounds']):,.0f} to {max(row['rounds']):,.0f}",
            share(row["recall"], ".3f"),
        ]
        for row in measured().to_dict("records")
    ]
    return table(["vectors", "index", "MiB on disk", "seconds to build", "queries a second", "range", "recall@10"], rows, "rlrrrrr")


def speed_table() -> str:
    """100,000 vectors, 1,000 queries: one row per kind of search, medians over alternating rounds.

    `kernels` is the processor type whose BLAS kernels FAISS used, detected or set.
    """
    cells = [
        [
            str(row["what"]),
            str(row["kernels"]),
            f"{row['queries_per_second']:,.0f}",
            f"{row['slowest']:,.0f} to {row['fastest']:,.0f}",
            f"{row['clipnb_exact_is_faster_by']:.2f}" + (" (exact ÷ HNSW)" if "hnsw" in str(row["what"]) else ""),
            share(row["recall"], ".3f"),
        ]
        for row in pd.read_csv(DATA / "search.csv").to_dict("records")
    ]
    return table(
        ["search by", "FAISS computes for", "queries a second", "range", "rate of clipnb exact ÷ this", "recall@10"],
        cells,
        "llrrrr",
    )


def bytes_per_vector(index: str) -> float:
    """Bytes of an index for each vector of 768 values, by construction.

    exact: 4 d. hnsw with 16-bit vectors: 2 d + 4 x 2 M links. ivf with product quantization: code + 8 for its number.
    """
    return {"exact": 4.0 * DIM, "hnsw": 2.0 * DIM + 4.0 * 2 * LINKS, "ivfpq": QUANTIZED + 8.0}[index]


def _monthly(size: float, price: float) -> str:
    return f"USD {size / 1e9 * price:,.0f} a month"


def arithmetic(images: int = LAION, gpus: int = GPUS) -> list[tuple[str, str, str]]:
    """The estimate, line by line: (what, how it is computed, result)."""
    rate, gpu_price, memory_price, disk_price, photo = ASSUMED.values()
    gpu_hours = images / rate / 3600
    size = images * DIM * 2
    lines = [
        ("photographs", f"{images:,} x {photo / 1000:.0f} kB", f"{images * photo / 1e12:,.0f} TB fetched"),
        ("embedding", f"{images:,} / ({rate:g} images/s x 3600 s)", f"{gpu_hours:,.0f} GPU hours"),
        ("embedding, time", f"{gpu_hours:,.0f} h / {gpus} GPUs", f"{gpu_hours / gpus / 24:.1f} days"),
        ("embedding, cost", f"{gpu_hours:,.0f} h x USD {gpu_price:g}", f"USD {gpu_hours * gpu_price:,.0f}"),
        ("embeddings on disk", f"{images:,} x {DIM} x 2 bytes", f"{size / 1e12:.1f} TB, {_monthly(size, disk_price)}"),
    ]
    for index, called in (("exact", "exact, 32 bits"), ("hnsw", "HNSW, 16 bits"), ("ivfpq", "IVF with product quantization")):
        each = bytes_per_vector(index)
        cost = _monthly(images * each, memory_price)
        lines.append((f"memory, {called}", f"{images:,} x {each:,.0f} bytes", f"{images * each / 1e12:.2f} TB, {cost}"))
    slowest = measured().query("index == 'exact'").iloc[-1]
    power = growth()
    a_query = (images / slowest["vectors"]) ** power / slowest["queries_per_second"]
    lines.append(
        (
            "exact search, this machine",
            f"({images:,} / {slowest['vectors']:,.0f} vectors)^{power:.2f} / {slowest['queries_per_second']:,.1f} a second",
            f"{a_query / 60:,.1f} minutes a query, batched",
        )
    )
    return lines


def arithmetic_table() -> str:
    """`arithmetic` as a Markdown table."""
    return table(["quantity", "arithmetic", "result"], [list(line) for line in arithmetic()], "llr")


def assumptions_table() -> str:
    """`ASSUMED` as a Markdown table."""
    assumed = {**ASSUMED, "GPUs at work": float(GPUS)}
    return table(["assumed, not measured", "value"], [[what, f"{value:,g}"] for what, value in assumed.items()], "lr")


def growth() -> float:
    """Exponent of the exact search time per query in the number of vectors, by least squares on logarithms: 1 is linear."""
    rows = measured().query("index == 'exact'")
    return float(np.polyfit(np.log(rows["vectors"]), -np.log(rows["queries_per_second"]), 1)[0])


def figure() -> Figure:
    """Queries a second, each round a small dot, and bytes by number of vectors; one line per index."""
    from clipnb.report.plots import INK, MID, WIDTH, new_figure

    drawn, axes = new_figure(WIDTH, 2.8, 1, 2)
    looks = {"exact": ("o-", INK), "ivf": ("s--", MID), "hnsw": ("^:", MID)}
    for ax, column, label in zip(
        axes[0], ("queries_per_second", "bytes"), ("queries a second, batched", "bytes on disk"), strict=True
    ):
        for index, rows in measured().groupby("index", sort=False):
            style, colour = looks[str(index)]
            ax.plot(rows["vectors"], rows[column], style, color=colour, label=str(index), markersize=5)
            if column == "queries_per_second":
                for at, rounds in zip(rows["vectors"], rows["rounds"], strict=True):
                    ax.plot([at * ASIDE] * len(rounds), rounds, ".", color=colour, markersize=3)
        ax.set(xscale="log", yscale="log", xlabel="vectors in the gallery", ylabel=label)
    axes[0, 0].legend(fontsize=8, frameon=False)
    return drawn
