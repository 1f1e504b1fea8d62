"""The benchmark for GPUs runs on a CPU too, small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_benchmark_runs_and_its_vectors_agree(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu.py"
    subprocess.run([sys.executable, str(script), "--images", "4", "--out", str(tmp_path / "gpu.json")], check=True)
    rows = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert {(row["photograph"], row["precision"]) for row in rows} >= {("128 x 128", "fp32"), ("1000 x 750", "fp16")}
    for row in rows:
        assert row["off the CPU"] < {"fp32": 1e-5, "TF32": 5e-3, "bf16": 0.06, "fp16": 0.01}[row["precision"]]
        assert row["end to end"] > 0
        assert row["bare"] > 0
