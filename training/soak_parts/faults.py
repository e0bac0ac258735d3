"""Which faults befall the node during the soak, and when: random, but equal for equal seeds."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KINDS = ("dropout", "corrupt", "cloud", "back", "forward", "stop", "burst", "listener")
"""Images of a camera or of all are missing or damaged; clouds are not finite or empty; stamps and
/clock jump; the node's process is stopped, or gets everything late and at once; a subscriber comes
and goes."""
DAMAGES = ("truncated", "overwritten", "no_image", "empty")
"""What is wrong with the images of a ``corrupt`` fault."""
CLOUDS = ("not_finite", "half_finite", "empty")
"""What is wrong with the clouds of a ``cloud`` fault."""
LISTENED = ("markers", "occupancy_grid", "occupancy_points")
"""The outputs to which a ``listener`` subscribes."""

_DURATIONS_S = {
    "dropout": (1.0, 6.0),
    "corrupt": (1.0, 3.0),
    "cloud": (0.05, 1.0),
    "back": (0.0, 0.0),
    "forward": (0.0, 0.0),
    "stop": (0.6, 6.0),
    "burst": (0.6, 6.0),
    "listener": (0.5, 20.0),
}
_BACK_S = (0.15, 20.0)
_FORWARD_S = (2.5, 60.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; all times are those of the drive."""

    kind: str
    """One of ``KINDS``."""
    at_s: float
    duration_s: float
    target: str = ""
    """The camera (empty: all), the damage to clouds, or the output that is listened to."""
    damage: str = ""
    """Of images, one of ``DAMAGES``."""
    jump_s: float = 0.0
    """Of ``back`` and ``forward``: what is added to all later stamps."""

    def covers(self, at_s: float) -> bool:
        """Whether it is in effect at that time."""
        return self.at_s <= at_s < self.at_s + self.duration_s


class FaultTimeline:
    """Tells which faults are in effect, asked for times that never decrease.

    Args:
        faults: in the order of their times.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._coming = deque(faults)
        self._active: list[Fault] = []

    def at(self, at_s: float) -> list[Fault]:
        """The faults that are in effect at that time."""
        while self._coming and self._coming[0].at_s <= at_s:
            self._active.append(self._coming.popleft())
        self._active = [fault for fault in self._active if fault.covers(at_s)]
        return self._active


def plan_faults(
    seed: int, from_s: float, until_s: float, cameras: Sequence[str], mean_pause_s: float = 6.0
) -> tuple[Fault, ...]:
    """Faults in the order of their times; they may overlap.

    Args:
        seed: equal seeds give equal faults.
        from_s: none begins earlier.
        until_s: all have ended by then.
        cameras: names of the cameras.
        mean_pause_s: mean time from the beginning of a fault to that of the next.
    """
    generator = np.random.default_rng(seed)
    faults: list[Fault] = []
    round_of_kinds: list[str] = []
    at_s = from_s + generator.exponential(mean_pause_s)
    while at_s < until_s:
        # Every kind once before any comes again, so that a short soak has them all.
        round_of_kinds = round_of_kinds or [str(kind) for kind in generator.permutation(KINDS)]
        kind = round_of_kinds.pop()
        duration_s = min(float(generator.uniform(*_DURATIONS_S[kind])), until_s - at_s)
        faults.append(_fault(kind, at_s, duration_s, cameras, generator))
        at_s += generator.exponential(mean_pause_s)
    return tuple(faults)


def _fault(
    kind: str,
    at_s: float,
    duration_s: float,
    cameras: Sequence[str],
    generator: np.random.Generator,
) -> Fault:
    if kind in ("dropout", "corrupt"):
        target = str(generator.choice([*cameras, ""]))
        damage = str(generator.choice(DAMAGES)) if kind == "corrupt" else ""
        return Fault(kind, at_s, duration_s, target, damage)
    if kind == "cloud":
        return Fault(kind, at_s, duration_s, str(generator.choice(CLOUDS)))
    if kind == "listener":
        return Fault(kind, at_s, duration_s, str(generator.choice(LISTENED)))
    if kind in ("back", "forward"):
        jump_s = float(generator.uniform(*(_BACK_S if kind == "back" else _FORWARD_S)))
        return Fault(kind, at_s, duration_s, jump_s=-jump_s if kind == "back" else jump_s)
    return Fault(kind, at_s, duration_s)
