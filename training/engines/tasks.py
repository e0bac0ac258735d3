"""Independent tasks on the processes of one machine, or on the machines of a Ray cluster.

Each task writes its own files, each of them at once (``occ_core.files``), so that a task can be
done again after its process died halfway.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Literal, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")
Engine = Literal["local", "ray"]
"""Where tasks run: ``local``, in processes of this machine, or ``ray``, on a Ray cluster."""

_MAX_BREAKS = 3
"""So often in a row may a process die before a task is complete."""


def map_tasks(
    engine: Engine,
    function: Callable[[Item], Result],
    items: Mapping[str, Item],
    workers: int,
    preload: str,
) -> Iterator[tuple[str, Result]]:
    """Calls a function with each item, in other processes.

    A task whose process dies is done again; an error of the function ends all.

    Args:
        engine: where the tasks run.
        function: can be pickled, as each item can.
        items: by name.
        workers: number of processes of the local engine; a cluster runs a task on every core.
        preload: module that the local engine's processes share.

    Yields:
        Name and result of each task as it completes.

    Raises:
        RuntimeError: a task's process dies again and again, or Ray is not installed.
    """
    tasks = (
        _on_ray(function, items) if engine == "ray" else _here(function, items, workers, preload)
    )
    yield from tasks


def _here(
    function: Callable[[Item], Result], items: Mapping[str, Item], workers: int, preload: str
) -> Iterator[tuple[str, Result]]:
    waiting, breaks = dict(items), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    while waiting:
        before = len(waiting)
        try:
            with ProcessPoolExecutor(
                min(workers, before), context, torch.set_num_threads, (1,)
            ) as pool:
                running = {pool.submit(function, item): name for name, item in waiting.items()}
                try:
                    for future in as_completed(running):
                        name, result = running[future], future.result()
                        del waiting[name]
                        yield name, result
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        except BrokenProcessPool as error:
            breaks = breaks + 1 if len(waiting) == before else 1
            if breaks > _MAX_BREAKS:
                raise _died(f"use fewer than {workers} workers") from error


def _on_ray(
    function: Callable[[Item], Result], items: Mapping[str, Item]
) -> Iterator[tuple[str, Result]]:
    try:
        import ray  # noqa: PLC0415  an optional dependency
    except ImportError as error:
        raise RuntimeError(
            "the engine 'ray' needs Ray, which is not installed: pip install '.[ray]'"
        ) from error
    if not ray.is_initialized():
        # The cluster of RAY_ADDRESS or of `ray start`; without one, a cluster of this machine.
        ray.init(include_dashboard=False, log_to_driver=False)
    remote = ray.remote(max_retries=_MAX_BREAKS)(_on_one_thread)
    running = {remote.remote(function, item): name for name, item in items.items()}
    try:
        while running:
            (done,), _ = ray.wait(list(running), num_returns=1)
            name = running.pop(done)
            yield name, ray.get(done)
    except ray.exceptions.WorkerCrashedError as error:
        raise _died("give each machine fewer cores, by `ray start --num-cpus`") from error
    finally:
        for reference in running:
            ray.cancel(reference)


def _on_one_thread(function: Callable[[Item], Result], item: Item) -> Result:
    torch.set_num_threads(1)  # every core has a task of its own
    return function(item)


def _died(cure: str) -> RuntimeError:
    return RuntimeError(
        f"a worker died {_MAX_BREAKS + 1} times before a task was complete, perhaps for lack of "
        f"memory; {cure}. Complete tasks are kept"
    )
