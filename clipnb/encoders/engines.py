"""Engines that run a network's forward pass: plain PyTorch, compiled PyTorch, or OpenVINO on the CPU.

The last two are built for one batch size, and smaller batches are padded. Images per second with efficientnet-lite2 on two
cores, relative to plain PyTorch, in one run: compiled 1.6, OpenVINO 2.7; on a processor with bf16, OpenVINO in bf16 is 1.4
times as fast as in fp32. Memory in channels-last order gave 0.95 and is not offered.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UserError, needs

Forward = Callable[[Any], Any]
"""Normalised images, a torch tensor (n, 3, size, size), to features (n, dim)."""


def build(engine: str, forward: Forward, batch_size: int, size: int, precision: str) -> Forward:
    """Build a forward pass with the engine "compile" or "openvino", for batches of `batch_size` images of `size` pixels a side.

    Raises:
        UserError: the engine does not support this precision on this machine.
        MissingExtra: OpenVINO is not installed.
    """
    return _compiled(forward) if engine == "compile" else _openvino(forward, batch_size, size, precision)


def _compiled(forward: Forward) -> Forward:
    import torch

    compiled = torch.compile(forward)

    def run(pixels: Any) -> Any:
        try:
            return compiled(pixels)
        except torch._dynamo.exc.BackendCompilerFailed as error:  # most often because there is no C++ compiler
            why = (str(error).strip().splitlines() or [""])[0]
            raise UserError(f"the engine 'compile' cannot compile here ({why}): use -p engine torch") from error

    return run


def _openvino(forward: Forward, batch_size: int, size: int, precision: str) -> Forward:
    with needs("the engine 'openvino'", "openvino", "use -p engine torch"):
        import openvino
    import torch

    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "fp16" or (precision == "bf16" and "BF16" not in able):
        raise UserError(
            f"the engine 'openvino' does not run {precision} on this processor: use -p precision fp32, or -p engine torch"
        )

    class Network(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pixels: Any) -> Any:
            return forward(pixels)

    example = torch.zeros(batch_size, 3, size, size)
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):  # tracing warns of every Python number
        graph = openvino.convert_model(Network(), example_input=example, input=[list(example.shape)])
    network = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else precision})
    return lambda pixels: torch.from_numpy(np.array(network(pixels.numpy())[0]))
