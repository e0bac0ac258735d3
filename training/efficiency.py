"""TACOcc's Table VII: image size and backbone against memory and time; mIoU where a model was
trained.

``python -m training.efficiency [--rows tiny ...]`` runs each row in a process of its own and writes
``docs/results/efficiency.json``. Weights of rows without mIoU are random; time and memory hardly
depend on them.
"""

from __future__ import annotations

import json
import resource
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig, base, small, tiny
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine, best_device
from occ_core.ops.allocator import keep_freed_memory
from occ_core.temporal import TemporalConfig
from training.benchmark import machine, medians_ms
from training.evaluate import EvaluateConfig, evaluate


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    model: Callable[[], OccupancyConfig] | None
    """None: the shipped checkpoint."""
    image_size: tuple[int, int] | None = None
    """None: the preset's."""
    tacocc: bool = True
    """With the adaptive fuser and the memory."""


ROWS: dict[str, Row] = {
    "shipped": Row(None),
    "tiny": Row(tiny),
    "tiny at 256x704": Row(tiny, (256, 704)),
    "small": Row(small),
    "small, base alone": Row(small, tacocc=False),
    "small at 896x1600": Row(small, (896, 1600)),
    "base": Row(base),
}


@dataclass(frozen=True, kw_only=True)
class EfficiencyConfig:
    """What is measured, on which keyframe."""

    data: Path = Path("data/town_test")
    """Towns: their first keyframe is timed, all of them give the mIoU."""
    rows: tuple[str, ...] = tuple(ROWS)
    repeats: int = 5
    out: Path = Path("docs/results/efficiency.json")
    here: bool = False
    """Measures the one row in this process and prints it."""

    def __post_init__(self) -> None:
        if unknown := set(self.rows) - set(ROWS):
            raise ValueError(f"there is no row {sorted(unknown)}; there are {sorted(ROWS)}")
        if self.repeats < 1 or (self.here and len(self.rows) != 1):
            raise ValueError("repeats must be at least 1, and `here` measures one row")


def measure(config: EfficiencyConfig) -> dict[str, Any]:
    """One row, in this process: its peak memory is the process's on the CPU, torch's on CUDA."""
    row, device = ROWS[config.rows[0]], best_device()
    if row.model is None:
        model, _ = load_checkpoint(SHIPPED)
    else:
        wanted = row.model()
        if row.image_size is not None:
            wanted = replace(wanted, image_size=row.image_size)
        if row.tacocc:
            wanted = replace(
                wanted, adaptive_fusion=AdaptiveFusionConfig(), temporal=TemporalConfig()
            )
        torch.manual_seed(0)
        model = build_model(wanted).eval()
    if model.image_encoder is not None:
        model.image_encoder.fold()  # as the robot's is
    shape = model.config
    engine = OccupancyEngine(model, device)
    frame, _ = NuScenesFrames(config.data, None, None, shape.image_size, 9, shape.grid)[0]
    stamps = iter(range(frame.stamp_ns[0], sys.maxsize, 500_000_000))

    def step() -> None:
        engine.step(replace(frame, stamp_ns=(next(stamps),)))  # half a second on: there is a memory

    step()
    median = medians_ms({"step": step}, config.repeats)["step"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
    encoder = shape.image_encoder
    height, width = shape.image_size
    miou = None
    if row.model is None:
        miou = evaluate(EvaluateConfig(data=config.data, checkpoint=SHIPPED, rendered=False))[
            "miou"
        ]
    return {
        "image": f"{height}x{width}",
        "backbone": f"ResNet {'-'.join(map(str, encoder.depths))}, {encoder.block}, {encoder.widths[-1]} channels",
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "latency_ms": median,
        "peak_memory_mib": peak / 2**20,
        "miou": miou,
    }


def efficiency(config: EfficiencyConfig) -> dict[str, Any]:
    """All rows, each in a process of its own; written after every row."""
    table: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "training.efficiency", *sys.argv[1:]]),
        "data": f"the first keyframe of '{config.data}', batch 1, {config.repeats} repeats; generated towns",
        "machine": machine(),
        "device": str(best_device()),
        "rows": [],
    }
    for name in config.rows:
        command = [
            sys.executable,
            "-m",
            "training.efficiency",
            "--here",
            "--rows",
            name,
            "--data",
            str(config.data),
        ]
        done = subprocess.run(
            [*command, "--repeats", str(config.repeats)], stdout=subprocess.PIPE, text=True
        )
        if done.returncode:
            raise RuntimeError(
                f"row '{name}' ended with exit status {done.returncode}; its messages are above"
            )
        table["rows"].append({"name": name} | json.loads(done.stdout.splitlines()[-1]))
        print(line(table["rows"][-1]), flush=True)
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps(table, indent=2) + "\n")
    return table


def line(row: dict[str, Any]) -> str:
    """One row to be read."""
    miou = "        " if row["miou"] is None else f"{row['miou']:8.3f}"
    cost = f"{row['latency_ms']:10.0f} ms{row['peak_memory_mib']:8.0f} MiB"
    return f"{row['name']:20}{row['image']:>10}{miou}{cost}  {row['backbone']}"


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
