"""Compiled work on several threads at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def bands(rows: int, least: int, others: int = 0) -> list[tuple[int, int]]:
    """``rows`` as bands (first, end) of at least ``least``: as many as torch has threads, shared with ``others`` like them."""
    count = max(1, min(-(-torch.get_num_threads() // (1 + others)), rows // least))
    return [(rows * band // count, rows * (band + 1) // count) for band in range(count)]


def at_once(work: Callable[..., None], parts: Sequence[tuple[int, ...]]) -> None:
    """``work(*part)`` for each part, as many at once as torch has threads.

    ``work`` releases Python's lock, and calls nothing of torch: each thread would get a team of torch's threads, which lie idle
    afterwards and slow down all of torch.
    """
    threads = min(torch.get_num_threads(), len(parts))
    if threads < 2:
        for part in parts:
            work(*part)
        return
    list(_pool(threads, os.getpid()).map(work, *zip(*parts, strict=True)))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Kept from call to call, so that threads keep their cores and their memory; a forked process has none of these threads."""
    return ThreadPoolExecutor(threads)
