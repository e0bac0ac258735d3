"""Sets of a drive that is played three times, by our synchronizer and by that of message_filters.

Each pass has 238 sweeps at 12 Hz, with an image of each camera near each sweep; cameras drop out.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS
from occ_perception_ros.sync_config import NUSCENES_OFFSETS_S, SyncConfig
from occ_perception_ros.synchronizer import NS, LidarAnchoredSynchronizer

SETS = 238
RATE_HZ = 12
PASSES = 3
LIDAR = "lidar"
START_NS = 1_600_000_000 * NS
CASES: dict[str, tuple[int, int]] = {
    "all sensors": (0, 0),
    "one camera lost from 5 to 10 s": (5 * RATE_HZ, 10 * RATE_HZ),
    "one camera lost in the last second": (SETS - RATE_HZ, SETS),
}
"""Numbers of the first image that the first camera lacks, and of the next that it has."""

Stamps = list[tuple[int, str]]


def drive(lost: tuple[int, int]) -> Stamps:
    """Stamps and sensors of one pass, in order; exposures deviate by up to 3 ms."""
    random = np.random.default_rng(0)
    events: Stamps = []
    for number in range(SETS):
        sweep_ns = START_NS + round(number * NS / RATE_HZ)
        events.append((sweep_ns, LIDAR))
        for camera, offset_s in zip(NUSCENES_CAMERAS, NUSCENES_OFFSETS_S, strict=True):
            stamp_ns = sweep_ns + round((offset_s + random.uniform(-0.003, 0.003)) * NS)
            if not (camera == NUSCENES_CAMERAS[0] and lost[0] <= number < lost[1]):
                events.append((stamp_ns, camera))
    return sorted(events)


@dataclass(frozen=True)
class PlayedPasses:
    """What a synchronizer made of a drive that was played ``PASSES`` times."""

    sets: list[int]
    """Number of sets of each pass."""
    us_per_message: float
    """Processor time."""


def ours(events: Stamps) -> PlayedPasses:
    """One ``LidarAnchoredSynchronizer`` hears all passes, one after another."""
    collector = LidarAnchoredSynchronizer(NUSCENES_CAMERAS, SyncConfig(frame_period_s=0.0))
    found = []
    started_s = time.process_time()
    for number in range(PASSES):
        for stamp_ns, sensor in events:
            found += (
                collector.add_sweep(stamp_ns, number)
                if sensor == LIDAR
                else collector.add_image(sensor, stamp_ns, None)
            )
    seconds = time.process_time() - started_s
    passes = [released.sweeps[-1][1] for released in [*found, *collector.flush()]]
    return _played([passes.count(number) for number in range(PASSES)], seconds, events)


def theirs(events: Stamps) -> PlayedPasses | None:
    """The same of message_filters' ApproximateTimeSynchronizer; None where it is not installed."""
    try:
        from message_filters import ApproximateTimeSynchronizer, SimpleFilter
    except ImportError:
        return None
    from sensor_msgs.msg import CompressedImage

    inputs = {name: SimpleFilter() for name in (LIDAR, *NUSCENES_CAMERAS)}
    synchronizer = ApproximateTimeSynchronizer(list(inputs.values()), queue_size=10, slop=0.1)
    found: list[object] = []
    synchronizer.registerCallback(lambda *messages: found.append(messages))
    messages = [(CompressedImage(), sensor) for _, sensor in events]
    for (message, _), (stamp_ns, _) in zip(messages, events, strict=True):
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, NS)
    ends = []
    started_s = time.process_time()
    for _ in range(PASSES):
        for message, sensor in messages:
            inputs[sensor].signalMessage(message)
        ends.append(len(found))
    seconds = time.process_time() - started_s
    sets = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    return _played(sets, seconds, events)


def _played(sets: list[int], seconds: float, events: Stamps) -> PlayedPasses:
    return PlayedPasses(sets, seconds * 1e6 / (PASSES * len(events)))
