"""Times our implementations against others on the same input: ``python -m training.benchmark``.

Each benchmark first checks that all implementations give the same result. Then it times them in
turn and writes ``OUT/<name>.json``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.benchmarks.definition import Benchmark
from training.benchmarks.gradients import gauss_render, sampling, splat, voxelise
from training.benchmarks.operators import model_cpu, neighbours, rasterize
from training.benchmarks.rays import rayiou
from training.benchmarks.readers import READERS
from training.benchmarks.ros import markers, pointcloud, synchronizer
from training.benchmarks.runtimes import image_encoder, volume_encoder
from training.benchmarks.sensor_frames import loader, node_overhead
from training.benchmarks.timing import describe_machine, medians_ms
from training.benchmarks.volume_layers import depthwise, group_norm

BENCHMARKS: dict[str, Callable[[], AbstractContextManager[Benchmark]]] = {
    "loader": loader,
    "markers": markers,
    "pointcloud": pointcloud,
    "synchronizer": synchronizer,
    "node_overhead": node_overhead,
    "neighbours": neighbours,
    "rasterize": rasterize,
    "rayiou": rayiou,
    "model_cpu": model_cpu,
    "voxelise": voxelise,
    "splat": splat,
    "sampling": sampling,
    "depthwise": depthwise,
    "group_norm": group_norm,
    "gauss_render": gauss_render,
    "image_encoder": image_encoder,
    "volume_encoder": volume_encoder,
    **READERS,
}


@dataclass(frozen=True)
class BenchmarkResult:
    """The contents of ``OUT/<name>.json``."""

    name: str
    equal: bool
    """Whether all implementations gave the same result."""
    ours_ms: float
    """Median of the candidate."""
    rivals_ms: dict[str, float]
    """Median of each baseline."""
    ratio: float
    """Median of the fastest baseline over that of the candidate."""
    machine: str


@dataclass(frozen=True)
class BenchmarkConfig:
    """Which benchmarks to run, and for how long."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Names of the benchmarks; by default all of them."""
    out: Path = Path("out/bench")
    """Folder of the results."""
    repeats: int = 15
    """Timed calls of each implementation, after one that is not timed; fewer for slow baselines."""

    def __post_init__(self) -> None:
        if unknown := set(self.names) - set(BENCHMARKS):
            raise ValueError(f"unknown benchmarks {sorted(unknown)}; known: {sorted(BENCHMARKS)}")
        if self.repeats < 1:
            raise ValueError(f"BenchmarkConfig.repeats must be at least 1, got {self.repeats}")


def run(name: str, repeats: int) -> BenchmarkResult:
    """Runs one benchmark: first equality, then time."""
    with BENCHMARKS[name]() as benchmark:
        expected = benchmark.candidate()
        equal = all(benchmark.same(expected, other()) for other in benchmark.baselines.values())
        medians = medians_ms(
            {"ours": benchmark.candidate, **benchmark.baselines},
            min(repeats, benchmark.max_repeats),
            benchmark.clock,
        )
    ours_ms = medians.pop("ours")
    ratio = min(medians.values()) / ours_ms
    return BenchmarkResult(name, equal, ours_ms, medians, ratio, describe_machine())


def main() -> None:
    """Runs the command line."""
    config = tyro.cli(BenchmarkConfig, description=__doc__)
    config.out.mkdir(parents=True, exist_ok=True)
    differing = []
    for name in config.names or BENCHMARKS:
        print(f"{name} ...", end=" ", flush=True)
        result = run(name, config.repeats)
        (config.out / f"{name}.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
        baselines = ", ".join(f"{other} {ms:.2f} ms" for other, ms in result.rivals_ms.items())
        print(
            f"{'equal' if result.equal else 'DIFFERENT'}; ours {result.ours_ms:.2f} ms, "
            f"{baselines}; ratio {result.ratio:.2f}"
        )
        if not result.equal:
            differing.append(name)
    if differing:
        sys.exit(f"The results differ in: {', '.join(differing)}")


if __name__ == "__main__":
    main()
