"""What the C library does with memory that is freed."""

from __future__ import annotations

import ctypes

# mallopt's names, from glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Has this process keep memory that is freed, for its next use; returns whether it does (glibc
    alone can be told).

    By default glibc gives large tensors back to the system as soon as they are freed, and the next
    frame's tensors have their pages zeroed again one by one: a tenth of a frame's time on a CPU.
    Call it before the threads that compute are started.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(option, value) == 1
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    )
