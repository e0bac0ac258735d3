"""Occupancy for other programs: point clouds of voxels, and a 2D map for navigation."""

from __future__ import annotations

from array import array

import numpy as np
from nav_msgs.msg import OccupancyGrid
from sensor_msgs.msg import PointCloud2, PointField

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.ops.line_of_sight import CROSSED, UNSEEN
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.cdr import CdrWriter
from occ_perception_ros.voxel_loops import (
    DRIVEABLE,
    FILLED,
    OBSTACLE,
    blocked_columns,
    cell_centres,
    check_shape,
    road_levels,
    write_records,
)

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
_KNOWN_VOXEL = np.dtype(
    {
        "names": ["x", "y", "z", "label", "observed", "probability"],
        "formats": ["<f4", "<f4", "<f4", "u1", "u1", "<f4"],
        "offsets": [0, 4, 8, 12, 13, 16],
        "itemsize": 20,
    }
)
_DATATYPES = {np.dtype("<f4"): PointField.FLOAT32, np.dtype("u1"): PointField.UINT8}


def voxel_points(
    labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid, label_set: LabelSet = NUSCENES
) -> np.ndarray:
    """The occupied voxels as records x, y, z (centre, metres), label, probability.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        probability: float32 ``[X, Y, Z]``.
        grid: geometry of the voxels.
        label_set: meaning of the labels.
    """
    occupied = np.flatnonzero(labels != label_set.empty)
    return _records(_POINT, occupied, labels, probability, grid)


def obstacle_points(
    labels: np.ndarray, probability: np.ndarray, grid: VoxelGrid, label_set: LabelSet = NUSCENES
) -> np.ndarray:
    """``voxel_points`` without the flat classes, such as road and terrain: what blocks a robot."""
    is_obstacle = np.ones(256, bool)  # by label, several times faster than np.isin
    is_obstacle[label_set.ids(label_set.ground)] = False
    occupied = np.flatnonzero(labels != label_set.empty)
    obstacles = occupied[is_obstacle[labels.reshape(-1)[occupied]]]
    return _records(_POINT, obstacles, labels, probability, grid)


def known_voxels(
    labels: np.ndarray,
    probability: np.ndarray,
    seen: np.ndarray,
    grid: VoxelGrid,
    label_set: LabelSet = NUSCENES,
) -> np.ndarray:
    """All voxels that are not unknown, as records x, y, z (centre, metres), label, observed,
    probability.

    A voxel is free, and has the label of the empty class, if the model calls it empty and a line of
    sight went through it. The model also fills space that no sensor saw: such occupied voxels have
    observed = 0. Voxels that are left out are unknown.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        probability: float32 ``[X, Y, Z]``.
        seen: uint8 ``[X, Y, Z]``, marks of ``ops.line_of_sight``.
        grid: geometry of the voxels.
        label_set: meaning of the labels.
    """
    known = np.flatnonzero((labels != label_set.empty) | (seen == CROSSED))
    records = _records(_KNOWN_VOXEL, known, labels, probability, grid)
    records["observed"] = seen.reshape(-1)[known] != UNSEEN
    return records


def _records(
    dtype: np.dtype,
    chosen: np.ndarray,
    labels: np.ndarray,
    probability: np.ndarray,
    grid: VoxelGrid,
) -> np.ndarray:
    """Records of the chosen voxels, which are numbers in the flattened grid in its order."""
    check_shape(labels, grid)
    records = np.zeros(len(chosen), dtype)
    words = records.view(np.float32).reshape(len(chosen), dtype.itemsize // 4)
    octets = records.view(np.uint8).reshape(len(chosen), dtype.itemsize)
    values = labels.reshape(-1), probability.reshape(-1)
    write_records(chosen, *values, words, octets, *cell_centres(grid))
    return records


def occupancy_points(
    labels: np.ndarray,
    probability: np.ndarray,
    grid: VoxelGrid,
    stamp_ns: int,
    frame_id: str,
    label_set: LabelSet = NUSCENES,
) -> PointCloud2:
    """``voxel_points`` as a message."""
    return cloud_message(voxel_points(labels, probability, grid, label_set), stamp_ns, frame_id)


def cloud_bytes(records: np.ndarray, stamp_ns: int, frame_id: str) -> bytes:
    """``cloud_message`` as CDR bytes, without the copies that message and rclpy make."""
    dtype = records.dtype
    assert dtype.names is not None and dtype.fields is not None
    cdr = CdrWriter()
    cdr.header(stamp_ns, frame_id)
    cdr.numbers("I", 1, len(records), len(dtype.names))  # height, width, number of fields
    for name in dtype.names:
        cdr.string(name)
        cdr.numbers("I", dtype.fields[name][1])  # offset
        cdr.numbers("B", _DATATYPES[dtype[name]])
        cdr.numbers("I", 1)  # count
    cdr.numbers("B", 0)  # is_bigendian
    cdr.numbers("I", dtype.itemsize, len(records) * dtype.itemsize)  # point_step, row_step
    cdr.sequence(records.view(np.uint8))
    cdr.numbers("B", 1)  # is_dense
    return cdr.message()


def cloud_message(records: np.ndarray, stamp_ns: int, frame_id: str) -> PointCloud2:
    """Records as a message whose fields are theirs.

    This is the readable reference for ``cloud_bytes``, which the node publishes.
    """
    dtype = records.dtype
    assert dtype.names is not None and dtype.fields is not None
    offsets = {name: dtype.fields[name][1] for name in dtype.names}
    message = PointCloud2(
        height=1,
        width=len(records),
        fields=[
            PointField(name=name, offset=offset, datatype=_DATATYPES[dtype[name]], count=1)
            for name, offset in offsets.items()
        ],
        is_bigendian=False,
        point_step=dtype.itemsize,
        row_step=len(records) * dtype.itemsize,
        is_dense=True,
    )
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    message.data = array("B", records.tobytes())  # rclpy copies an array without a loop in Python
    return message


def drivable_map(
    labels: np.ndarray, grid: VoxelGrid, vehicle_height_m: float, label_set: LabelSet = NUSCENES
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
        label_set: meaning of the labels.

    Returns:
        int8 ``[X, Y]``, and the road's height in metres in the grid frame: the median top of the
        driveable surface, or the grid's bottom where there is none.
    """
    kinds = np.full(256, FILLED | OBSTACLE, np.uint8)
    kinds[label_set.empty] = 0
    kinds[label_set.ids(label_set.ground)] = FILLED
    kinds[label_set.ids(label_set.drivable)] |= DRIVEABLE
    # The lowest driveable voxel: a higher one of the same column is a bridge, or an error.
    roads = road_levels(labels, kinds)
    has_road = roads >= 0
    typical_level = int(np.median(roads[has_road])) if has_road.any() else 0
    clearance = int(np.ceil(vehicle_height_m / grid.voxel_size_m))
    result = np.where(has_road, np.int8(FREE), np.int8(UNKNOWN))
    result[blocked_columns(labels, kinds, roads, typical_level, clearance)] = OCCUPIED
    road_top_level = typical_level + 1 if has_road.any() else 0
    return result, grid.min_m[2] + road_top_level * grid.voxel_size_m


def occupancy_grid(
    labels: np.ndarray,
    grid: VoxelGrid,
    stamp_ns: int,
    frame_id: str,
    vehicle_height_m: float,
    label_set: LabelSet = NUSCENES,
) -> OccupancyGrid:
    """``drivable_map`` as a message in the grid frame, its plane at the road's height.

    Its axes are those of the grid frame, so that the origin is not turned: Nav2 ignores its
    orientation, and takes the vehicle's heading from TF.
    """
    cells, road_height_m = drivable_map(labels, grid, vehicle_height_m, label_set)
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
