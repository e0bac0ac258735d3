"""What a data set of full size costs: ``python -m training.plan D [--recipe tiny_town]``.

Labels, training and evaluation are run on a small part of the data, the latter two with different
numbers of keyframes, so that what a program needs to start drops out of the difference; tasks that
make labels say what they took. The plan is that cost times the keyframes of nuScenes, and of ten
times as many. Processor time counts, so this is for training on CPUs.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from occ_core.datasets.nuscenes import NuScenes
from occ_core.files import write_atomically
from training.benchmarks.timing import describe_machine
from training.recipes import RECIPES
from training.results.plan_table import plan_table

_STEPS = (4, 16)
"""Steps of the shorter and of the longer training."""


@dataclass(frozen=True)
class PlanConfig:
    """On what the costs are measured."""

    data: Annotated[Path, tyro.conf.Positional]
    """nuScenes data root with SurroundOcc's labels; its first two scenes are used for labels and
    evaluation, all of it for training.
    """
    recipe: str = "tiny_town"
    """What is trained."""
    out: Path | None = None
    """JSON file to write, such as docs/results/plan.json."""


class Usage(NamedTuple):
    """What a program took, with all its processes."""

    cpu_s: float
    wall_s: float
    peak_mib: float
    """Largest memory of any one of its processes."""


def measure(arguments: list[str]) -> Usage:
    """Runs ``python -m`` with these arguments, its messages shown.

    Raises:
        RuntimeError: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(
            f"{shlex.join(['python', '-m', *arguments])} ended with exit status "
            f"{process.returncode}; see above"
        )
    return Usage(
        usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024
    )


def cost(runs: Sequence[Usage], keyframes: int) -> dict[str, float]:
    """The cost of each of the ``keyframes`` that the second of two runs had more than the first.

    Raises:
        ValueError: the longer run was the cheaper one, so that nothing can be said.
    """
    less, more = runs
    cpu_s, wall_s = more.cpu_s - less.cpu_s, more.wall_s - less.wall_s
    if cpu_s <= 0:
        raise ValueError(
            f"{keyframes} more keyframes took {cpu_s:.1f} s more; measure on a larger part of the "
            "data, or on a quieter machine"
        )
    return {
        "cpu_s": cpu_s / keyframes,
        "wall_s": max(wall_s, 0.0) / keyframes,
        "peak_mib": more.peak_mib,
    }


def plan(config: PlanConfig) -> dict[str, Any]:
    """Costs per keyframe of each task, and the bytes of a keyframe on disk.

    Raises:
        FileNotFoundError, ValueError: the data are missing, malformed or too few.
        RuntimeError: a task failed.
    """
    data = NuScenes(config.data)
    scenes = [scene["name"] for scene in data.scenes][:2]
    if len(scenes) < 2:
        raise ValueError(f"{config.data} has {len(scenes)} scenes, but two are compared")
    second = len(data.keyframes(scenes[1:]))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        make = ["training.make_labels", str(config.data), "--layouts", "surroundocc"]
        measure([*make, "--workers", "1", "--out", str(out / "labels"), "--scenes", *scenes])
        labels = _label_cost(out / "labels")
        label_bytes = _bytes(out / "labels")
        train = ["training.train", config.recipe, "--data", str(config.data), "--processes", "1"]
        train += ["--validation-scenes", "1", "--validation-frames", "1", "--workers", "0"]
        trained = [
            measure([*train, "--steps", str(steps), "--out", str(out / str(steps))])
            for steps in _STEPS
        ]
        score = ["training.evaluate", "--data", str(config.data), "--no-rendered", "--checkpoint"]
        score += [str(out / str(_STEPS[1]) / "model.safetensors"), "--scenes"]
        scored = [measure([*score, *chosen]) for chosen in (scenes[:1], scenes)]
    return {
        "command": shlex.join(["python", "-m", "training.plan", *sys.argv[1:]]),
        "machine": describe_machine(),
        "recipe": config.recipe,
        "tasks": {
            "labels": labels,
            "training": cost(trained, (_STEPS[1] - _STEPS[0]) * _keyframes_per_step(config.recipe)),
            "evaluation": cost(scored, second),
        },
        "label_bytes": label_bytes / len(data.keyframes(scenes)),
    }


def _label_cost(out: Path) -> dict[str, float]:
    """What the tasks say of themselves: they run in processes that outlive the program."""
    drives = [json.loads(path.read_text()) for path in (out / ".parts" / "surroundocc").iterdir()]
    keyframes = sum(drive["keyframes"] for drive in drives)
    return {"cpu_s": sum(drive["cpu_s"] for drive in drives) / keyframes}


def _keyframes_per_step(recipe: str) -> int:
    config = {each.__name__: each for each in RECIPES}[recipe]()
    in_clips = config.model.temporal is not None or config.by_drive
    return config.batch_size * (config.accumulate or 1) * (config.clip if in_clips else 1)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Runs the command line."""
    config = tyro.cli(PlanConfig, prog="training.plan", description=__doc__)
    try:
        result = plan(config)
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        sys.exit(f"training.plan: {error}")
    if config.out is not None:
        write_atomically(config.out, json.dumps(result, indent=2) + "\n")
    print(plan_table(result))


if __name__ == "__main__":
    main()
