"""Compiled work on several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import torch


def run_parallel(work: Callable[..., None], parts: Sequence[tuple[int, ...]]) -> None:
    """Calls ``work(*part)`` for every part, on as many threads as torch has.

    Returns when all parts have ended, or then raises what one of them raised.

    ``work`` must release Python's lock, as kernels do, and must neither call torch operators nor
    ``run_parallel``: torch would start a team of threads for each of these, which lie idle
    afterwards and slow down all of torch.
    """
    threads = torch.get_num_threads()
    if min(threads, len(parts)) < 2:
        for part in parts:
            work(*part)
        return
    futures = [_pool(threads).submit(work, *part) for part in parts]
    wait(futures)
    for future in futures:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay from call to call, so that they keep their cores and their memory."""
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has none of these threads
