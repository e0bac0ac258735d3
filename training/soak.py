"""Soaks the live node in faults: ``python -m training.soak --frames 10000``.

The node runs as a process of its own, over DDS, on a made-up drive at three times its speed.
Cameras drop out, images and clouds are damaged, clocks jump, the process is stopped, messages come
in bursts, subscribers come and go. Afterwards every sweep that was due must be answered or counted
under one reason, memory must be flat, and every kind of fault must have been reported. Then the
node with the shipped model is interrupted by SIGINT at random moments. A run that was cut off goes
on with ``--resume``.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from tqdm import tqdm

from occ_core.files import write_atomically
from occ_perception_ros.process import use_middleware_profile
from occ_perception_ros.topics import CAMERAS
from training.benchmarks.timing import describe_machine
from training.demo_parts.processes import Child, ChildError, Children
from training.soak_parts.checks import Observed, failures, is_settled, memory_growth
from training.soak_parts.drive import FRAME_S, SoakDrive, write_calibration
from training.soak_parts.faults import plan_faults
from training.soak_parts.interrupts import (
    READY_S,
    Interruption,
    interrupt_often,
    interruptions,
    summarise,
)
from training.soak_parts.node_process import interrupt, memory_mib, start_node
from training.soak_parts.player import SoakPlayer

QUIET_S = 6.0
"""Time of the drive without faults, at its beginning and its end."""
SETTLE_S = 120.0
"""Limit for the time after the drive in which the node answers what it still has."""
MEMORY_PERIOD_S = 1.0
MAX_TEXTS = 12
"""Number of texts of the diagnostics, the most frequent ones, in the result."""


@dataclass(frozen=True, kw_only=True)
class SoakConfig:
    """Options of ``python -m training.soak``."""

    frames: int = 10_000
    """Number of frames, of half a second of the drive each."""
    rate: float = 3.0
    """Speed relative to the drive."""
    model: bool = False
    """Whether the shipped model answers, instead of a quick engine that is none."""
    pause_s: float = 6.0
    """Mean time of the drive from one fault to the next."""
    interrupts: int = 50
    """Number of SIGINTs afterwards."""
    seed: int = 0
    """Seed of faults, sensor data and moments."""
    out: Path = Path("out/soak")
    """Folder of logs."""
    json: Path | None = None
    """File of the result."""
    resume: bool = False
    """Whether to go on with the run in that file, if it exists: a drive that has ended is not
    repeated, and only the SIGINTs that are missing are sent."""
    domain: int = 215 + os.getpid() % 18
    """ROS_DOMAIN_ID; by default one above those of tests and demo, 215 to 232, for which Linux has
    free ports too."""

    def __post_init__(self) -> None:
        if self.frames * FRAME_S <= 2 * QUIET_S:
            raise ValueError(f"frames must be above {2 * QUIET_S / FRAME_S:.0f}, got {self.frames}")
        if self.rate <= 0 or self.pause_s <= 0 or self.interrupts < 0:
            raise ValueError(
                "rate and pause_s must be positive and interrupts at least 0, got "
                f"{self.rate}, {self.pause_s} and {self.interrupts}"
            )
        if self.resume and self.json is None:
            raise ValueError("resume needs json, the file of the run to go on with")

    @property
    def drive_s(self) -> float:
        """Length of the drive."""
        return self.frames * FRAME_S

    @property
    def of_drive(self) -> dict[str, Any]:
        """What a result says of the drive that it is of."""
        engine = "shipped model" if self.model else "quick engine, no network"
        return {"engine": engine, "frames": self.frames, "rate": self.rate, "seed": self.seed}


def soak(config: SoakConfig) -> dict[str, Any]:
    """Runs everything and returns the result; ``failures`` lists what does not hold.

    The file of the result is written after the drive and after every SIGINT.

    Raises:
        ChildError: the node ended by itself, or did not start.
        ValueError: the run to go on with is of another drive.
    """
    import rclpy

    result = _stored(config)
    environment = {
        "ROS_DOMAIN_ID": str(config.domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_LOCALHOST_ONLY": "1",  # the same for Humble
    }
    os.environ.update(environment)
    use_middleware_profile()
    calibration = config.out / "calibration.yaml"
    with Children(config.out / "logs", environment) as children:
        write_calibration(calibration)
        context = rclpy.Context()
        rclpy.init(args=[], context=context)
        try:
            if result is None:
                node = rclpy.create_node("soak", context=context)
                result = _describe(config, *_run(children, node, calibration, config))
                _store(config, result)
            if config.interrupts:
                node = rclpy.create_node("interrupts", context=context)
                found = interruptions(result)
                for each in interrupt_often(
                    children, node, calibration, config.interrupts, config.seed, first=len(found)
                ):
                    found.append(each)
                    result["interrupts"] = summarise(found)
                    result["failures"] += [] if each.is_clean else [_text(each)]
                    _store(config, result)
        finally:
            rclpy.shutdown(context=context)
    return result


def _run(
    children: Children, node: Any, calibration: Path, config: SoakConfig
) -> tuple[Observed, Counter[str], float]:
    """Plays the drive; returns what was seen, texts of the diagnostics, and the time it took."""
    drive = SoakDrive(config.seed)
    faults = plan_faults(config.seed, QUIET_S, config.drive_s - QUIET_S, CAMERAS, config.pause_s)
    child = start_node(children, calibration, is_stub=not config.model)
    player = SoakPlayer(node, config.rate)
    children.wait(player.is_connected, "the node to be ready", READY_S)
    memory: list[float] = []
    started_s = time.monotonic()
    with tqdm(total=config.frames, unit="frame", desc="soak") as bar:
        watch = _Watch(child, player, memory, bar)
        player.play(drive.messages(config.drive_s, faults), faults, child, watch)
    played_s = time.monotonic() - started_s
    _settle(player, children)
    exit_code, stop_s = interrupt(child)
    children.forget(child)
    seen = Observed(
        values=player.values,
        raised=frozenset(player.raised),
        sweeps=frozenset(player.sweeps),
        answers=player.answers,
        memory_mib=memory,
        faults=Counter(fault.kind for fault in faults),
        log=child.log(),
        exit_code=exit_code,
        stop_s=stop_s,
    )
    player.close()
    return seen, player.texts, played_s


class _Watch:
    """Shows the progress and samples the memory of the node, once it has answered."""

    def __init__(self, child: Child, player: SoakPlayer, memory: list[float], bar: Any) -> None:
        self._child, self._player, self._memory, self._bar = child, player, memory, bar
        self._sampled_s = 0.0

    def __call__(self, at_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._sampled_s < MEMORY_PERIOD_S:
            return
        self._sampled_s = now_s
        if self._child.returncode is not None:
            raise ChildError(f"the node ended by itself.\n{self._child.tail()}")
        if self._player.answers:
            self._memory.append(memory_mib(self._child))
        self._bar.set_postfix(answers=sum(self._player.answers.values()), refresh=False)
        self._bar.update(int(at_s / FRAME_S) - self._bar.n)


def _settle(player: SoakPlayer, children: Children) -> None:
    """Waits until nothing waits in the node; where that never comes, the checks tell why."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s:
        before = dict(player.values)
        player.spin(2.5)  # two of the diagnostics' periods
        counts = [
            {k: v for k, v in each.items() if v.isdigit()} for each in (before, player.values)
        ]
        if is_settled(player.values) and counts[0] == counts[1]:
            return


def _describe(
    config: SoakConfig, seen: Observed, texts: Counter[str], played_s: float
) -> dict[str, Any]:
    first, last, growth = memory_growth(seen.memory_mib)
    counters = {name: int(value) for name, value in seen.values.items() if value.isdigit()}
    return {
        "command": shlex.join(["python", "-m", "training.soak", *sys.argv[1:]]),
        "machine": describe_machine(),
        **config.of_drive,
        "seconds": round(played_s, 1),
        "faults": dict(seen.faults),
        "sweeps_sent": len(seen.sweeps),
        "answers": sum(seen.answers.values()),
        "counters": counters,
        "memory_mib": {
            "after_warm_up": round(first, 1),
            "at_end": round(last, 1),
            "largest": round(max(seen.memory_mib, default=0.0), 1),
            "growth_percent": round(100 * growth, 2),
        },
        "texts": dict(texts.most_common(MAX_TEXTS)),
        "stop_s": round(seen.stop_s, 2),
        "failures": failures(seen),
    }


def _stored(config: SoakConfig) -> dict[str, Any] | None:
    """The result to go on with; None: there is none."""
    if not config.resume or config.json is None or not config.json.is_file():
        return None
    result: dict[str, Any] = json.loads(config.json.read_text())
    found = {name: result.get(name) for name in config.of_drive}
    if found != config.of_drive:
        raise ValueError(
            f"{config.json} is of {found}, asked was {config.of_drive}; choose another file"
        )
    return result


def _store(config: SoakConfig, result: dict[str, Any]) -> None:
    if config.json is not None:
        write_atomically(config.json, json.dumps(result, indent=2) + "\n")


def _text(each: Interruption) -> str:
    reason = f": {each.alarms[0]}" if each.alarms else ""
    return (
        f"SIGINT {each.after_s:.2f} s after the start ({each.moment}): exit code "
        f"{each.exit_code} after {each.stop_s:.2f} s{reason}"
    )


def main() -> None:
    """Runs the command line; the exit code is 1 if something does not hold."""
    config = tyro.cli(SoakConfig, description=__doc__)
    try:
        result = soak(config)
    except (ChildError, ValueError) as error:
        sys.exit(f"soak: {error}")
    print(json.dumps(result, indent=2))
    if result["failures"]:
        sys.exit("soak: " + "; ".join(result["failures"]))


if __name__ == "__main__":
    main()
