"""What other programs get from the live node: voxels, their meaning, and the 2D map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import OccupancyGrid
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from visualization_msgs.msg import MarkerArray

from occ_perception_ros.decoding import DenseVoxels
from occ_perception_ros.grid_info import GridInfo
from occ_perception_ros.outputs import FREE, OCCUPIED

Live = Callable[..., Any]
"""``conftest.Graph``."""
OUTPUT = "/occupancy_node/output"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def listen_late(live: Any, kind: Any, topic: str) -> list[Any]:
    """As ``Graph.listen``, of a program that starts later and expects what was published before."""
    messages: list[Any] = []
    live.other.create_subscription(kind, topic, messages.append, LATCHED)
    return messages


def test_a_program_that_starts_late_decodes_the_voxels(graph: Live) -> None:
    live = graph()
    clouds = live.listen(PointCloud2, f"{OUTPUT}/voxels")
    live.connect()
    live.play()
    live.until(lambda: len(clouds) >= 3 or live.counts()[1] > 3, "voxels")
    texts = listen_late(live, String, f"{OUTPUT}/grid_info")
    live.until(lambda: bool(texts), "grid_info")
    info = GridInfo.from_json(texts[0].data)
    assert (info.frame_id, info.shape, info.voxel_size_m) == ("lidar_top", (80, 80, 8), 1.0)
    for cloud, frame in zip(clouds, live.engine.frames, strict=True):
        dense = DenseVoxels.from_cloud(cloud, info)
        assert dense.stamp_ns == frame.stamp_ns[0]
        expected = type(live.engine)().step(frame)
        labels = expected.labels[0].numpy()
        np.testing.assert_array_equal(dense.occupied, labels != info.empty)
        np.testing.assert_array_equal(dense.labels[dense.occupied], labels[labels != info.empty])
        # The fake model calls occupied where there are returns, so that these voxels are observed,
        # but for returns on a face, which float32 and float64 may round into different voxels.
        # There is free space before them, and space that nobody saw.
        assert dense.observed[dense.occupied].mean() > 0.9 and dense.observed[dense.free].all()
        assert dense.free.any() and dense.unknown.any()


def test_all_outputs_of_a_frame_have_its_stamp_and_frame(graph: Live) -> None:
    live = graph()
    names = ("occupancy_points", "obstacle_points", "voxels")
    clouds = [live.listen(PointCloud2, f"{OUTPUT}/{name}") for name in names]
    grids = live.listen(OccupancyGrid, f"{OUTPUT}/occupancy_grid")
    arrays = live.listen(MarkerArray, f"{OUTPUT}/markers")
    live.connect()
    live.play()
    live.until(lambda: all(len(got) >= 3 for got in (*clouds, grids, arrays)), "outputs")
    stamps = [frame.stamp_ns[0] for frame in live.engine.frames]
    for got in (*clouds, grids):
        assert [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for m in got] == stamps
        assert {m.header.frame_id for m in got} == {"lidar_top"}
    for array, stamp in zip(arrays, stamps, strict=True):
        headers = [marker.header for marker in array.markers]
        assert {h.stamp.sec * 10**9 + h.stamp.nanosec for h in headers} == {stamp}
        assert {h.frame_id for h in headers} == {"lidar_top"}


def test_a_latched_map_reaches_navigation_that_starts_late(graph: Live) -> None:
    live = graph(latched_grid=True)
    live.connect()
    live.play()
    live.settle(3)
    grids = listen_late(live, OccupancyGrid, f"{OUTPUT}/occupancy_grid")
    live.until(lambda: bool(grids), "latched map")
    stamp = grids[0].header.stamp
    assert stamp.sec * 10**9 + stamp.nanosec == live.engine.frames[-1].stamp_ns[0]
    assert OCCUPIED in grids[0].data and FREE not in grids[0].data  # the fake model knows no road


@pytest.mark.parametrize(("lifetime_s", "expected"), [(None, (3, 0)), (0.0, (0, 0))])
def test_markers_vanish_when_the_node_is_gone_unless_told_otherwise(
    graph: Live, lifetime_s: float | None, expected: tuple[int, int]
) -> None:
    live = graph(**({} if lifetime_s is None else {"marker_lifetime_s": lifetime_s}))
    arrays = live.listen(MarkerArray, f"{OUTPUT}/markers")
    live.connect()
    live.play(last=len(live.messages) // 2)
    live.until(lambda: bool(arrays), "markers")
    lifetimes = {(m.lifetime.sec, m.lifetime.nanosec) for m in arrays[0].markers}
    assert lifetimes == {expected}
