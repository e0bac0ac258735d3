"""Looks at the counters of matching from time to time; tells log and diagnostics what they mean."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.node import Node

from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.diagnostics import Health
from occ_perception_ros.synchronizer import OUTCOMES

CLOCK_TIMEOUT_S = 5.0
SETS_FOR_OFFSETS = 20
"""Number of sets (or, without any, of sweeps) from which camera offsets are estimated."""
_COUNTERS = (
    "due",
    *OUTCOMES,
    "forgotten",
    "out_of_order",
    "duplicates",
    "no_pose",
    "bad_poses",
    "bad_headers",
    "empty_clouds",
)


class Monitor:
    """Facts about the inputs that no single message shows.

    Args:
        node: for its clock and its log.
        assembler: its counters are read.
        health: is told.
        warn: called with a short key, which is the same for the same problem, and the full text.
    """

    def __init__(
        self,
        node: Node,
        assembler: FrameAssembler,
        health: Health,
        warn: Callable[[str, str], None],
    ) -> None:
        self._node = node
        self._assembler = assembler
        self._health = health
        self._warn = warn
        self._refused: dict[str, int] = {}
        self._offsets_suggested = False
        self._started_s = time.monotonic()

    def tick(self, now_s: float) -> None:
        """Looks at everything once."""
        self._report_refusals()
        self._suggest_offsets()
        context, newest = self._assembler.context, self._assembler.synchronizer.newest_ns
        facts, stale = self._input_counts(), []
        if newest is not None:
            stale = context.stale(newest)
            sources = context.sources(newest).items()
            facts |= {f"context_{topic}_from": source for topic, source in sources}
        self._health.update(facts, self._clock_problem(now_s), stale)

    def _report_refusals(self) -> None:
        """Reports why sweeps were refused since the last tick.

        Those of the start, while cameras are still awaited, are no fault.
        """
        config = self._assembler.config
        reasons = {
            "below_min_cameras": f"fewer than min_cameras ({config.sync.min_cameras}) cameras have "
            "an image for the sweep",
            "no_pose": f"no pose in '{config.world_frame}' at the sweeps' stamps",
        }
        if self._assembler.lacks_pose():
            self._health.failed(reasons["no_pose"])
        counts = self._assembler.synchronizer.counts + self._assembler.counts
        for name, text in reasons.items():
            if counts[name] > self._refused.get(name, 0):
                self._health.failed(text)
                self._warn(f"refused {name}", f"no output: {text}")
            self._refused[name] = counts[name]

    def _suggest_offsets(self) -> None:
        """Logs the measured camera offsets once, if they differ from the configured ones."""
        synchronizer = self._assembler.synchronizer
        sets = synchronizer.counts["sets"] or synchronizer.counts["idle"]
        if self._offsets_suggested or sets < SETS_FOR_OFFSETS:
            return
        self._offsets_suggested = True
        if self._health.has_lost():
            return  # the sweep that belongs to an image may be one of the lost ones
        config = self._assembler.config
        configured, measured = synchronizer.offsets_s(), synchronizer.suggested_offsets_s()
        limit_s = config.sync.tolerance_s / 2
        if any(abs(offset - configured[name]) > limit_s for name, offset in measured.items()):
            offsets = [round(measured.get(name, configured[name]), 3) for name in config.cameras]
            self._node.get_logger().info(
                "measured camera stamps minus LiDAR stamps suggest "
                f"sync.camera_offsets_s:={offsets}"
            )

    def _clock_problem(self, now_s: float) -> str:
        node = self._node
        if not node.get_parameter("use_sim_time").value or node.get_clock().now().nanoseconds:
            return ""
        if now_s - self._started_s < CLOCK_TIMEOUT_S:
            return ""
        text = "use_sim_time is set, but /clock has no message; play the bag with --clock"
        self._warn("clock", text)
        return text

    def _input_counts(self) -> dict[str, str]:
        counts = self._assembler.synchronizer.counts + self._assembler.counts
        return {name: str(counts[name]) for name in _COUNTERS} | {
            name: str(self._health.counted(name)) for name in ("corrupt_images", "malformed")
        }
