"""Occupancy for programs: a point cloud of voxels, and a 2D map for navigation."""

from __future__ import annotations

from array import array

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import PointCloud2, PointField

from occ_core.taxonomy import CLASS_ID, EMPTY
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.cdr import CdrWriter

_POINT = np.dtype(
    {
        "names": ["x", "y", "z", "label", "probability"],
        "formats": ["<f4", "<f4", "<f4", "u1", "<f4"],
        "offsets": [0, 4, 8, 12, 16],
        "itemsize": 20,
    }
)
_FIELDS = (("x", 7), ("y", 7), ("z", 7), ("label", 2), ("probability", 7))
"""Names and sensor_msgs/PointField datatypes: 7 FLOAT32, 2 UINT8."""

FREE, OCCUPIED, UNKNOWN = 0, 100, -1
_FLAT = [CLASS_ID[name] for name in ("driveable_surface", "other_flat", "sidewalk", "terrain")]


def voxel_points(labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid) -> np.ndarray:
    """The occupied voxels as records x, y, z (centre, metres), label, probability.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        probability: float32 ``[X, Y, Z]``.
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


def occupancy_points_bytes(
    labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid, stamp_ns: int, frame_id: str
) -> bytes:
    """The serialised message of ``occupancy_points``, written from numpy."""
    points = voxel_points(labels, probability, grid)
    cdr = CdrWriter()
    cdr.header(stamp_ns, frame_id)
    cdr.numbers("I", 1, len(points))  # height, width
    cdr.numbers("I", len(_FIELDS))
    for name, datatype in _FIELDS:
        cdr.string(name)
        cdr.numbers("I", _POINT.fields[name][1])  # type: ignore[index]  # offset
        cdr.numbers("B", datatype)
        cdr.numbers("I", 1)  # count
    cdr.numbers("B", 0)  # is_bigendian
    cdr.numbers("I", _POINT.itemsize, len(points) * _POINT.itemsize)  # point_step, row_step
    cdr.sequence(points.view(np.uint8))
    cdr.numbers("B", 1)  # is_dense
    return cdr.message()


def occupancy_points(
    labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid, stamp_ns: int, frame_id: str
) -> PointCloud2:
    """A cloud of the occupied voxels' centres, each with its label and probability. The readable
    twin of the above.
    """
    points = voxel_points(labels, probability, grid)
    message = PointCloud2(
        height=1,
        width=len(points),
        point_step=_POINT.itemsize,
        row_step=len(points) * _POINT.itemsize,
    )
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    message.fields = [
        PointField(name=name, offset=_POINT.fields[name][1], datatype=datatype, count=1)  # type: ignore[index]
        for name, datatype in _FIELDS
    ]
    message.data = array("B", points.tobytes())
    message.is_dense = True
    return message


def drivable_map(
    labels: np.ndarray, grid: VoxelGrid, vehicle_height_m: float
) -> tuple[np.ndarray, float]:
    """What each column of voxels is to a vehicle: ``FREE``, ``OCCUPIED`` or ``UNKNOWN``.

    Free: driveable surface with nothing standing between it and ``vehicle_height_m`` above it (a
    bridge higher up is passed under). Unknown: nothing occupied in the column, or only things that
    hang higher than the vehicle over the road's height. Occupied: everything else, pavements and
    terrain too, since a road vehicle does not drive there.

    Returns:
        int8 ``[X, Y]``, and the road's height in metres in the grid frame: the median top of
        driveable surface (the grid's bottom where there is none).
    """
    level = np.arange(labels.shape[2])
    driveable = labels == CLASS_ID["driveable_surface"]
    standing = (labels != EMPTY) & ~np.isin(labels, _FLAT)
    has_road = driveable.any(axis=2)
    road_top = np.argmax(
        driveable, axis=2
    )  # lowest driveable voxel of the column: what lies higher is a bridge, or a mistake
    typical_top = int(np.median(road_top[has_road])) if has_road.any() else 0
    base = np.where(has_road, road_top, typical_top)
    clearance = int(np.ceil(vehicle_height_m / grid.voxel_size_m))
    reach = base[:, :, None] + clearance
    blocked = (standing & (level > base[:, :, None]) & (level <= reach)).any(axis=2)
    # Without road in the column, whatever begins below the vehicle's roof is no way through.
    elsewhere = ~has_road & ((labels != EMPTY) & (level <= reach)).any(axis=2)
    result = np.full(labels.shape[:2], UNKNOWN, np.int8)
    result[has_road] = FREE
    result[blocked | elsewhere] = OCCUPIED
    return result, grid.min_m[2] + ((typical_top + 1) if has_road.any() else 0) * grid.voxel_size_m


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
    message.data = array("b", cells.T.tobytes())  # x runs fastest
    return message
