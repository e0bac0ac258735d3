"""Points of a frame: any frame of the cloud, the vehicle's own returns, limits and warnings."""

from __future__ import annotations

import math

import numpy as np
import pytest

from occ_core.geometry.points import inside_polygon, transform_points
from occ_core.geometry.poses import invert_pose, pose_matrix
from occ_perception_ros.assembler import FrameAssembler
from occ_perception_ros.assembler_config import AssemblerConfig
from occ_perception_ros.bags.nuscenes_messages import odometry, point_cloud
from occ_perception_ros.frames import FrameReport, build_frame
from occ_perception_ros.synchronizer import SyncConfig

NS = 10**9
SIZE = (16, 24)
HALF = math.sqrt(0.5)
MOUNTINGS = {
    # nuScenes' LiDAR: x right, y forward. Another that is turned: x forward, y left.
    "lidar_top": pose_matrix((0.94, 0.0, 1.84), (HALF, 0.0, 0.0, -HALF)),
    "velodyne": pose_matrix((0.94, 0.0, 1.84), (1.0, 0.0, 0.0, 0.0)),
    "tilted": pose_matrix((1.5, -0.3, 1.2), (0.9, 0.1, -0.2, 0.3)),
    "base_link": np.eye(4),
}


def scene(seed: int = 0) -> dict[str, np.ndarray]:
    """Points [N, 5] in the axes of ``lidar_top``: the vehicle's body, a wall, and a kerb."""
    generator = np.random.default_rng(seed)

    def box(count: int, low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
        xyz = generator.uniform(low, high, (count, 3))
        return np.column_stack([xyz, np.full(count, 40.0), np.zeros(count)]).astype(np.float32)

    return {
        "body": box(500, (-0.8, -1.2, -1.0), (0.8, 1.9, 0.1)),
        "wall": box(200, (-5.0, 12.0, -1.5), (5.0, 12.1, 2.0)),
        "kerb": box(100, (-2.5, -2.5, -1.9), (-1.2, -1.8, -1.3)),
    }


def frame_of(
    sweeps: list[np.ndarray], cloud_frame: str, config: AssemblerConfig, speed_mps: float = 10.0
) -> tuple[np.ndarray, FrameReport]:
    """The points of the last frame of sweeps at 20 Hz, given in the axes of ``lidar_top``.

    The vehicle drives straight ahead, and its body with it.
    """
    assembler = FrameAssembler(config)
    for child, base_from_child in MOUNTINGS.items():
        if child != "base_link":
            assembler.tree.add_static("base_link", child, base_from_child)
    parts = []
    for number, points in enumerate(sweeps):
        stamp = 10 * NS + number * NS // 20
        pose = pose_matrix((speed_mps * number / 20, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
        parts += assembler.add_odometry(
            odometry(pose, np.zeros(3), np.zeros(3), stamp, "map", "base_link")
        )
        cloud_from_lidar = (
            invert_pose(pose @ MOUNTINGS[cloud_frame]) if cloud_frame != "map" else (np.eye(4))
        )
        moved = transform_points(cloud_from_lidar @ pose @ MOUNTINGS["lidar_top"], points)
        parts += assembler.add_points(point_cloud(moved, stamp, cloud_frame))
    frame, report = build_frame(parts[-1], config.cameras, SIZE)
    return frame.points[0].numpy(), report


def config(**changes: object) -> AssemblerConfig:
    return AssemblerConfig(cameras=(), sync=SyncConfig(frame_period_s=0.0), **changes)


@pytest.mark.parametrize("cloud_frame", ["lidar_top", "velodyne", "tilted", "base_link", "map"])
def test_own_returns_are_cut_in_any_frame_of_the_cloud(cloud_frame: str) -> None:
    parts = [scene(seed) for seed in range(3)]
    sweeps = [np.concatenate(list(each.values())) for each in parts]
    found, _ = frame_of(sweeps, cloud_frame, config())
    expected, _ = frame_of(sweeps, "lidar_top", config())
    assert len(found) == 3 * (200 + 100)  # all but the body
    np.testing.assert_allclose(found, expected, atol=1e-4)


def outline(forward: float, backward: float, half_width: float) -> tuple[float, ...]:
    """Corners of a vehicle with a pointed front; x right, y forward."""
    return (
        *(-half_width, -backward, half_width, -backward),
        *(half_width, forward - 1.0, 0.0, forward, -half_width, forward - 1.0),
    )


def test_own_returns_are_cut_by_a_polygon() -> None:
    body, wall, kerb = scene().values()
    beside = body[body[:, 1] > 1.0].copy()
    beside[:, 0] += np.sign(beside[:, 0]) * 0.9  # ahead of the mirrors, beside the bonnet
    sweep = np.concatenate([body, wall, kerb, beside])
    polygon = outline(3.0, 1.3, 0.85)
    found, _ = frame_of([sweep], "base_link", config(ego_polygon_m=polygon))
    assert len(found) == len(wall) + len(kerb) + len(beside)
    # A box around the same vehicle with its mirrors takes the points beside the bonnet too.
    box = (-1.8, -1.3, -2.0, 1.8, 3.0, 0.5)
    assert len(frame_of([sweep], "base_link", config(ego_box_m=box))[0]) == len(wall) + len(kerb)
    # Above the box's z nothing is cut: the body reaches from -1 to 0.1.
    high = config(ego_polygon_m=polygon, ego_box_m=(0.0, 0.0, 1.0, 0.0, 0.0, 2.0))
    assert len(frame_of([sweep], "base_link", high)[0]) == len(sweep)


def test_points_in_a_polygon() -> None:
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 1.0], [0.0, 4.0]])  # a notch
    inside = [[1.0, 0.5], [0.2, 3.0], [3.8, 3.0], [2.0, 0.9]]
    outside = [[2.0, 2.0], [-1.0, 1.0], [5.0, 1.0], [2.0, -0.1], [1.0, 5.0]]
    found = inside_polygon(np.array(inside + outside), corners)
    assert found.tolist() == [True] * 4 + [False] * 5
    assert not inside_polygon(np.array(outside), corners[::-1]).any()


def test_max_points_limits_all_sweeps_together_and_says_so() -> None:
    sweeps = [scene(seed)["wall"] for seed in range(5)]
    all_points, report = frame_of(sweeps, "lidar_top", config())
    assert len(all_points) == 1000 and report.warnings == {}
    found, report = frame_of(sweeps, "lidar_top", config(max_points=300))
    # Every ceil(1000 / 300) = 4th of the points, evenly over the sweeps.
    np.testing.assert_array_equal(found, all_points[::4])
    assert report.points == 250 and report.points_dropped["over_limit"] == 750
    assert "750 points of 5 sweeps are beyond max_points (300)" in report.warnings["max_points"]
    # A sweep that is too large by itself is thinned when it is decoded: to 67, then to 34 each.
    found, report = frame_of(sweeps, "lidar_top", config(max_points=99))
    assert len(found) <= 99 and report.points_dropped["over_limit"] == 1000 - len(found)


@pytest.mark.parametrize(
    ("unit", "changes", "expected"),
    [
        (1.0, {}, ""),
        (1 / 255, {}, "set intensity_max to 1.0"),
        (12.0, {}, "lies outside 0..255"),
        (12.0, {"intensity_max": 3060.0}, ""),
        (1 / 255, {"intensity_max": 1.0}, ""),
    ],
)
def test_intensities_are_in_the_trainings_unit_or_there_is_a_warning(
    unit: float, changes: dict[str, float], expected: str
) -> None:
    wall = scene()["wall"]
    wall[:, 3] = np.linspace(0, 255, len(wall))
    truth = wall[:, 3].copy()
    wall[:, 3] *= unit
    found, report = frame_of([wall], "lidar_top", config(**changes))
    assert found[:, 3].min() >= 0 and found[:, 3].max() <= 255
    assert expected in report.warnings.get("intensity", "")
    if not expected:
        assert report.warnings == {}
        np.testing.assert_allclose(found[:, 3], truth, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ego_polygon_m": (1.0, 2.0, 3.0)}, "ego_polygon_m must be x, y of at least three"),
        ({"ego_polygon_m": (0.0, 0.0, 1.0, 1.0)}, "ego_polygon_m must be x, y of at least three"),
        ({"ego_polygon_m": (math.nan,) * 6}, "ego_polygon_m must be x, y of at least three"),
        ({"ego_box_m": (math.nan,) * 6}, "ego_box_m must be"),
        ({"intensity_max": 0.0}, "intensity_max must lie in"),
        ({"intensity_max": math.nan}, "intensity_max must lie in"),
        ({"lidar": False}, "without lidar there must be cameras"),
    ],
)
def test_options_that_mean_nothing_are_refused(change: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        config(**change)


@pytest.mark.parametrize("cameras", [("a", "a"), ("",), ("a b",), ("points",), ("9",), ("a/b",)])
def test_camera_names_are_parts_of_topics(cameras: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="cameras must be"):
        AssemblerConfig(cameras=cameras)
