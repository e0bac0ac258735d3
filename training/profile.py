"""Where a keyframe's time goes: ``python -m training.profile [--models shipped small]``.

Each model runs in a process of its own, as on the robot (image norms folded, memory carried along),
and every part of ``OccupancyModel.forward`` is measured in processor time, which other programs
hardly change, and in wall time.
"""

from __future__ import annotations

import json
import resource
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint
from occ_core.config import PRESETS
from occ_core.engine import OccupancyEngine, best_device
from occ_core.interface import VoxelModel
from occ_core.ops.allocator import keep_freed_memory
from training.benchmarks.own_process import measure_in_own_process, repeated_answer
from training.benchmarks.timing import describe_machine


@dataclass(frozen=True, kw_only=True)
class ProfileConfig:
    """Which models are measured, and on which data."""

    models: tuple[str, ...] = ("shipped",)
    """``shipped``, a preset's name (random weights), or a checkpoint's path."""
    data: Path = Path("data/town_test")
    """nuScenes data root; its first keyframe is answered again and again."""
    repeats: int = 9
    """Number of measured answers; medians count."""
    threads: int | None = None
    """Threads of torch; None takes torch's choice."""
    out: Path | None = None
    """JSON file to write, such as docs/results/profile.json."""
    here: bool = False
    """Measures a single model in this process and prints JSON."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"ProfileConfig.repeats must be at least 1, got {self.repeats}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"ProfileConfig.threads must be at least 1, got {self.threads}")
        if self.here and len(self.models) != 1:
            raise ValueError(f"--here measures exactly one model, got {self.models}")


@dataclass
class Clock:
    """Times between ``start`` and ``stop``, one pair per answer."""

    cpu_ms: list[float]
    wall_ms: list[float]
    _started: tuple[float, float] = (0.0, 0.0)

    def start(self, *_: object) -> None:
        """Takes the time; its arguments are those of a module's hooks."""
        self._started = (_cpu_s(), time.perf_counter())

    def stop(self, *_: object) -> None:
        """Takes the time since ``start``."""
        cpu, wall = self._started
        self.cpu_ms.append((_cpu_s() - cpu) * 1e3)
        self.wall_ms.append((time.perf_counter() - wall) * 1e3)

    def medians(self) -> dict[str, float]:
        """Medians over the answers, in milliseconds."""
        return {
            "cpu_ms": statistics.median(self.cpu_ms),
            "wall_ms": statistics.median(self.wall_ms),
        }


def _cpu_s() -> float:
    """Processor time of what torch computes here: of all threads, or of this one where the parts of
    a model run side by side, each in one.
    """
    return time.thread_time() if torch.get_num_threads() == 1 else time.process_time()


def profile(engine: OccupancyEngine, step: Callable[[], None], repeats: int) -> dict[str, Any]:
    """Times of every part of the engine's model, and of the whole step.

    Args:
        step: lets the engine answer one keyframe.

    Returns:
        ``stages``, by name of the part, with ``cpu_ms`` and ``wall_ms``, the last being ``rest``,
        what no part accounts for; and ``step``, the whole. Parts that run side by side have wall
        times that overlap, so that those of all parts may exceed the step's; ``rest`` is then 0.
    """
    step()  # the first answer allocates, compiles and has no memory
    clocks, hooks = {}, []
    for name, part in engine.model.named_children():
        clock = clocks[name] = Clock([], [])
        hooks += [
            part.register_forward_pre_hook(clock.start),
            part.register_forward_hook(clock.stop),
        ]
    whole = Clock([], [])
    try:
        for _ in range(repeats):
            whole.start()
            step()
            whole.stop()
    finally:
        for hook in hooks:
            hook.remove()
    stages = {name: clock.medians() for name, clock in clocks.items() if clock.cpu_ms}
    total = whole.medians()
    stages["rest"] = {
        key: max(0.0, total[key] - sum(stage[key] for stage in stages.values())) for key in total
    }
    return {"stages": stages, "step": total}


def measure(config: ProfileConfig) -> dict[str, Any]:
    """The profile of one model in this process, with the process's peak memory."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    model = _model(config.models[0])
    model.image_encoder.fold()
    engine = OccupancyEngine(model, best_device())
    step = repeated_answer(engine, config.data)
    measured = profile(engine, step, config.repeats)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "peak_memory_mib": peak_mib,
    } | measured


def _model(name: str) -> VoxelModel:
    if name == "shipped" or name.endswith(".safetensors"):
        return load_checkpoint(SHIPPED if name == "shipped" else Path(name))[0]
    if name not in PRESETS:
        raise ValueError(
            f"there is no model '{name}'; give 'shipped', a preset ({', '.join(PRESETS)}) or the "
            "path of a .safetensors file"
        )
    torch.manual_seed(0)
    return build_model(PRESETS[name]()).eval()


def profile_models(config: ProfileConfig) -> dict[str, Any]:
    """Profiles every model in a process of its own, and prints each as a table.

    Raises:
        RuntimeError: the process of a model failed.
    """
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "training.profile", *sys.argv[1:]]),
        "data": f"the first keyframe of '{config.data}', batch 1, {config.repeats} answers",
        "machine": describe_machine(),
        "device": str(best_device()),
        "models": {},
    }
    for name in config.models:
        options = ["--models", name, "--data", str(config.data), "--repeats", str(config.repeats)]
        if config.threads is not None:
            options += ["--threads", str(config.threads)]
        report["models"][name] = measure_in_own_process(
            "training.profile", f"model '{name}'", options
        )
        print(profile_text(name, report["models"][name]), flush=True)
    if config.out is not None:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        config.out.write_text(json.dumps(report, indent=2) + "\n")
    return report


def profile_text(name: str, measured: dict[str, Any]) -> str:
    """A profile as a table of text, the most expensive part first."""
    step = measured["step"]
    lines = [
        f"{name}: {measured['threads']} threads, peak memory {measured['peak_memory_mib']:.0f} MiB",
        f"  {'part':22}{'CPU ms':>9}{'wall ms':>9}{'share':>8}",
    ]
    stages = sorted(measured["stages"].items(), key=lambda item: -item[1]["cpu_ms"])
    for part, times in [*stages, ("step", step)]:
        share = times["cpu_ms"] / step["cpu_ms"]
        lines.append(f"  {part:22}{times['cpu_ms']:9.1f}{times['wall_ms']:9.1f}{share:8.1%}")
    return "\n".join(lines)


def main() -> None:
    """Command line."""
    keep_freed_memory()
    try:
        config = tyro.cli(ProfileConfig, prog="training.profile", description=__doc__)
        if config.here:
            print(json.dumps(measure(config)))
        else:
            profile_models(config)
    except (FileNotFoundError, ValueError, RuntimeError) as err:
        sys.exit(f"training.profile: {err}")


if __name__ == "__main__":
    main()
