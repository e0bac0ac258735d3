"""SIGINT at random moments of the node's life, with the shipped model."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node

from training.demo_parts.processes import Child, Children
from training.soak_parts.checks import MAX_STOP_S, alarms
from training.soak_parts.drive import SoakDrive
from training.soak_parts.node_process import has_begun, interrupt, is_ready, start_node
from training.soak_parts.player import SoakPlayer

MOMENTS = ("frame", "start", "idle", "start", "shutdown")
"""While sensor data stream; somewhere in imports, loading and warm-up; while it waits; and twice,
the second time while it shuts down."""
READY_S = 300.0
_FRAMES_S = (1.0, 6.0)
_IDLE_S = (0.0, 1.5)
_AGAIN_S = (0.0, 0.5)


@dataclass(frozen=True, slots=True)
class Interruption:
    """One SIGINT and what came of it."""

    moment: str
    after_s: float
    """Time from the program's first lines."""
    exit_code: int | None
    stop_s: float
    """Time to the end of the process."""
    alarms: tuple[str, ...]
    """Lines of its log that tell of an error."""

    @property
    def is_clean(self) -> bool:
        """Whether it ended as it should."""
        return self.exit_code == 0 and self.stop_s <= MAX_STOP_S and not self.alarms


def interrupt_often(
    children: Children,
    node: Node,
    calibration: Path,
    number: int,
    seed: int,
    is_stub: bool = False,
    first: int = 0,
) -> Iterator[Interruption]:
    """Starts the node ``number`` times and interrupts it; a line is printed for each.

    Args:
        children: owns the processes.
        node: for the player of the sensor data.
        calibration: the drive's calibration file.
        number: of interruptions.
        seed: of the moments.
        is_stub: whether a quick engine takes the place of the shipped model.
        first: number of interruptions that an earlier run has made, and that are left out.
    """
    player, drive = SoakPlayer(node, rate=1.0), SoakDrive(seed)
    start_s = 5.0
    """How long a start takes; measured whenever one was not interrupted."""
    for index in range(first, number):
        moment = MOMENTS[index % len(MOMENTS)]
        generator = np.random.default_rng([seed, index])
        child = start_node(children, calibration, is_stub, f"interrupted_{index}")
        children.wait(partial(has_begun, child), "the node to begin", READY_S, ending=child)
        began_s = time.monotonic()
        if moment == "start":
            time.sleep(generator.uniform(0, start_s))
        else:
            children.wait(partial(is_ready, child), "the node to be ready", READY_S)
            start_s = time.monotonic() - began_s
            _go_on(player, drive, child, moment, generator)
        again_s = generator.uniform(*_AGAIN_S) if moment == "shutdown" else None
        after_s = time.monotonic() - began_s
        exit_code, stop_s = interrupt(child, again_s)
        children.forget(child)
        lines = tuple(alarms(child.log()))
        print(
            f"SIGINT {index + 1} of {number}, {moment}, {after_s:.1f} s after its start: exit code "
            f"{exit_code} after {stop_s:.2f} s",
            flush=True,
        )
        yield Interruption(moment, after_s, exit_code, stop_s, lines)
    player.close()


def interruptions(result: Mapping[str, Any]) -> list[Interruption]:
    """The interruptions that a result holds, whose ``interrupts`` are of ``summarise``."""
    stored = result.get("interrupts", {}).get("each", [])
    return [Interruption(**{**each, "alarms": tuple(each["alarms"])}) for each in stored]


def summarise(found: Sequence[Interruption]) -> dict[str, Any]:
    """The interruptions for a JSON file."""
    return {
        "number": len(found),
        "clean": sum(each.is_clean for each in found),
        "longest_stop_s": round(max((each.stop_s for each in found), default=0.0), 2),
        "by_moment": {
            moment: {
                "number": sum(each.moment == moment for each in found),
                "longest_stop_s": round(
                    max((each.stop_s for each in found if each.moment == moment), default=0.0), 2
                ),
            }
            for moment in dict.fromkeys(MOMENTS)
        },
        "each": [asdict(each) for each in found],
    }


def _go_on(
    player: SoakPlayer, drive: SoakDrive, child: Child, moment: str, generator: np.random.Generator
) -> None:
    if moment == "frame":
        until_s = generator.uniform(*_FRAMES_S)
        player.play(drive.messages(until_s), (), child, lambda at_s: None)
    else:
        time.sleep(generator.uniform(*_IDLE_S))
