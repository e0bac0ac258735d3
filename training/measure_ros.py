"""Measures what the robot's side costs: ``python -m training.measure_ros``.

Times are processor time, so that other programs hardly disturb them; each ratio is of one run. The
column of message_filters needs its Python package on the path.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import tyro

from training.benchmark import run
from training.benchmarks.matching import CASES, SETS, PlayedPasses, drive, ours, theirs
from training.benchmarks.robot import conversion, frame_stages, import_memory_mb
from training.benchmarks.timing import describe_machine
from training.make_world import WorldConfig, make_world

BENCHMARKS = ("markers", "pointcloud", "synchronizer")
SEED, KEYFRAMES = 2026, 6
"""The demo's town, and a drive that is long enough for a memory."""


@dataclass(frozen=True)
class MeasureRosConfig:
    """What is measured, and where it is stored."""

    parts: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Parts to measure, by default all; the stored figures of the others stay."""
    json: Path = Path("docs/results/ros.json")
    """File of the figures."""
    town: Path = Path("data/town_robot")
    """nuScenes data root of the drive on which a frame is measured; generated where missing."""
    repeats: int = 15
    """Timed calls of each implementation."""
    note: str = ""
    """What else the machine did meanwhile."""

    def __post_init__(self) -> None:
        if unknown := set(self.parts) - set(PARTS):
            raise ValueError(f"unknown parts {sorted(unknown)}; known: {', '.join(PARTS)}")


def measure(config: MeasureRosConfig) -> dict[str, Any]:
    """Measures the parts, stores them after each and returns all figures.

    Raises:
        ValueError: implementations that are compared do not give the same result.
    """
    stored: dict[str, Any] = json.loads(config.json.read_text()) if config.json.exists() else {}
    machine = describe_machine() + (f"; {config.note}" if config.note else "")
    for part in config.parts or PARTS:
        print(f"{part} ...", flush=True)
        figures = PARTS[part](config)
        print(json.dumps(figures, indent=2))
        machines = _machines(stored) | {part: machine}
        stored |= {"command": "python -m training.measure_ros", part: figures}
        stored |= {"machine": _machine_text(machines), "machine_of_part": machines}
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(stored, indent=2) + "\n")
    return stored


def _machines(stored: dict[str, Any]) -> dict[str, str]:
    """The machine of each stored part."""
    return {
        part: stored.get("machine_of_part", {}).get(part, stored["machine"])
        for part in PARTS
        if part in stored
    }


def _machine_text(machines: dict[str, str]) -> str:
    """The machine of all parts, or the parts of each."""
    parts: dict[str, list[str]] = {}
    for part, machine in machines.items():
        parts.setdefault(machine, []).append(part)
    if len(parts) == 1:
        return next(iter(parts))
    return "; ".join(f"{', '.join(names)} on {machine}" for machine, names in parts.items())


def _benchmarks(config: MeasureRosConfig) -> dict[str, Any]:
    results = {name: run(name, config.repeats) for name in BENCHMARKS}
    if differing := [name for name, result in results.items() if not result.equal]:
        raise ValueError(f"the results differ in: {', '.join(differing)}")
    names = ("equal", "ours_ms", "rivals_ms", "ratio")
    return {name: {key: asdict(each)[key] for key in names} for name, each in results.items()}


def _passes(config: MeasureRosConfig) -> dict[str, Any]:
    """Sets of each pass, and the median time of a message, by turns for both implementations.

    message_filters is left out where it is not installed.
    """
    figures = {}
    for case, lost in CASES.items():
        events = drive(lost)
        rounds = [(ours(events), theirs(events)) for _ in range(config.repeats)]
        candidate, rival = zip(*rounds, strict=True)
        figures[case] = {
            "sweeps": SETS,
            "ours": _median(candidate),
            "message_filters": None if None in rival else _median(rival),
        }
    return figures


def _median(rounds: Sequence[PlayedPasses]) -> dict[str, Any]:
    """The sets, which are the same in every round, and the median of the times."""
    us_per_message = statistics.median(each.us_per_message for each in rounds)
    return {"sets": rounds[0].sets, "us_per_message": us_per_message}


def _frame(config: MeasureRosConfig) -> dict[str, Any]:
    """The stages of a frame, on one thread and in a town, where most space is empty as on roads."""
    make_world(WorldConfig(config.town, scenes=1, seed=SEED, keyframes=KEYFRAMES, workers=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _in_folder(lambda folder: frame_stages(config.town, folder / "bag"))
    finally:
        torch.set_num_threads(threads)


def _in_folder(function: Callable[[Path], Any]) -> Any:
    with TemporaryDirectory() as folder:
        return function(Path(folder))


PARTS: dict[str, Callable[[MeasureRosConfig], Any]] = {
    "conversion": lambda _: _in_folder(conversion),
    "memory_mb": lambda _: import_memory_mb(),
    "passes": _passes,
    "benchmarks": _benchmarks,
    "frame": _frame,
}


def main() -> None:
    """Runs the command line."""
    measure(tyro.cli(MeasureRosConfig, prog="training.measure_ros", description=__doc__))


if __name__ == "__main__":
    main()
