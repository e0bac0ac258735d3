"""Independent pieces of work side by side, each on one core.

Loops compiled by numba use one core, and torch's operators meet at a barrier after each, where a
thread waits for one whose core is busy with another program. A thread that takes the next piece as
soon as it has finished one waits for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

import torch

First = TypeVar("First")
Second = TypeVar("Second")
Third = TypeVar("Third")
Result = TypeVar("Result")


def in_parallel(work: Iterable[Callable[[], Result]], device: torch.device) -> list[Result]:
    """The results of functions without arguments, in their order.

    On a CPU and without gradients they run in as many threads as torch uses, with the caller's
    settings (autocast and those of ``backend``); elsewhere one after the other.

    Raises:
        Exception: what the first function that fails raises.
    """
    work, threads = list(work), torch.get_num_threads()
    if not _may_use_threads(device) or len(work) < 2:
        return [each() for each in work]
    return _in_threads(work, threads)


def side_by_side(
    first: Callable[[], First],
    second: Callable[[], Second],
    third: Callable[[], Third],
    *,
    device: torch.device,
) -> tuple[First, Second, Third]:
    """The results of three functions, which run as those of ``in_parallel``.

    Raises:
        Exception: what the first of them that fails raises.
    """
    work: list[Callable[[], Any]] = [first, second, third]
    one, two, three = in_parallel(work, device)
    return one, two, three


def in_one_thread(work: Callable[[], Result], device: torch.device) -> Result:
    """The result of a function of many small operators, such as a sparse convolution.

    The barrier after each of them takes longer than a second thread saves, and many times as long
    where another program wants that thread's core. On a CPU and without gradients the function runs
    in a thread whose operators have no other; elsewhere in this one.

    Raises:
        Exception: what the function raises.
    """
    return _in_threads([work], 1)[0] if _may_use_threads(device) else work()


def _may_use_threads(device: torch.device) -> bool:
    is_on_cpu = device.type == "cpu"
    return is_on_cpu and not torch.is_grad_enabled() and torch.get_num_threads() > 1


def _in_threads(work: list[Callable[[], Result]], count: int) -> list[Result]:
    settings, threads = _Settings(), torch.get_num_threads()
    try:
        # A new thread computes with one thread alone; it changes the number for all others to come.
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
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
