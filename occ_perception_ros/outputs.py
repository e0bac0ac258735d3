"""Occupancy for other programs: a point cloud of occupied voxels, and a 2D map for navigation."""

from __future__ import annotations

from array import array

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import PointCloud2, PointField

from occ_core.taxonomy import CLASS_ID, EMPTY
from occ_core.voxel_grid import VoxelGrid

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
"""Values of a nav_msgs/OccupancyGrid."""

_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "label", "probability"],
        "formats": ["<f4", "<f4", "<f4", "u1", "<f4"],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 20,
    }
)
_FIELDS = [
    PointField(name="x", offset=0, datatype=PointField.FLOAT32, count=1),
    PointField(name="y", offset=4, datatype=PointField.FLOAT32, count=1),
    PointField(name="z", offset=8, datatype=PointField.FLOAT32, count=1),
    PointField(name="label", offset=12, datatype=PointField.UINT8, count=1),
    PointField(name="probability", offset=16, datatype=PointField.FLOAT32, count=1),
]
"""The layout of ``_POINT``."""
_FLAT = [CLASS_ID[name] for name in ("driveable_surface", "other_flat", "sidewalk", "terrain")]


def voxel_points(labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """The occupied voxels as records x, y, z (centre, metres), label, probability.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        probability: float32 ``[X, Y, Z]``.
        grid: geometry of the voxels.
    """
    occupied = np.flatnonzero(labels)
    points = np.zeros(len(occupied), _POINT)
    for name, index, low in zip(
        "xyz", np.unravel_index(occupied, labels.shape), grid.min_m, strict=True
    ):
        points[name] = low + (index + 0.5) * grid.voxel_size_m
    points["label"] = labels.reshape(-1)[occupied]
    points["probability"] = probability.reshape(-1)[occupied]
    return points


def occupancy_points(
    labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid, stamp_ns: int, frame_id: str
) -> PointCloud2:
    """``voxel_points`` as a message."""
    points = voxel_points(labels, probability, grid)
    message = PointCloud2(
        height=1,
        width=len(points),
        fields=list(_FIELDS),
        is_bigendian=False,
        point_step=_POINT.itemsize,
        row_step=len(points) * _POINT.itemsize,
        is_dense=True,
    )
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    message.data = array("B", points.tobytes())  # rclpy copies an array without a loop in Python
    return message


def drivable_map(
    labels: np.ndarray, grid: VoxelGrid, vehicle_height_m: float
) -> tuple[np.ndarray, float]:
    """Classifies each column of voxels for a road vehicle as ``FREE``, ``OCCUPIED`` or ``UNKNOWN``.

    Free: driveable surface without an obstacle from there up to ``vehicle_height_m``, so that a
    vehicle may pass under a bridge. Unknown: no occupied voxel in the column, or only voxels that
    lie higher than the vehicle above the typical road. Occupied: everything else, pavements and
    terrain included, since a road vehicle does not drive on them.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        grid: geometry of the voxels.
        vehicle_height_m: height of the vehicle in metres.

    Returns:
        int8 ``[X, Y]``, and the road's height in metres in the grid frame: the median top of the
        driveable surface, or the grid's bottom where there is none.
    """
    level = np.arange(labels.shape[2])
    driveable = labels == CLASS_ID["driveable_surface"]
    obstacle = (labels != EMPTY) & ~np.isin(labels, _FLAT)
    has_road = driveable.any(axis=2)
    # The lowest driveable voxel: a higher one of the same column is a bridge, or an error.
    road_level = np.argmax(driveable, axis=2)
    typical_level = int(np.median(road_level[has_road])) if has_road.any() else 0
    base = np.where(has_road, road_level, typical_level)
    clearance = int(np.ceil(vehicle_height_m / grid.voxel_size_m))
    below_roof = level <= base[:, :, None] + clearance
    blocked = (obstacle & (level > base[:, :, None]) & below_roof).any(axis=2)
    # Without a road in the column, any voxel below the vehicle's roof blocks it.
    off_road = ~has_road & ((labels != EMPTY) & below_roof).any(axis=2)
    result = np.full(labels.shape[:2], UNKNOWN, np.int8)
    result[has_road] = FREE
    result[blocked | off_road] = OCCUPIED
    road_top_level = typical_level + 1 if has_road.any() else 0
    return result, grid.min_m[2] + road_top_level * grid.voxel_size_m


def occupancy_grid(
    labels: np.ndarray, grid: VoxelGrid, stamp_ns: int, frame_id: str, vehicle_height_m: float
) -> OccupancyGrid:
    """``drivable_map`` as a message in the grid frame, its plane at the road's height."""
    cells, road_height_m = drivable_map(labels, grid, vehicle_height_m)
    message = OccupancyGrid()
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    message.info.map_load_time = message.header.stamp
    message.info.resolution = grid.voxel_size_m
    message.info.width, message.info.height = cells.shape
    message.info.origin.position.x, message.info.origin.position.y = grid.min_m[:2]
    message.info.origin.position.z = road_height_m
    message.info.origin.orientation.w = 1.0
    message.data = array("b", cells.T.tobytes())  # row-major order of the message: x first
    return message
