"""Time and memory by image size and backbone (TACOcc, Table VII).

``python -m training.efficiency [--rows tiny ...]`` measures each row in a process of its own and
writes ``out/efficiency.json``. Weights are random, since time and memory hardly depend on
them; ``training.profile`` measures the shipped ones.
"""

from __future__ import annotations

import json
import resource
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.config import OccupancyConfig, base, small, tiny
from occ_core.engine import OccupancyEngine, best_device
from occ_core.interface import VoxelModel
from occ_core.ops.allocator import keep_freed_memory
from occ_core.temporal import TemporalConfig
from training.benchmarks.own_process import measure_in_own_process, repeated_answer
from training.benchmarks.timing import describe_machine, medians_ms


@dataclass(frozen=True)
class EfficiencyRow:
    """One row of the table."""

    preset: Callable[[], OccupancyConfig]
    """Configuration of the model."""
    image_size: tuple[int, int] | None = None
    """``(height, width)``; None takes the preset's."""
    tacocc: bool = True
    """Whether TACOcc's adaptive fusion and temporal memory are added to the preset."""


ROWS: dict[str, EfficiencyRow] = {
    "tiny": EfficiencyRow(tiny),
    "tiny at 256x704": EfficiencyRow(tiny, (256, 704)),
    "small": EfficiencyRow(small),
    "small, base alone": EfficiencyRow(small, tacocc=False),
    "small at 896x1600": EfficiencyRow(small, (896, 1600)),
    "base": EfficiencyRow(base),
}


@dataclass(frozen=True, kw_only=True)
class EfficiencyConfig:
    """Which rows are measured, and on which data."""

    data: Path = Path("data/town_test")
    """nuScenes data root; its first keyframe is answered again and again."""
    rows: tuple[str, ...] = tuple(ROWS)
    repeats: int = 5
    """How many steps are timed; the median counts."""
    out: Path = Path("out/efficiency.json")
    here: bool = False
    """Measures a single row in this process and prints it."""

    def __post_init__(self) -> None:
        if unknown := set(self.rows) - set(ROWS):
            raise ValueError(f"there are no rows {sorted(unknown)}; choose from {sorted(ROWS)}")
        if self.repeats < 1 or (self.here and len(self.rows) != 1):
            raise ValueError("repeats must be at least 1, and --here takes exactly one row")


def measure(config: EfficiencyConfig) -> dict[str, Any]:
    """Measures one row in this process.

    Peak memory is the process's on the CPU and torch's on CUDA.
    """
    row, device = ROWS[config.rows[0]], best_device()
    model = _model(row)
    model.image_encoder.fold()  # as on the robot
    shape = model.config
    engine = OccupancyEngine(model, device)
    step = repeated_answer(engine, config.data)
    step()
    median_ms = medians_ms({"step": step}, config.repeats)["step"]
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak_bytes = torch.cuda.max_memory_allocated(device)
    encoder = shape.image_encoder
    height, width = shape.image_size
    depths = "-".join(map(str, encoder.depths))
    return {
        "image": f"{height}x{width}",
        "backbone": f"ResNet {depths}, {encoder.block}, {encoder.widths[-1]} channels",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "latency_ms": median_ms,
        "peak_memory_mib": peak_bytes / 2**20,
    }


def _model(row: EfficiencyRow) -> VoxelModel:
    """A model of the row's configuration with random weights."""
    config = row.preset()
    if row.image_size is not None:
        config = replace(config, image_size=row.image_size)
    if row.tacocc:
        config = replace(config, adaptive_fusion=AdaptiveFusionConfig(), temporal=TemporalConfig())
    torch.manual_seed(0)
    return build_model(config).eval()


def efficiency(config: EfficiencyConfig) -> dict[str, Any]:
    """Measures every row in a process of its own; the table is written after each.

    Raises:
        RuntimeError: the process of a row failed.
    """
    table: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "training.efficiency", *sys.argv[1:]]),
        "data": f"the first keyframe of '{config.data}', batch 1, {config.repeats} repeats; "
        "generated towns",
        "machine": describe_machine(),
        "device": str(best_device()),
        "rows": [],
    }
    for name in config.rows:
        options = ["--rows", name, "--data", str(config.data), "--repeats", str(config.repeats)]
        measured = measure_in_own_process("training.efficiency", f"row '{name}'", options)
        table["rows"].append({"name": name} | measured)
        print(row_text(table["rows"][-1]), flush=True)
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps(table, indent=2) + "\n")
    return table


def row_text(row: dict[str, Any]) -> str:
    """A measured row as a line of text."""
    cost = f"{row['latency_ms']:10.0f} ms{row['peak_memory_mib']:8.0f} MiB"
    return f"{row['name']:20}{row['image']:>10}{cost}  {row['backbone']}"


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        config = tyro.cli(EfficiencyConfig, prog="training.efficiency", description=__doc__)
        if config.here:
            print(json.dumps(measure(config)))
        else:
            efficiency(config)
    except (FileNotFoundError, ValueError, RuntimeError) as err:
        sys.exit(f"training.efficiency: {err}")


if __name__ == "__main__":
    main()
