"""How fast a network is computed: its engine (plain PyTorch, compiled PyTorch, or OpenVINO on the CPU) and its batch size.

The last two engines are built for one batch size, and smaller batches are padded. Images per second with efficientnet-lite2 on two
cores, relative to plain PyTorch, in one run: compiled 1.6, OpenVINO 2.7; on a processor with bf16, OpenVINO in bf16 is 1.4
times as fast as in fp32. Memory in channels-last order gave 0.95 and is not offered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UserError, needs, text_of

TRIALS = 2  # trials of a size; the fastest counts, because the first run of a shape is slow
Forward = Callable[[Any], Any]  # normalised images, a torch tensor (n, 3, size, size), to features (n, dim)


def compiled(forward: Forward) -> Forward:
    """The forward pass compiled by PyTorch; a `UserError` at the first call if it cannot be compiled here."""
    import torch

    fast = torch.compile(forward)

    def run(pixels: Any) -> Any:
        try:
            return fast(pixels)
        except torch._dynamo.exc.BackendCompilerFailed as error:  # most often because there is no C++ compiler
            raise UserError(f"the engine 'compile' cannot compile here ({text_of(error)}): use -p engine torch") from error

    return run


def in_openvino(forward: Forward, batch_size: int, size: int, precision: str) -> Forward:
    """The forward pass in OpenVINO, for batches of `batch_size` images of `size` pixels a side.

    A `UserError` says that the processor does not run this precision, a `MissingExtra` that OpenVINO is not installed.
    """
    with needs("the engine 'openvino'", "openvino", "use -p engine torch"):
        import openvino
    import torch

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "fp16" or (precision == "bf16" and "BF16" not in able):
        instead = "use -p precision fp32, or -p engine torch"
        raise UserError(f"the engine 'openvino' does not run {precision} on this processor: {instead}")

    class Network(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pixels: Any) -> Any:
            return forward(pixels)

    example = torch.zeros(batch_size, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # tracing warns of every Python number
        graph = openvino.convert_model(Network(), example_input=example, input=[list(example.shape)])
    network = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else precision})
    return lambda pixels: torch.from_numpy(np.array(network(pixels.numpy())[0]))


class FastestSize:
    """Try several batch sizes on real work, then keep the one with the least time per input.

    On two cores, a convolutional network was twice as fast at 4 as at 32, a vision transformer a sixth faster at 16 than at 4.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._seconds: dict[int, list[float]] = {size: [] for size in sizes}
        self.most = max(sizes)

    @property
    def best(self) -> int | None:
        """The fastest size, or None while a size still needs trials."""
        if len(self._seconds) > 1 and any(len(times) < TRIALS for times in self._seconds.values()):
            return None
        return min(self._seconds, key=lambda size: min(self._seconds[size], default=0.0))

    def next(self, waiting: int) -> int:
        """Size of the next batch, at least 1, while `waiting` inputs wait."""
        size = self.best
        if size is None:
            untried = [size for size, times in self._seconds.items() if len(times) < TRIALS and size <= waiting]
            size = min(untried, key=lambda size: len(self._seconds[size]), default=waiting)
        return max(1, min(size, self.most, waiting))

    def note(self, size: int, seconds: float) -> None:
        """Record the time of a batch of `size` inputs."""
        if size in self._seconds:
            self._seconds[size].append(seconds / size)

    def limit(self, size: int) -> None:
        """Limit batches to `size` inputs, because more do not fit into memory."""
        self.most = size
        self._seconds = {s: times for s, times in self._seconds.items() if s <= size} or {size: []}
