"""The figures of the demo, from a small artificial recording."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.typesys.stores import ros2_kilted as ros

from occ_core.taxonomy import CLASS_ID, IGNORE
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.bags.writer import BagWriter, qos_profile
from training.demo_parts.summary import read_recording, summarise, voxels_from_cloud

GRID = VoxelGrid((-1.0, -1.0, -1.0, 1.0, 1.0, 1.0), 0.5)  # 4 x 4 x 4
CAR, ROAD = CLASS_ID["car"], CLASS_ID["driveable_surface"]
DTYPE = np.dtype(
    [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("label", "u1"), ("probability", "<f4")]
)
MS = 1_000_000
FIRST_NS, SECOND_NS, THIRD_NS = 10**18, 10**18 + 500 * MS, 10**18 + 1000 * MS
WALL_NS = 777 * 10**9
"""Wall clock minus stamp."""


def header(stamp_ns: int) -> ros.std_msgs__msg__Header:
    return ros.std_msgs__msg__Header(
        ros.builtin_interfaces__msg__Time(stamp_ns // 10**9, stamp_ns % 10**9), "lidar_top"
    )


def cloud(
    stamp_ns: int, points: list[tuple[float, float, float, int, float]]
) -> ros.sensor_msgs__msg__PointCloud2:
    kinds = {"u1": 2, "<f4": 7}
    fields = [
        ros.sensor_msgs__msg__PointField(
            name, DTYPE.fields[name][1], kinds["u1" if name == "label" else "<f4"], 1
        )
        for name in DTYPE.names
    ]
    data = np.frombuffer(np.array(points, DTYPE).tobytes(), np.uint8)
    return ros.sensor_msgs__msg__PointCloud2(
        header(stamp_ns), 1, len(points), fields, False, 17, 17 * len(points), data, True
    )


def odometry(stamp_ns: int) -> ros.nav_msgs__msg__Odometry:
    zero = ros.geometry_msgs__msg__Vector3(0, 0, 0)
    pose = ros.geometry_msgs__msg__Pose(
        ros.geometry_msgs__msg__Point(0, 0, 0), ros.geometry_msgs__msg__Quaternion(0, 0, 0, 1)
    )
    return ros.nav_msgs__msg__Odometry(
        header(stamp_ns),
        "base_link",
        ros.geometry_msgs__msg__PoseWithCovariance(pose, np.zeros(36)),
        ros.geometry_msgs__msg__TwistWithCovariance(
            ros.geometry_msgs__msg__Twist(zero, zero), np.zeros(36)
        ),
    )


def record(bag: Path, also: Callable[[BagWriter], None] = lambda writer: None) -> None:
    """Two of three keyframes are answered, 100 and 300 ms after their stamps."""
    with BagWriter(bag) as writer:
        writer.add_topic(
            "/n/output/occupancy_points", "sensor_msgs/msg/PointCloud2", qos_profile(5)
        )
        writer.add_topic(
            "/n/debug/processing_time/forward_ms", "std_msgs/msg/Float64", qos_profile(5)
        )
        writer.add_topic("/odom", "nav_msgs/msg/Odometry", qos_profile(5))
        # The fastest message shows the difference of the clocks.
        for stamp_ns, delay_ms in ((FIRST_NS, 3), (SECOND_NS, 0), (THIRD_NS, 1)):
            writer.write("/odom", odometry(stamp_ns), stamp_ns + WALL_NS + delay_ms * MS)
        # Voxels (0, 0, 0) and (2, 0, 0).
        points = [(-0.75, -0.75, -0.75, ROAD, 0.9), (0.25, -0.75, -0.75, CAR, 0.5)]
        writer.write(
            "/n/output/occupancy_points", cloud(FIRST_NS, points), FIRST_NS + WALL_NS + 100 * MS
        )
        writer.write(
            "/n/output/occupancy_points", cloud(THIRD_NS, points), THIRD_NS + WALL_NS + 300 * MS
        )
        for value in (40.0, 44.0, 90.0):
            writer.write(
                "/n/debug/processing_time/forward_ms",
                ros.std_msgs__msg__Float64(value),
                THIRD_NS + WALL_NS,
            )
        also(writer)


def truth(*voxels: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros(GRID.shape, np.uint8)
    for x, y, z, label in voxels:
        labels[x, y, z] = label
    return labels


def test_the_summary_of_a_recording(tmp_path: Path) -> None:
    record(tmp_path / "bag")
    recording = read_recording(tmp_path / "bag", "/n", GRID, rate=1.0)
    answer = recording.answers[FIRST_NS]
    assert np.argwhere(answer.labels).tolist() == [[0, 0, 0], [2, 0, 0]]
    assert answer.weights is None
    assert answer.labels[2, 0, 0] == CAR and answer.probability[2, 0, 0] == np.float32(0.5)

    truths = {
        FIRST_NS: truth((0, 0, 0, ROAD), (2, 0, 0, CAR)),  # both right
        SECOND_NS: truth((3, 3, 3, CAR)),  # not answered, so it does not count
        # The road is right, one car is missed, one voxel is ignored.
        THIRD_NS: truth((0, 0, 0, ROAD), (2, 0, 0, IGNORE), (3, 3, 3, CAR)),
    }
    summary = summarise(recording, truths)
    # road 2 of 2; car: 1 hit, 1 missed -> 1/2; mean 3/4. Occupied: 3 hits, 1 missed -> 3/4.
    assert summary["miou"] == pytest.approx(0.75)
    assert summary["iou"] == pytest.approx(0.75)
    assert (summary["frames_in"], summary["frames_out"], summary["dropped"]) == (3, 2, 1)
    # Latencies 100 and 300 ms: the median lies between, the 99th percentile at 100 + 0.99 * 200.
    assert summary["latency_ms"] == pytest.approx({"p50": 200.0, "p99": 298.0})
    assert summary["stage_ms"] == {"forward": 44.0}


def test_an_answer_gets_the_weights_that_arrive_with_it(tmp_path: Path) -> None:
    """2 ms after the first answer and 3 ms before the second; no answer goes with (0.5, 0.5)."""
    layout = ros.std_msgs__msg__MultiArrayLayout([], 0)
    arrivals = [
        (FIRST_NS + 102 * MS, [0.6, 0.4]),
        (SECOND_NS + 200 * MS, [0.5, 0.5]),
        (THIRD_NS + 297 * MS, [0.25, 0.75]),
    ]

    def add_weights(writer: BagWriter) -> None:
        writer.add_topic(
            "/n/debug/sensor_weights", "std_msgs/msg/Float64MultiArray", qos_profile(5)
        )
        for stamp_ns, weights in arrivals:
            message = ros.std_msgs__msg__Float64MultiArray(layout, np.array(weights))
            writer.write("/n/debug/sensor_weights", message, stamp_ns + WALL_NS)

    record(tmp_path / "bag", add_weights)
    answers = read_recording(tmp_path / "bag", "/n", GRID, rate=1.0).answers
    assert [answer.weights for answer in answers.values()] == [(0.6, 0.4), (0.25, 0.75)]


def test_latency_at_half_speed(tmp_path: Path) -> None:
    record(tmp_path / "bag")
    # At rate 0.5, the odometry of 0, 500 and 1000 ms was due at 0, 1000 and 2000 ms, and arrived at
    # 3, 500 and 1001: the fastest is the last, 999 ms early. So the answers at 100 ms (due at 0)
    # and 1300 ms (due at 2000) are 100 + 999 and -700 + 999 ms late.
    recording = read_recording(tmp_path / "bag", "/n", GRID, rate=0.5)
    assert recording.answers[FIRST_NS].latency_ms == pytest.approx(1099.0)
    assert recording.answers[THIRD_NS].latency_ms == pytest.approx(299.0)


def test_no_answer_is_an_error(tmp_path: Path) -> None:
    record(tmp_path / "bag")
    with pytest.raises(ValueError, match="'/other/output/occupancy_points': 0"):
        read_recording(tmp_path / "bag", "/other", GRID, rate=1.0)
    recording = read_recording(tmp_path / "bag", "/n", GRID, rate=1.0)
    with pytest.raises(ValueError, match="none of 1 keyframes"):
        summarise(recording, {SECOND_NS: truth()})


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1.25, 0.25, 0.25, CAR, 1.0)], "1 of 1 points lie outside"),
        ([(0.35, 0.25, 0.25, CAR, 1.0)], "0.100 m off the voxel centres"),
        ([(0.25, 0.25, 0.25, CAR, 1.0), (0.25, 0.25, 0.25, ROAD, 1.0)], "2 points give 1 occupied"),
        ([(0.25, 0.25, 0.25, 0, 1.0)], "1 points give 0 occupied"),
    ],
)
def test_a_cloud_that_is_not_an_occupancy_is_refused(
    points: list[tuple[float, float, float, int, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        voxels_from_cloud(cloud(FIRST_NS, points), GRID)


def test_an_empty_cloud_is_an_empty_grid() -> None:
    labels, probability = voxels_from_cloud(cloud(FIRST_NS, []), GRID)
    assert labels.shape == GRID.shape and not labels.any() and not probability.any()
