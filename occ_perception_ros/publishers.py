"""The node's publishers: occupancy and timing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64, Float64MultiArray, String
from visualization_msgs.msg import MarkerArray

from occ_core.types import Occupancy
from occ_perception_ros.grid_info import GridInfo
from occ_perception_ros.markers import marker_array_bytes
from occ_perception_ros.observation import grid_info
from occ_perception_ros.outputs import (
    cloud_bytes,
    known_voxels,
    obstacle_points,
    occupancy_grid,
    voxel_points,
)

STAGES = ("collect", "decode", "model", "publish", "total")
"""Stages whose processing times are published."""
LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
"""A late subscriber gets the last message."""


class Publishers:
    """Publishers of occupancy and timing; a message is built only if its topic has a subscriber.

    Args:
        node: on which they are made.
        latched_grid: keep the last 2D map for late subscribers, and so build it always.
    """

    def __init__(self, node: Node, latched_grid: bool = False) -> None:
        self._markers = node.create_publisher(MarkerArray, "~/output/markers", 1)
        self._points = node.create_publisher(PointCloud2, "~/output/occupancy_points", 5)
        self._obstacles = node.create_publisher(PointCloud2, "~/output/obstacle_points", 5)
        self._voxels = node.create_publisher(PointCloud2, "~/output/voxels", 1)
        self._info = node.create_publisher(String, "~/output/grid_info", LATCHED)
        self._published_info: GridInfo | None = None
        self._latched_grid = latched_grid
        self._grid = node.create_publisher(
            OccupancyGrid, "~/output/occupancy_grid", LATCHED if latched_grid else 1
        )
        self._shares = node.create_publisher(Float64MultiArray, "~/debug/neighbour_shares", 10)
        self._weights = node.create_publisher(Float64MultiArray, "~/debug/sensor_weights", 10)
        names = [f"processing_time/{stage}_ms" for stage in STAGES]
        self._times = {
            name: node.create_publisher(Float64, f"~/debug/{name}", 10)
            for name in (*names, "pipeline_latency_ms", "cyclic_time_ms")
        }

    def publish(
        self,
        occupancy: Occupancy,
        stamp_ns: int,
        frame_id: str,
        vehicle_height_m: float,
        marker_lifetime_s: float,
        see: Callable[[], np.ndarray],
    ) -> None:
        """Publishes one frame's occupancy, every message with the same stamp and frame.

        Args:
            occupancy: with a batch size of 1.
            stamp_ns: stamp of the LiDAR sweep.
            frame_id: TF frame of the grid.
            vehicle_height_m: for the 2D map, see ``drivable_map``.
            marker_lifetime_s: see ``marker_array``.
            see: computes what the sensors saw, see ``seen_voxels``.
        """
        labels, grid = occupancy.labels[0].numpy(), occupancy.grid
        probability, label_set = occupancy.probability[0].float().numpy(), occupancy.label_set
        self._publish_info(occupancy, frame_id)
        if self._markers.get_subscription_count():
            self._markers.publish(
                marker_array_bytes(labels, grid, stamp_ns, frame_id, marker_lifetime_s, label_set)
            )
        for publisher, points in ((self._points, voxel_points), (self._obstacles, obstacle_points)):
            if publisher.get_subscription_count():
                records = points(labels, probability, grid, label_set)
                publisher.publish(cloud_bytes(records, stamp_ns, frame_id))
        if self._voxels.get_subscription_count():
            records = known_voxels(labels, probability, see(), grid, label_set)
            self._voxels.publish(cloud_bytes(records, stamp_ns, frame_id))
        if self._latched_grid or self._grid.get_subscription_count():
            self._grid.publish(
                occupancy_grid(labels, grid, stamp_ns, frame_id, vehicle_height_m, label_set)
            )
        if occupancy.neighbour_shares:
            self._shares.publish(Float64MultiArray(data=list(occupancy.neighbour_shares)))
        if occupancy.sensor_weights:
            self._weights.publish(Float64MultiArray(data=list(occupancy.sensor_weights)))

    def _publish_info(self, occupancy: Occupancy, frame_id: str) -> None:
        """Publishes once what all frames have in common; the publisher keeps it."""
        info = grid_info(occupancy, frame_id)
        if info != self._published_info:
            self._info.publish(String(data=info.to_json()))
            self._published_info = info

    def publish_times(self, times_ms: Mapping[str, float]) -> None:
        """Publishes each time in milliseconds on ``~/debug/<name>``."""
        for name, value in times_ms.items():
            self._times[name].publish(Float64(data=value))
