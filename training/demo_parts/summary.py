"""Reads a recording of the node's output: its answers as voxels, their scores and latencies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from occ_core.metrics.occupancy import OccupancyScore
from occ_core.taxonomy import EMPTY
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.bags.reader import BagReader
from training.demo_parts.recorder import ANSWERS_TOPIC, ODOMETRY_TOPIC

STAGE_TOPICS = "debug/processing_time/"
WEIGHTS_TOPIC = "debug/sensor_weights"
MAX_WEIGHTS_DELAY_NS = 100_000_000
"""The node publishes an answer and its weights at most this far apart."""
_FORMATS = {2: "u1", 7: "<f4"}  # sensor_msgs/PointField: UINT8, FLOAT32


@dataclass(frozen=True, slots=True)
class Answer:
    """One occupancy message."""

    labels: np.ndarray
    """uint8 [X, Y, Z]."""
    probability: np.ndarray
    """float32 [X, Y, Z], 0 where the label is empty."""
    latency_ms: float
    """From the stamp of the LiDAR sweep, on the time line of the player, to the recorder."""
    weights: tuple[float, float] | None = None
    """Weights of camera and LiDAR; None for a model without WeathFusion."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The recorded output of a node."""

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


@dataclass(slots=True)
class _Messages:
    """Contents of a bag; a pair is a header stamp and the time of receipt on the wall clock."""

    answers: list[tuple[int, int]] = field(default_factory=list)
    odometry: list[tuple[int, int]] = field(default_factory=list)
    voxels: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    """Labels and probabilities of the answers, by header stamp."""
    weights: list[tuple[int, tuple[float, float]]] = field(default_factory=list)
    """Time of receipt, and the weights of camera and LiDAR."""
    stage_ms: dict[str, list[float]] = field(default_factory=dict)


def read_recording(bag: Path, node: str, grid: VoxelGrid, rate: float) -> Recording:
    """Reads the output of ``node`` while a bag was played to it.

    Args:
        bag: the recording.
        node: full name of the node, such as ``/occupancy_node``.
        grid: grid of the node.
        rate: speed of the player.

    Raises:
        ValueError: there are no messages of the node or no odometry, or points lie outside the grid
            or off the voxel centres.
    """
    messages = _read_messages(bag, node, grid)
    counts = {
        f"{node}/{ANSWERS_TOPIC}": len(messages.answers),
        ODOMETRY_TOPIC: len(messages.odometry),
    }
    if not all(counts.values()):
        raise ValueError(f"{bag} holds this many messages: {counts}; expected some of each")
    # Odometry is played at its stamp, so its fastest message shows the offset between the time line
    # of the player and the wall clock.
    first_ns = messages.odometry[0][0]
    offset_ms = min(_delay_ms(*times, first_ns, rate) for times in messages.odometry)
    answers = {}
    for stamp_ns, wall_ns in messages.answers:
        latency_ms = _delay_ms(stamp_ns, wall_ns, first_ns, rate) - offset_ms
        weights = _simultaneous_weights(messages.weights, wall_ns)
        answers[stamp_ns] = Answer(*messages.voxels[stamp_ns], latency_ms, weights)
    return Recording(answers, messages.stage_ms)


def _read_messages(bag: Path, node: str, grid: VoxelGrid) -> _Messages:
    answers_topic, weights_topic = f"{node}/{ANSWERS_TOPIC}", f"{node}/{WEIGHTS_TOPIC}"
    stage_prefix = f"{node}/{STAGE_TOPICS}"
    messages = _Messages()
    with BagReader(bag) as reader:
        fixed = (answers_topic, weights_topic, ODOMETRY_TOPIC)
        topics = [t for t in reader.topics if t in fixed or t.startswith(stage_prefix)]
        for recorded in reader.messages(topics):
            message, wall_ns = reader.decode(recorded), recorded.stamp_ns
            if recorded.topic == weights_topic:
                camera, lidar = (float(weight) for weight in message.data)
                messages.weights.append((wall_ns, (camera, lidar)))
            elif recorded.topic == answers_topic:
                stamp_ns = _stamp_ns(message)
                messages.answers.append((stamp_ns, wall_ns))
                messages.voxels[stamp_ns] = voxels_from_cloud(message, grid)
            elif recorded.topic == ODOMETRY_TOPIC:
                messages.odometry.append((_stamp_ns(message), wall_ns))
            else:
                stage = recorded.topic.removeprefix(stage_prefix).removesuffix("_ms")
                messages.stage_ms.setdefault(stage, []).append(float(message.data))
    return messages


def _stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


def _delay_ms(stamp_ns: int, wall_ns: int, first_ns: int, rate: float) -> float:
    """Time of receipt minus due time, if the stamp ``first_ns`` had been played at ``first_ns``."""
    return (wall_ns - first_ns - (stamp_ns - first_ns) / rate) / 1e6


def _simultaneous_weights(
    weights: list[tuple[int, tuple[float, float]]], wall_ns: int
) -> tuple[float, float] | None:
    """The weights received nearest in time to an answer; None if none belong to it."""
    apart_ns, nearest = min(
        ((abs(received_ns - wall_ns), values) for received_ns, values in weights), default=(0, None)
    )
    return nearest if apart_ns <= MAX_WEIGHTS_DELAY_NS else None


def voxels_from_cloud(cloud: Any, grid: VoxelGrid) -> tuple[np.ndarray, np.ndarray]:
    """Labels uint8 and probabilities float32, both ``[X, Y, Z]``, of an occupancy cloud.

    Args:
        cloud: a PointCloud2 with the fields x, y, z, label and probability.
        grid: grid of the node.

    Raises:
        ValueError: a point lies outside the grid or off a voxel centre, a voxel occurs twice, or a
            point has the label empty.
    """
    dtype = np.dtype(
        {
            "names": [entry.name for entry in cloud.fields],
            "formats": [_FORMATS[entry.datatype] for entry in cloud.fields],
            "offsets": [entry.offset for entry in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    points = np.frombuffer(bytes(memoryview(cloud.data)), dtype)
    xyz = np.stack([points[axis] for axis in "xyz"], axis=-1).astype(np.float64)
    index, inside = grid.numpy_index(xyz)
    if not inside.all():
        raise ValueError(
            f"{int((~inside).sum())} of {len(points)} points lie outside the grid {grid.range_m}; "
            "is it the grid of the node?"
        )
    centres = np.asarray(grid.min_m) + (index + 0.5) * grid.voxel_size_m
    if (off_m := np.abs(centres - xyz).max(initial=0)) > 1e-3:
        raise ValueError(
            f"points lie up to {off_m:.3f} m off the voxel centres of {grid}; is it the grid of "
            "the node?"
        )
    labels = np.full(grid.shape, EMPTY, dtype=np.uint8)
    probability = np.zeros(grid.shape, dtype=np.float32)
    labels[tuple(index.T)] = points["label"]
    probability[tuple(index.T)] = points["probability"]
    if len(points) != (occupied := np.count_nonzero(labels != EMPTY)):
        raise ValueError(
            f"{len(points)} points give {occupied} occupied voxels; every point must have a voxel "
            "of its own and an occupied class"
        )
    return labels, probability


def summarise(recording: Recording, truths: dict[int, np.ndarray]) -> Summary:
    """Scores, latencies and stage times of the answers.

    Args:
        recording: the output of the node.
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
        labels = recording.answers[stamp_ns].labels
        score.update(torch.from_numpy(labels), torch.from_numpy(truths[stamp_ns]))
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
