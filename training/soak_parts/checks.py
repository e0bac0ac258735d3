"""What has to hold after a soak: every sweep is accounted for, memory is flat, faults are told."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from occ_perception_ros.synchronizer import OUTCOMES

MAX_GROWTH = 0.05
"""Share by which memory may grow after the warm-up."""
WARM_UP = 0.25
"""Share of the soak's samples of memory that belong to its warm-up."""
MAX_STOP_S = 3.0
_ALARM = re.compile(r"Traceback|\[(ERROR|FATAL)\]|Segmentation|terminate called")
_CERTAIN = 3
"""Number of faults of a kind that cannot all have hit frames that nobody looked at."""
_REPORTS = {
    "dropout": ("masked",),
    "corrupt": ("corrupt_images",),
    "cloud": ("failed", "empty_clouds", "points_not_finite"),
    "back": ("resets", "out_of_order"),
    "forward": ("resets",),
}
"""What must tell of a kind of fault, one of these: a counter, or ``masked`` in the log."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was seen of a node during a soak."""

    values: Mapping[str, str]
    """Key-value pairs of the overall diagnostics after the end."""
    raised: frozenset[str]
    """Counters that have ever been above zero."""
    sweeps: frozenset[int]
    """Stamps of the clouds that were sent."""
    answers: Mapping[int, int]
    """Number of answers by stamp."""
    memory_mib: Sequence[float]
    """Resident memory of the process at regular times, from the first answer on."""
    faults: Mapping[str, int]
    """Number of faults by kind."""
    log: str
    exit_code: int | None
    stop_s: float
    """Time from SIGINT to the end of the process."""

    def count(self, name: str) -> int:
        """A counter of the diagnostics."""
        return int(self.values.get(name, 0))


def failures(seen: Observed) -> list[str]:
    """What does not hold, in words; empty: all is well."""
    return [*_accounts(seen), *_answers(seen), *_memory(seen), *_reports(seen), *_end(seen)]


def is_settled(values: Mapping[str, str]) -> bool:
    """Whether nothing waits in the node: all its accounts are closed."""
    nothing = Observed(
        values=values,
        raised=frozenset(),
        sweeps=frozenset(),
        answers={},
        memory_mib=(),
        faults={},
        log="",
        exit_code=0,
        stop_s=0.0,
    )
    return not list(_accounts(nothing))


def memory_growth(memory_mib: Sequence[float]) -> tuple[float, float, float]:
    """Median memory after the warm-up and at the end, and the growth as a share.

    Each is that of a fifth of the samples behind the warm-up.
    """
    steady = memory_mib[int(WARM_UP * len(memory_mib)) :] or [0.0]
    fifth = max(len(steady) // 5, 1)
    first, last = statistics.median(steady[:fifth]), statistics.median(steady[-fifth:])
    return first, last, last / first - 1 if first else 0.0


def alarms(log: str) -> list[str]:
    """Lines of a log that tell of an error that nobody handled."""
    return [line for line in log.splitlines() if _ALARM.search(line)]


def _accounts(seen: Observed) -> list[str]:
    """Every sweep that was due is answered or counted under one reason."""
    total = {name: seen.count(name) for name in ("due", "sets", "frames_in", "dropped")}
    parts = {
        "due": OUTCOMES,
        "sets": ("frames_in", "inactive", "no_pose", "forgotten"),
        "frames_in": ("frames_out", "dropped"),
        "dropped": ("replaced", "failed", "withdrawn"),
    }
    return [
        f"{name} is {total[name]}, but {' + '.join(of)} are {sum(map(seen.count, of))}"
        for name, of in parts.items()
        if total[name] != sum(map(seen.count, of))
    ]


def _answers(seen: Observed) -> list[str]:
    found = []
    if not seen.answers:
        found.append("there was no answer")
    if (heard := sum(seen.answers.values())) != seen.count("frames_out"):
        found.append(f"frames_out is {seen.count('frames_out')}, but {heard} answers were heard")
    if unknown := seen.answers.keys() - seen.sweeps:
        found.append(f"{len(unknown)} answers have a stamp that no sweep had")
    if twice := [stamp for stamp, number in seen.answers.items() if number > 1]:
        found.append(f"{len(twice)} sweeps were answered more than once")
    return found


def _memory(seen: Observed) -> list[str]:
    if len(seen.memory_mib) < 10:
        return []
    first, last, growth = memory_growth(seen.memory_mib)
    if growth <= MAX_GROWTH:
        return []
    return [f"memory grew by {growth:.1%}, from {first:.0f} to {last:.0f} MiB"]


def _reports(seen: Observed) -> list[str]:
    raised = seen.raised | ({"masked"} if "is masked" in seen.log else set())
    found = [
        f"{seen.faults[kind]} faults '{kind}' left no trace in diagnostics and log"
        for kind, names in _REPORTS.items()
        if seen.faults.get(kind, 0) >= _CERTAIN and not raised & {*names}
    ]
    if seen.count("malformed"):
        found.append(f"{seen.count('malformed')} messages raised an error in the node")
    if lines := alarms(seen.log):
        found.append(f"the log has {len(lines)} lines of errors, the first: {lines[0]}")
    return found


def _end(seen: Observed) -> list[str]:
    if seen.exit_code != 0:
        return [f"SIGINT ended the node with exit code {seen.exit_code}"]
    if seen.stop_s > MAX_STOP_S:
        return [f"the node took {seen.stop_s:.1f} s to end"]
    return []
