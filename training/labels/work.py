"""Labelling many drives, one drive a task; a stopped run continues."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tqdm import tqdm

from occ_core.files import write_atomically
from training.engines.tasks import Engine, map_tasks
from training.labels.drive import LoadDrive

Task = Callable[[Path, LoadDrive], dict[str, float]]
"""Labels one drive into a folder and says how many ``keyframes`` and ``points`` it has, and how
many ``cpu_s`` of the processor's time it took.
"""


def done_path(out: Path, benchmark: str, drive: str) -> Path:
    """The file that exists once all labels of a drive are written."""
    return out / ".parts" / benchmark / f"{drive.replace('/', '-')}.json"


def label_drives(
    out: Path,
    benchmark: str,
    drives: Mapping[str, LoadDrive],
    task: Task,
    workers: int,
    engine: Engine = "local",
) -> dict[str, float]:
    """Labels the drives that are not complete yet.

    Args:
        out: folder of the labels; on a cluster all machines see it at this path.
        benchmark: name of the layout.
        drives: by name.
        task: labels a drive.
        workers: number of processes of the local engine.
        engine: where the tasks run.

    Returns:
        ``drives`` and the task's counts of this run, and its ``seconds``.

    Raises:
        RuntimeError: workers die again and again.
    """
    waiting = {
        name: load for name, load in drives.items() if not done_path(out, benchmark, name).is_file()
    }
    total = {"drives": 0.0, "keyframes": 0.0, "points": 0.0}
    started = time.perf_counter()
    with tqdm(total=len(drives), initial=len(drives) - len(waiting), unit="drive") as progress:
        for name, counts in map_tasks(
            engine, partial(task, out), waiting, workers, "training.labels.labelling"
        ):
            write_atomically(done_path(out, benchmark, name), json.dumps(counts) + "\n")
            for key, value in {"drives": 1, **counts}.items():
                total[key] = total.get(key, 0.0) + value
            progress.update()
            progress.set_postfix(keyframes=int(total["keyframes"]))
    return total | {"seconds": time.perf_counter() - started}
