"""Our way against the plain ways, on the same input: ``python -m training.benchmark [NAME ...]``.

Each benchmark first checks that both sides give the same result, then times them in turn and writes
``OUT/<name>.json``.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from training.benchmarks.ros import CONTESTS


@dataclass(frozen=True)
class Result:
    """What ``OUT/<name>.json`` holds."""

    name: str
    equal: bool
    ours_ms: float
    """Median of the repeats."""
    rivals_ms: dict[str, float]
    ratio: float
    """The fastest rival's median over ours."""
    machine: str


@dataclass(frozen=True)
class BenchmarkConfig:
    """Which benchmarks, and how long."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """All of them where none is named."""
    out: Path = Path("out/bench")
    repeats: int = 15
    """Timed calls of each side, after one that is not timed; fewer where a rival takes minutes."""

    def __post_init__(self) -> None:
        unknown = set(self.names) - set(CONTESTS)
        if unknown:
            raise ValueError(
                f"no benchmark is named {sorted(unknown)}; there are {sorted(CONTESTS)}"
            )
        if self.repeats < 1:
            raise ValueError(f"BenchmarkConfig.repeats must be at least 1, got {self.repeats}")


def machine() -> str:
    """Processor, cores and versions, for who reads the figures elsewhere."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    processor = next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
    return f"{processor}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}"


def medians_ms(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median time of each side; the sides take turns, so that a busy moment of the machine falls on
    all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def run(name: str, repeats: int) -> Result:
    """One benchmark: equality first, then time."""
    with CONTESTS[name]() as contest:
        ours = contest.ours()
        equal = all(contest.same(ours, rival()) for rival in contest.rivals.values())
        medians = medians_ms(
            {"ours": contest.ours, **contest.rivals}, min(repeats, contest.most_repeats)
        )
    ours_ms = medians.pop("ours")
    return Result(name, equal, ours_ms, medians, min(medians.values()) / ours_ms, machine())


def main() -> None:
    config = tyro.cli(BenchmarkConfig, description=__doc__)
    config.out.mkdir(parents=True, exist_ok=True)
    differing = []
    for name in config.names or CONTESTS:
        print(f"{name} ...", end=" ", flush=True)
        result = run(name, config.repeats)
        (config.out / f"{name}.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
        rivals = ", ".join(f"{rival} {median:.2f} ms" for rival, median in result.rivals_ms.items())
        print(
            f"{'equal' if result.equal else 'DIFFERENT'}; ours {result.ours_ms:.2f} ms, {rivals}; "
            f"ratio {result.ratio:.2f}"
        )
        if not result.equal:
            differing.append(name)
    if differing:
        sys.exit(f"The sides differ in: {', '.join(differing)}")


if __name__ == "__main__":
    main()
