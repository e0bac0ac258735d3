"""Child processes of the demo: each has a log, is supervised, and ends with the demo."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TAIL_LINES = 25
POLL_S = 0.1


class ChildError(RuntimeError):
    """A child process failed or took too long."""


class Children:
    """Context manager that starts processes and, on exit, ends all that are still running.

    Args:
        log_folder: the output of each child goes to ``<name>.log`` in this folder.
        environment: variables for all children, in addition to those of this process.
        grace_s: time for a child to end after SIGINT, and again after SIGTERM, until it is killed.
    """

    def __init__(self, log_folder: Path, environment: dict[str, str], grace_s: float = 8.0) -> None:
        self._log_folder = log_folder
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self._grace_s = grace_s
        self._running: list[Child] = []

    def start(self, name: str, command: Sequence[str | Path]) -> Child:
        """Starts a process and returns at once."""
        arguments = [str(part) for part in command]
        child = Child(name, arguments, self._log_folder / f"{name}.log", self._environment)
        self._running.append(child)
        return child

    def run(
        self,
        name: str,
        command: Sequence[str | Path],
        timeout_s: float,
        watch: Callable[[str], object] = lambda log: None,
    ) -> str:
        """Runs a process to its end and returns its output.

        Args:
            name: name of the process in messages, and of its log.
            command: program and arguments.
            timeout_s: time limit in seconds.
            watch: called repeatedly with the output so far.

        Raises:
            ChildError: the process failed or took too long, or another child ended meanwhile.
        """
        child = self.start(name, command)

        def ended() -> bool:
            watch(child.log())
            return child.returncode is not None

        self.wait(ended, f"{name} to finish", timeout_s, ending=child)
        child.expect_success()
        self._running.remove(child)
        return child.log()

    def wait(
        self, done: Callable[[], bool], what: str, timeout_s: float, ending: Child | None = None
    ) -> None:
        """Waits until ``done()``; all children except ``ending`` must keep running meanwhile.

        Raises:
            ChildError: a child ended, or ``timeout_s`` is over; ``what`` names the condition.
        """
        deadline = time.monotonic() + timeout_s
        while not done():
            for child in self._running:
                if child is not ending and child.returncode is not None:
                    raise ChildError(
                        f"{child.name} ended with code {child.returncode} while waiting for "
                        f"{what}.\n{child.tail()}"
                    )
            if time.monotonic() > deadline:
                tails = "\n".join(child.tail() for child in self._running)
                raise ChildError(f"timed out after {timeout_s:.0f} s waiting for {what}.\n{tails}")
            time.sleep(POLL_S)

    def stop(self, child: Child) -> None:
        """Ends one child.

        Raises:
            ChildError: the child returned an error code.
        """
        child.end(self._grace_s)
        self._running.remove(child)
        child.expect_success()

    def forget(self, child: Child) -> None:
        """Takes a child that has ended, or whose end is the caller's business, off the list."""
        self._running.remove(child)

    def __enter__(self) -> Self:
        self._log_folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._running:
            child.signal(signal.SIGINT)
        for child in self._running:
            child.end(self._grace_s)


class Child:
    """A process in a process group of its own.

    Its own children end with it, and Ctrl-C reaches the demo only.
    """

    def __init__(
        self, name: str, command: list[str], log_path: Path, environment: dict[str, str]
    ) -> None:
        self.name = name
        self.log_path = log_path
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """``None`` while the process is running."""
        return self._process.poll()

    def peak_memory_mib(self) -> float | None:
        """The most memory that it has used so far, in MiB; None where unknown, or if it ended."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return None  # not on Linux
        peak_kb = re.search(r"VmHWM:\s+(\d+) kB", status)
        return None if peak_kb is None else int(peak_kb[1]) / 1024

    def log(self) -> str:
        """Its output so far."""
        return self.log_path.read_text(errors="replace")

    def tail(self) -> str:
        """The last lines of its log, with a heading."""
        lines = self.log().splitlines()[-TAIL_LINES:]
        return "\n".join([f"--- the end of {self.log_path} ---", *lines])

    def expect_success(self) -> None:
        """Raises a ``ChildError`` unless the process has ended with code 0."""
        if self.returncode != 0:
            raise ChildError(f"{self.name} ended with code {self.returncode}.\n{self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process and its children if it is still running."""
        if self.returncode is None:
            os.killpg(self._process.pid, number)

    def end(self, grace_s: float) -> None:
        """Ends the process: SIGINT, after ``grace_s`` SIGTERM, after ``grace_s`` SIGKILL."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.signal(number)
            try:
                self._process.wait(grace_s)
                return
            except subprocess.TimeoutExpired:
                print(f"{self.name} ignores {number.name}", file=sys.stderr)
        self.signal(signal.SIGKILL)
        self._process.wait()
