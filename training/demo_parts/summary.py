"""What a recording of the node's outputs says: its answers as voxels, their scores, latencies and
stage times.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from occ_core.metrics.occupancy import OccupancyScore
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.bags.reader import BagReader

ANSWERS_TOPIC = "output/occupancy_points"
TIMES_TOPIC = "debug/processing_time/"
WEIGHTS_TOPIC = "debug/sensor_weights"
WEIGHTS_WITH_ANSWER_NS = 100_000_000
"""The node publishes an answer's weights with it: the two come no more than this apart."""
ODOMETRY_TOPIC = "/odom"
_FORMATS = {2: "u1", 7: "<f4"}  # sensor_msgs/PointField: UINT8, FLOAT32


@dataclass(frozen=True, slots=True)
class Answer:
    """One occupancy message."""

    labels: np.ndarray
    """uint8 [X, Y, Z]."""
    probability: np.ndarray
    """float32 [X, Y, Z], 0 where the label is empty."""
    latency_ms: float
    """From the instant that the LiDAR sweep is stamped with, on the player's time line, to its
    coming at the recorder.
    """
    weights: tuple[float, float] | None = None
    """Of camera and LiDAR, by the weather; None of a model without WeathFusion."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded of a node."""

    answers: dict[int, Answer]
    """By header stamp."""
    stage_ms: dict[str, list[float]]
    """Values of every ``debug/processing_time`` topic, in order."""


class Summary(TypedDict):
    """The measured part of ``summary.json``."""

    frames_in: int
    frames_out: int
    dropped: int
    miou: float
    iou: float
    latency_ms: dict[str, float]
    stage_ms: dict[str, float]


def read_recording(bag: Path, node: str, grid: VoxelGrid, rate: float) -> Recording:
    """Reads the outputs of ``node`` (a full name such as ``/occupancy_node``), fed by a player of
    speed ``rate``.

    Raises:
        ValueError: nothing was recorded of the node or of the odometry; points lie off the grid or
            off voxel centres.
    """
    voxels: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    arrivals: dict[str, list[tuple[int, int]]] = {
        f"{node}/{ANSWERS_TOPIC}": [],
        ODOMETRY_TOPIC: [],
    }  # (stamp, wall clock)
    stage_ms: dict[str, list[float]] = {}
    weights: list[tuple[int, tuple[float, float]]] = []  # (wall clock, of camera and LiDAR)
    times, weighed = f"{node}/{TIMES_TOPIC}", f"{node}/{WEIGHTS_TOPIC}"
    with BagReader(bag) as reader:
        for recorded in reader.messages(
            [t for t in reader.topics if t in (*arrivals, weighed) or t.startswith(times)]
        ):
            message = reader.decode(recorded)
            if recorded.topic == weighed:
                camera, lidar = (float(weight) for weight in message.data)
                weights.append((recorded.stamp_ns, (camera, lidar)))
                continue
            if recorded.topic.startswith(times):
                stage_ms.setdefault(
                    recorded.topic.removeprefix(times).removesuffix("_ms"), []
                ).append(float(message.data))
                continue
            stamp_ns = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            arrivals[recorded.topic].append((stamp_ns, recorded.stamp_ns))
            if recorded.topic != ODOMETRY_TOPIC:
                voxels[stamp_ns] = voxels_from_cloud(message, grid)
    if not all(arrivals.values()):
        counts = {topic: len(found) for topic, found in arrivals.items()}
        raise ValueError(f"{bag} holds so many messages: {counts}; expected some of each")
    answers, odometry = arrivals.values()
    # Odometry is played at its stamp; its fastest message tells where the player's time line lies
    # on the wall clock.
    first_ns = odometry[0][0]
    delays_ms = [_delay_ms(stamp, wall, first_ns, rate) for stamp, wall in odometry]
    found = {}
    for stamp, wall in answers:
        latency_ms = _delay_ms(stamp, wall, first_ns, rate) - min(delays_ms)
        apart_ns, nearest = min(((abs(at - wall), one) for at, one in weights), default=(0, None))
        found[stamp] = Answer(
            *voxels[stamp], latency_ms, nearest if apart_ns <= WEIGHTS_WITH_ANSWER_NS else None
        )
    return Recording(found, stage_ms)


def _delay_ms(stamp_ns: int, wall_ns: int, first_ns: int, rate: float) -> float:
    """How long after ``first_ns``, played at once, a message came later than its stamp says."""
    return (wall_ns - first_ns - (stamp_ns - first_ns) / rate) / 1e6


def voxels_from_cloud(cloud: Any, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 and probabilities float32 ``[X, Y, Z]`` of an occupancy cloud (fields x, y, z,
    label, probability).

    Raises:
        ValueError: a point outside the grid or not in the middle of a voxel, or a voxel that comes
            twice.
    """
    dtype = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [_FORMATS[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    points = np.frombuffer(bytes(memoryview(cloud.data)), dtype)
    xyz = np.stack([points[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    index, inside = grid.numpy_index(xyz)
    if not inside.all():
        raise ValueError(
            f"{int((~inside).sum())} of {len(points)} points lie outside the grid {grid.range_m}; "
            "is it the node's?"
        )
    centres = np.asarray(grid.min_m) + (index + 0.5) * grid.voxel_size_m
    if (off_m := np.abs(centres - xyz).max(initial=0)) > 1e-3:
        raise ValueError(
            f"points lie up to {off_m:.3f} m off the voxel centres of {grid}; is it the node's "
            "grid?"
        )
    labels = np.full(grid.shape, EMPTY, dtype=np.uint8)
    probability = np.zeros(grid.shape, dtype=np.float32)
    labels[tuple(index.T)] = points["label"]
    probability[tuple(index.T)] = points["probability"]
    if len(points) != (occupied := np.count_nonzero(labels != EMPTY)):
        raise ValueError(
            f"{len(points)} points give {occupied} occupied voxels; each must come once, with an "
            "occupied class"
        )
    return labels, probability


def summarise(recording: Recording, truths: dict[int, np.ndarray]) -> Summary:
    """Scores the answers to the played keyframes.

    Args:
        truths: labels uint8 ``[X, Y, Z]`` by the LiDAR stamp of every keyframe that was played.

    Raises:
        ValueError: no keyframe was answered.
    """
    answered = sorted(recording.answers.keys() & truths.keys())
    if not answered:
        raise ValueError(
            f"none of {len(truths)} keyframes was answered, but the stamps "
            f"{sorted(recording.answers)} were"
        )
    score = OccupancyScore()
    for stamp_ns in answered:
        score.update(
            torch.from_numpy(recording.answers[stamp_ns].labels), torch.from_numpy(truths[stamp_ns])
        )
    scores = score.compute()
    latency_ms = [recording.answers[stamp_ns].latency_ms for stamp_ns in answered]
    return Summary(
        frames_in=len(truths),
        frames_out=len(answered),
        dropped=len(truths) - len(answered),
        miou=scores["miou"],
        iou=scores["iou"],
        latency_ms={
            "p50": float(np.percentile(latency_ms, 50)),
            "p99": float(np.percentile(latency_ms, 99)),
        },
        stage_ms={
            stage: float(np.median(values)) for stage, values in sorted(recording.stage_ms.items())
        },
    )
