"""Occupancy as cubes for RViz, with one marker per class, so that classes can be hidden."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point
from visualization_msgs.msg import Marker, MarkerArray

from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.voxel_grid import VoxelGrid
from occ_perception_ros.cdr import CdrWriter
from occ_perception_ros.voxel_loops import cell_centres, check_shape, write_centres

NS = 1_000_000_000


def cubes_by_class(
    labels: np.ndarray, grid: VoxelGrid, label_set: LabelSet = NUSCENES
) -> dict[int, np.ndarray]:
    """Centres of the voxels of each class in metres, float64 ``[N, 3]``, by class id.

    Classes without a voxel are left out.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        grid: geometry of the voxels.
        label_set: meaning of the labels.
    """
    check_shape(labels, grid)
    occupied = np.flatnonzero(labels != label_set.empty)
    found = labels.reshape(-1)[occupied]
    order = np.argsort(found, kind="stable")
    centres = np.empty((len(occupied), 3))
    write_centres(occupied[order], centres, *cell_centres(grid))
    classes, starts = np.unique(found[order], return_index=True)
    if not len(classes):
        return {}
    return dict(zip(classes.tolist(), np.split(centres, starts[1:]), strict=True))


def marker_array_bytes(
    labels: np.ndarray,
    grid: VoxelGrid,
    stamp_ns: int,
    frame_id: str,
    lifetime_s: float = 0.0,
    label_set: LabelSet = NUSCENES,
) -> bytes:
    """``marker_array`` as CDR bytes, without a Python object for every voxel."""
    cubes = cubes_by_class(labels, grid, label_set)
    cdr = CdrWriter()
    cdr.numbers("I", len(label_set.occupied))
    for label in label_set.occupied:
        points = cubes.get(label)
        cdr.header(stamp_ns, frame_id)
        cdr.string(label_set.names[label])
        action = Marker.DELETE if points is None else Marker.ADD
        cdr.numbers("i", 0, Marker.CUBE_LIST, action)  # id, type, action
        cdr.numbers("d", 0, 0, 0, 0, 0, 0, 1)  # pose
        cdr.numbers("d", *(grid.voxel_size_m,) * 3)  # scale
        cdr.numbers("f", *(channel / 255 for channel in label_set.palette[label]), 1)  # colour
        cdr.time(round(lifetime_s * NS))
        cdr.numbers("B", 0)  # frame_locked
        cdr.sequence(np.empty((0, 3)) if points is None else points)
        cdr.numbers("I", 0)  # colors
        cdr.string("")  # texture_resource
        cdr.header(0, "")  # texture
        cdr.string("")
        cdr.numbers("I", 0)
        cdr.numbers("I", 0)  # uv_coordinates
        cdr.string("")  # text
        cdr.string("")  # mesh_resource
        cdr.string("")  # mesh_file
        cdr.numbers("I", 0)
        cdr.numbers("B", 0)  # mesh_use_embedded_materials
    return cdr.message()


def marker_array(
    labels: np.ndarray,
    grid: VoxelGrid,
    stamp_ns: int,
    frame_id: str,
    lifetime_s: float = 0.0,
    label_set: LabelSet = NUSCENES,
) -> MarkerArray:
    """One CUBE_LIST marker for each class, with the class name as ``ns`` and id 0.

    The marker of a class without a voxel has the action DELETE. This is the readable reference for
    ``marker_array_bytes``, which the node publishes.

    Args:
        labels: uint8 ``[X, Y, Z]``.
        grid: geometry of the voxels.
        stamp_ns: stamp of the header.
        frame_id: TF frame of the grid.
        lifetime_s: how long the cubes are shown unless they are replaced; 0: for ever.
        label_set: meaning of the labels.
    """
    cubes = cubes_by_class(labels, grid, label_set)
    lifetime_ns = round(lifetime_s * NS)
    message = MarkerArray()
    for label in label_set.occupied:
        marker = Marker(ns=label_set.names[label], id=0, type=Marker.CUBE_LIST)
        marker.header.stamp.sec, marker.header.stamp.nanosec = divmod(stamp_ns, NS)
        marker.header.frame_id = frame_id
        marker.action = Marker.ADD if label in cubes else Marker.DELETE
        marker.pose.orientation.w = 1.0
        marker.scale.x = marker.scale.y = marker.scale.z = grid.voxel_size_m
        marker.color.r, marker.color.g, marker.color.b = (
            channel / 255 for channel in label_set.palette[label]
        )
        marker.color.a = 1.0
        marker.lifetime.sec, marker.lifetime.nanosec = divmod(lifetime_ns, NS)
        marker.points = [
            Point(x=x, y=y, z=z) for x, y, z in cubes.get(label, np.empty((0, 3))).tolist()
        ]
        message.markers.append(marker)
    return message
