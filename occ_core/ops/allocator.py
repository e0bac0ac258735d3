"""The C library's policy for freed memory."""

from __future__ import annotations

import ctypes

# options of mallopt, from glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed_memory() -> bool:
    """Makes this process keep freed memory for reuse.

    By default glibc returns large tensors to the system as soon as they are freed, and the system
    zeroes the pages of the next frame's tensors again, one by one: a tenth of a frame's time on a
    CPU. Call this before the threads that compute are started.

    Returns:
        Whether it worked, which it does with glibc alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(
        mallopt(option, value) == 1
        for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    )


def return_freed_memory() -> bool:
    """Gives the memory that this process has freed back to the system, once.

    Returns:
        Whether there was any, and the C library is glibc.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return malloc_trim is not None and malloc_trim(0) == 1
