"""The node's publishers: occupancy, diagnostics and timing."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import OccupancyGrid
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64, Float64MultiArray
from visualization_msgs.msg import MarkerArray

from occ_core.types import Occupancy
from occ_perception_ros.markers import marker_array_bytes
from occ_perception_ros.outputs import occupancy_grid, occupancy_points

STAGES = ("collect", "decode", "model", "publish", "total")
"""Stages whose processing times are published."""


class Publishers:
    """All publishers of the node; a message is built only if its topic has a subscriber."""

    def __init__(self, node: Node) -> None:
        self._markers = node.create_publisher(MarkerArray, "~/output/markers", 1)
        self._points = node.create_publisher(PointCloud2, "~/output/occupancy_points", 5)
        self._grid = node.create_publisher(OccupancyGrid, "~/output/occupancy_grid", 1)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._shares = node.create_publisher(Float64MultiArray, "~/debug/neighbour_shares", 10)
        self._weights = node.create_publisher(Float64MultiArray, "~/debug/sensor_weights", 10)
        names = [f"processing_time/{stage}_ms" for stage in STAGES]
        self._times = {
            name: node.create_publisher(Float64, f"~/debug/{name}", 10)
            for name in (*names, "pipeline_latency_ms", "cyclic_time_ms")
        }

    def publish(
        self, occupancy: Occupancy, stamp_ns: int, frame_id: str, vehicle_height_m: float
    ) -> None:
        """Publishes one frame's occupancy.

        Args:
            occupancy: with a batch size of 1.
            stamp_ns: stamp of the LiDAR sweep.
            frame_id: TF frame of the grid.
            vehicle_height_m: for the 2D map, see ``drivable_map``.
        """
        labels, grid = occupancy.labels[0].numpy(), occupancy.grid
        if self._markers.get_subscription_count():
            self._markers.publish(marker_array_bytes(labels, grid, stamp_ns, frame_id))
        if self._points.get_subscription_count():
            probability = occupancy.probability[0].numpy()
            self._points.publish(occupancy_points(labels, probability, grid, stamp_ns, frame_id))
        if self._grid.get_subscription_count():
            self._grid.publish(occupancy_grid(labels, grid, stamp_ns, frame_id, vehicle_height_m))
        if occupancy.neighbour_shares:
            self._shares.publish(Float64MultiArray(data=list(occupancy.neighbour_shares)))
        if occupancy.sensor_weights:
            self._weights.publish(Float64MultiArray(data=list(occupancy.sensor_weights)))

    def publish_times(self, times_ms: Mapping[str, float]) -> None:
        """Publishes each time in milliseconds on ``~/debug/<name>``."""
        for name, value in times_ms.items():
            self._times[name].publish(Float64(data=value))

    def publish_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnostics.publish(message)
