"""Benchmarks of the model's dense parts against runtimes for their ONNX files.

ONNX Runtime and OpenVINO take part where they and what writes the files are installed:
``pip install onnx onnxruntime onnxscript openvino``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.engine import Precision, autocast
from occ_core.export.onnx_parts import NEEDED, onnx_file, onnx_parts
from occ_core.model import OccupancyModel
from training.benchmarks.definition import Benchmark

CAMERAS = 6
TOLERANCE = 0.03
"""Largest mean difference of two results over their standard deviation: bfloat16 has 8 bits."""

Run = Callable[[], Tensor]


@contextmanager
def image_encoder() -> Iterator[Benchmark]:
    """Feature maps of six images, by the shipped model."""
    with _part("image_encoder", lambda shape: torch.randint(0, 256, shape).byte()) as benchmark:
        yield benchmark


@contextmanager
def volume_encoder() -> Iterator[Benchmark]:
    """The encoded volume, by the shipped model."""
    with _part("volume_encoder", torch.randn) as benchmark:
        yield benchmark


@contextmanager
def _part(name: str, draw: Callable[[torch.Size], Tensor]) -> Iterator[Benchmark]:
    model = load_checkpoint(SHIPPED)[0]
    assert isinstance(model, OccupancyModel)
    model.image_encoder.fold()  # as on the robot
    part, example = onnx_parts(model.eval(), CAMERAS)[name]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        given = draw(example.shape)
    with TemporaryDirectory() as folder:
        baselines: dict[str, Run] = {"torch, float32": partial(_torch, part, given, "fp32")}
        if all(map(find_spec, NEEDED)):
            file = onnx_file(part, example, Path(folder) / f"{name}.onnx")
            baselines |= _onnx_runtime(file, given) | _openvino(file, given)
        yield Benchmark(
            candidate=partial(_torch, part, given, "auto"), baselines=baselines, same=_same
        )


@torch.inference_mode()
def _torch(part: nn.Module, given: Tensor, precision: Precision) -> Tensor:
    with autocast(torch.device("cpu"), precision):
        result: Tensor = part(given)
    return result.float()


def _onnx_runtime(file: Path, given: Tensor) -> dict[str, Run]:
    if find_spec("onnxruntime") is None:
        return {}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    inputs = {"input": given.numpy()}
    return {"ONNX Runtime": lambda: torch.from_numpy(session.run(None, inputs)[0])}


def _openvino(file: Path, given: Tensor) -> dict[str, Run]:
    if find_spec("openvino") is None:
        return {}
    import openvino

    # it computes in bfloat16 where that is fast, as we do
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY"}
    options["INFERENCE_NUM_THREADS"] = torch.get_num_threads()
    compiled = openvino.compile_model(file, "CPU", options)
    return {"OpenVINO": lambda: torch.from_numpy(compiled(given.numpy())[0])}


def _same(result: Tensor, other: Tensor) -> bool:
    return bool((result - other).abs().mean() <= TOLERANCE * other.std())
