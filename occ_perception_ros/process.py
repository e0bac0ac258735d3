"""What the node's program does to its own process, and why."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

ResultT = TypeVar("ResultT")


def end_process(code: int) -> NoReturn:
    """Ends the process at once, without the interpreter's clean-up.

    Destroying torch and DDS takes a second of processor time. On a busy machine that is longer than
    a launch waits after Ctrl-C before it kills the process.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def end_process_on_stop_signal() -> None:
    """Makes SIGINT and SIGTERM end the process at once, with exit code 0.

    This is for the start, before there is anything to clean up: importing packages and loading
    weights takes seconds, on a busy machine longer than a launch waits before it kills.
    """
    on_stop_signal(lambda: os._exit(0))


def on_stop_signal(action: Callable[[], object]) -> None:
    """Makes SIGINT and SIGTERM call ``action``, instead of any earlier action."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: action())


def run_in_temporary_thread(function: Callable[[], ResultT]) -> ResultT:
    """Runs torch in a thread that ends afterwards, and returns the function's result.

    OpenMP creates a team of helper threads for every thread that computes. If all teams together
    have more threads than the processor has cores, idle helpers sleep between two operations
    instead of waiting actively, and the worker becomes twice as slow. A team ends with its thread.
    """
    with ThreadPoolExecutor(max_workers=1) as executor:
        return executor.submit(function).result()
