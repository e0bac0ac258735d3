"""Tasks on many drives, one drive a task; a stopped run continues with those that are not done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tqdm import tqdm

from occ_core.files import write_atomically
from training.engines.tasks import Engine, Item, map_tasks

Counts = dict[str, float]
"""What a task says of its drive, such as how many ``keyframes`` it had."""


def done_path(out: Path, kind: str, drive: str) -> Path:
    """The file that exists once all files of a drive are written."""
    return out / ".parts" / kind / f"{drive.replace('/', '-')}.json"


def finish_drives(
    out: Path,
    kind: str,
    drives: Mapping[str, Item],
    task: Callable[[Path, Item], Counts],
    workers: int,
    engine: Engine = "local",
    preload: str = "training.engines.resumable",
) -> Counts:
    """Does the task for the drives that are not complete yet.

    Args:
        out: folder of the results; on a cluster all machines see it at this path.
        kind: of the results; what is complete of one kind is not complete of another.
        drives: by name.
        task: writes the files of a drive into ``out``.
        workers: number of processes of the local engine.
        engine: where the tasks run.
        preload: as for ``map_tasks``.

    Returns:
        ``drives`` and the sums of the tasks' counts of this run, and its ``seconds``.

    Raises:
        RuntimeError: workers die again and again.
    """
    out = out.resolve()  # the workers of a cluster start elsewhere
    waiting = {
        name: drive for name, drive in drives.items() if not done_path(out, kind, name).is_file()
    }
    total = {"drives": 0.0, "keyframes": 0.0}
    started = time.perf_counter()
    with tqdm(total=len(drives), initial=len(drives) - len(waiting), unit="drive") as progress:
        for name, counts in map_tasks(engine, partial(task, out), waiting, workers, preload):
            write_atomically(done_path(out, kind, name), json.dumps(counts) + "\n")
            for key, value in {"drives": 1, **counts}.items():
                total[key] = total.get(key, 0.0) + value
            progress.update()
            progress.set_postfix(keyframes=int(total["keyframes"]))
    return total | {"seconds": time.perf_counter() - started}
