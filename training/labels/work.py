"""Labelling many drives with several processes, one drive a task; a stopped run continues."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import torch
from tqdm import tqdm

from occ_core.files import write_atomically
from training.labels.drive import LoadDrive

_MAX_BREAKS = 3
"""So often in a row may a worker die before a drive is complete."""

Task = Callable[[Path, LoadDrive], dict[str, float]]
"""Labels one drive into a folder and says how many ``keyframes`` and ``points`` it has."""


def done_path(out: Path, benchmark: str, drive: str) -> Path:
    """The file that exists once all labels of a drive are written."""
    return out / ".parts" / benchmark / f"{drive.replace('/', '-')}.json"


def label_drives(
    out: Path, benchmark: str, drives: Mapping[str, LoadDrive], task: Task, workers: int
) -> dict[str, float]:
    """Labels the drives that are not complete yet.

    Returns:
        ``drives``, ``keyframes`` and ``points`` of this run, and its ``seconds``.

    Raises:
        RuntimeError: workers die again and again.
    """
    waiting = {
        name: load for name, load in drives.items() if not done_path(out, benchmark, name).is_file()
    }
    total = {"drives": 0.0, "keyframes": 0.0, "points": 0.0}
    started = time.perf_counter()
    breaks = 0
    with tqdm(total=len(drives), initial=len(drives) - len(waiting), unit="drive") as progress:
        while waiting:
            before = len(waiting)
            try:
                _run(out, benchmark, waiting, task, workers, total, progress)
            except BrokenProcessPool as error:
                breaks = breaks + 1 if len(waiting) == before else 1
                if breaks > _MAX_BREAKS:
                    raise RuntimeError(
                        f"a worker died {breaks} times before a drive was complete, perhaps for "
                        f"lack of memory; use fewer than {workers} workers. Complete drives are "
                        "kept"
                    ) from error
    return total | {"seconds": time.perf_counter() - started}


def _run(
    out: Path,
    benchmark: str,
    waiting: dict[str, LoadDrive],
    task: Task,
    workers: int,
    total: dict[str, float],
    progress: tqdm,
) -> None:
    """Takes every drive that is complete out of ``waiting``, which stays right if a worker dies."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training.labels.labelling"])
    with ProcessPoolExecutor(
        min(workers, len(waiting)), context, torch.set_num_threads, (1,)
    ) as pool:
        running = {pool.submit(task, out, load): name for name, load in waiting.items()}
        try:
            for future in as_completed(running):
                counts, name = future.result(), running[future]
                write_atomically(done_path(out, benchmark, name), json.dumps(counts) + "\n")
                del waiting[name]
                for key in ("keyframes", "points"):
                    total[key] += counts[key]
                total["drives"] += 1
                progress.update()
                progress.set_postfix(keyframes=int(total["keyframes"]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
