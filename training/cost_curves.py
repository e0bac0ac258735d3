"""Time and memory of an answer against what it depends on: ``python -m training.cost_curves``.

Starting from the shipped model, one thing at a time is changed: the size of the grid and of its
voxels, cameras, size of their images, points, frames that the memory remembers, frames in a batch.
Every value is measured in a process of its own. To measure on a machine that does nothing else.
"""

from __future__ import annotations

import json
import math
import resource
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import tyro
from torch import Tensor

from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import OccupancyConfig
from occ_core.datasets.frames import NuScenesFrames
from occ_core.engine import OccupancyEngine
from occ_core.interface import VoxelModel
from occ_core.ops.allocator import keep_freed_memory
from occ_core.temporal import TemporalConfig
from occ_core.types import Frame, collate_frames
from occ_core.voxel_grid import VoxelGrid
from training.benchmarks.own_process import measure_in_own_process
from training.benchmarks.timing import describe_machine
from training.figures.costs import draw_cost_curves
from training.profile import Clock

Quantity = Literal["range_m", "voxel_m", "cameras", "image_height", "points", "frames", "batch"]
"""What is changed: half the side of the grid, edge length of its voxels, number of cameras, height
of the images in pixels (11 / 4 as wide), number of points, length T of the memory's window, number
of frames that are answered at once.
"""

VALUES: dict[str, tuple[float, ...]] = {
    "range_m": (16.0, 32.0, 48.0, 64.0, 80.0),
    "voxel_m": (1.6, 0.8, 12.8 / 24, 0.4, 0.32),
    "cameras": (0, 1, 2, 4, 6, 8, 12),
    "image_height": (128, 256, 384, 512),
    "points": (1_000, 10_000, 30_000, 100_000, 300_000, 1_000_000),
    "frames": (1, 2, 3, 5, 8),
    "batch": (1, 2, 4, 8),
}
"""The values of every quantity, cheapest first. The model halves grids and images, which allows few
others.
"""
VOXEL_RANGE_M = (-51.2, -51.2, -6.4, 51.2, 51.2, 6.4)
"""The grid whose voxels are changed: it can be cut into all of them."""
STEP_NS = 500_000_000
"""Time from one answer to the next, so that the memory is used."""
POINT_NOISE_M = 0.1
"""Where a frame has too few points, others lie beside them."""


@dataclass(frozen=True, kw_only=True)
class CostCurvesConfig:
    """What is measured, and where the curves go."""

    quantities: tuple[Quantity, ...] = get_args(Quantity)
    """What is changed, one at a time."""
    values: tuple[float, ...] | None = None
    """Values for a single quantity; None takes those of ``VALUES``."""
    data: Path = Path("data/town_test")
    """nuScenes data root; its first keyframe is answered again and again."""
    checkpoint: Path = SHIPPED
    """The model from which everything starts."""
    repeats: int = 5
    """Number of measured answers; medians count."""
    out: Path = Path("out/cost_curves.json")
    """JSON file of the figures."""
    picture: Path = Path("out/cost_curves.png")
    """Picture of the curves."""
    here: bool = False
    """Measures a single value in this process and prints JSON."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"CostCurvesConfig.repeats must be at least 1, got {self.repeats}")
        if self.values is not None and len(self.quantities) != 1:
            raise ValueError(
                f"CostCurvesConfig.values are those of one quantity, got {self.quantities}"
            )
        for value in self.values or ():
            _check_value(self.quantities[0], value)
        if self.here and (self.values is None or len(self.values) != 1):
            raise ValueError("--here measures exactly one value of one quantity")


@dataclass(frozen=True)
class Cost:
    """What one answer costs."""

    cpu_ms: float
    """Median processor time of all threads."""
    wall_ms: float
    """Median duration."""
    memory_mib: float
    """Peak of the process, of which torch itself takes several hundred."""


def _check_value(quantity: Quantity, value: float) -> None:
    if quantity in ("range_m", "voxel_m"):
        fits, expected = 0 < value < math.inf, "positive"
    else:
        least = 0 if quantity == "cameras" else 1
        fits = value >= least and float(value).is_integer()
        expected = f"whole numbers from {least} on"
    if not fits:
        raise ValueError(f"CostCurvesConfig.values of {quantity} must be {expected}, got {value:g}")


def changed(config: OccupancyConfig, quantity: Quantity, value: float) -> OccupancyConfig:
    """The configuration with another value of one quantity.

    Raises:
        ValueError: the model cannot have it.
    """
    match quantity:
        case "range_m":
            low_z, high_z = config.grid.range_m[2], config.grid.range_m[5]
            sides = (-value, -value, low_z, value, value, high_z)
            return replace(config, grid=VoxelGrid(sides, config.grid.voxel_size_m))
        case "voxel_m":
            return replace(config, grid=VoxelGrid(VOXEL_RANGE_M, value), lidar_voxel_m=value)
        case "image_height":
            return replace(config, image_size=(int(value), int(value * 11 / 4)))
        case "frames":
            window = TemporalConfig(mode="window", frames=int(value), stride=2)
            return replace(config, temporal=window)
    return config


def fitted(frame: Frame, quantity: Quantity, value: float) -> Frame:
    """The frame with as many cameras, points or samples as the quantity says."""
    count = int(value)
    match quantity:
        case "cameras":
            which = torch.arange(max(count, 1)) % frame.images.shape[1]
            return replace(
                frame,
                images=frame.images[:, which],
                camera_mask=torch.full((1, len(which)), count > 0),
                intrinsics=frame.intrinsics[:, which],
                grid_from_camera=frame.grid_from_camera[:, which],
            )
        case "points":
            return replace(frame, points=(drawn_points(frame.points[0], count),))
        case "batch":
            return collate_frames([frame] * count)
    return frame


def drawn_points(points: Tensor, count: int) -> Tensor:
    """``count`` of the points; where there are too few, also others beside them."""
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(points), generator=random)
    drawn = points[order[torch.arange(count) % len(points)]].clone()
    further = drawn[len(points) :, :3]
    further += POINT_NOISE_M * torch.randn(further.shape, generator=random)
    return drawn


def changed_model(checkpoint: Path, quantity: Quantity, value: float) -> VoxelModel:
    """The checkpoint's model with another configuration; weights that do not fit it are random."""
    trained, _ = load_checkpoint(checkpoint)
    torch.manual_seed(0)
    model = build_model(changed(trained.config, quantity, value)).eval()
    weights = model.state_dict()
    fitting = {
        name: weight
        for name, weight in trained.state_dict().items()
        if name in weights and weights[name].shape == weight.shape
    }
    model.load_state_dict(weights | fitting)
    model.image_encoder.fold()
    return model


def measure(config: CostCurvesConfig) -> Cost:
    """The cost of one value, in this process."""
    assert config.values is not None
    quantity, value = config.quantities[0], config.values[0]
    engine = OccupancyEngine(changed_model(config.checkpoint, quantity, value))
    shape = engine.model.config
    # labels, which are not looked at, exist for the usual grid alone; a frame is that of any grid
    frame, _ = NuScenesFrames(config.data, image_size=shape.image_size)[0]
    frame = fitted(frame, quantity, value)
    filling = shape.temporal.frames if shape.temporal is not None else 1
    clock = Clock([], [])
    for number in range(filling + config.repeats):
        stamps_ns = tuple(stamp_ns + number * STEP_NS for stamp_ns in frame.stamp_ns)
        clock.start()
        engine.step(replace(frame, stamp_ns=stamps_ns))
        clock.stop()
    measured = Clock(clock.cpu_ms[filling:], clock.wall_ms[filling:]).medians()
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(measured["cpu_ms"], measured["wall_ms"], peak_mib)


def cost_curves(config: CostCurvesConfig) -> dict[str, Any]:
    """Measures all values, each in a process of its own; figures and picture are written after each
    quantity.

    Raises:
        RuntimeError: the process of a value failed.
    """
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "training.cost_curves", *sys.argv[1:]]),
        "data": f"the first keyframe of '{config.data}', {config.repeats} repeats",
        "machine": describe_machine(),
        "curves": {},
    }
    for quantity in config.quantities:
        costs = []
        for value in config.values or VALUES[quantity]:
            options = ["--quantities", quantity, "--values", repr(value)]
            options += ["--data", str(config.data), "--checkpoint", str(config.checkpoint)]
            options += ["--repeats", str(config.repeats)]
            name = f"{quantity} {value:g}"
            cost = measure_in_own_process("training.cost_curves", name, options)
            costs.append({"value": value} | cost)
            print(
                f"{name:24}{cost['cpu_ms']:10.1f} CPU ms{cost['memory_mib']:8.0f} MiB", flush=True
            )
        report["curves"][quantity] = {"costs": costs, "knee": knee(costs)}
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps(report, indent=2) + "\n")
        draw_cost_curves(report, config.picture)
    return report


def knee(costs: Sequence[Mapping[str, float]]) -> float | None:
    """The first value whose processor time is at least twice that of the cheapest, which all values
    pay; None where there is none.
    """
    least = min(cost["cpu_ms"] for cost in costs)
    return next((cost["value"] for cost in costs if cost["cpu_ms"] >= 2 * least), None)


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        config = tyro.cli(CostCurvesConfig, prog="training.cost_curves", description=__doc__)
        if config.here:
            print(json.dumps(asdict(measure(config))))
        else:
            cost_curves(config)
    except (FileNotFoundError, ValueError, RuntimeError) as err:
        sys.exit(f"training.cost_curves: {err}")


if __name__ == "__main__":
    main()
