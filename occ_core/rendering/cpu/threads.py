"""Compiled work on several threads at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import torch


def at_once(work: Callable[..., None], parts: Sequence[tuple[int, ...]]) -> None:
    """``work(*part)`` for each part, as many at once as torch has threads; returns, or raises what
    a part raised, when all ended.

    ``work`` releases Python's lock. It starts no kernel of torch's: each thread would get a team of
    torch's threads, which lie idle afterwards and slow down all of torch. Nor does it call
    ``at_once``.
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
    """Kept from call to call, so that threads keep their cores and their memory."""
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_pool.cache_clear)  # the child has none of these threads
