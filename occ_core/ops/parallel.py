"""Independent pieces of work side by side, each on one core.

Loops compiled by numba use one core, and torch's operators meet at a barrier after each, where a
thread waits for one whose core is busy with another program. A thread that takes the next piece as
soon as it has finished one waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import torch

Result = TypeVar("Result")


def in_parallel(work: Iterable[Callable[[], Result]], device: torch.device) -> list[Result]:
    """The results of functions without arguments, in their order.

    On a CPU and without gradients they run in as many threads as torch uses, with the caller's
    settings (autocast and those of ``backend``); elsewhere one after the other.

    Raises:
        Exception: what the first function that fails raises.
    """
    work, threads = list(work), torch.get_num_threads()
    if device.type != "cpu" or torch.is_grad_enabled() or min(threads, len(work)) < 2:
        return [each() for each in work]
    settings = _Settings()
    try:
        # A new thread computes with one thread alone; it changes the number for all others to come.
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            running = [pool.submit(settings.run, each) for each in work]
            return [each.result() for each in running]
    finally:
        torch.set_num_threads(threads)


class _Settings:
    """What torch and this package keep for each thread, as it is in the thread that makes this."""

    def __init__(self) -> None:
        self._inference = torch.is_inference_mode_enabled()
        self._autocast = torch.is_autocast_enabled("cpu")
        self._dtype = torch.get_autocast_dtype("cpu")
        self._context = copy_context()

    def run(self, function: Callable[[], Result]) -> Result:
        """The function's result under these settings."""
        with (
            torch.inference_mode(self._inference),
            torch.set_grad_enabled(False),
            torch.autocast("cpu", self._dtype, self._autocast),
        ):
            return self._context.copy().run(function)
