"""All surfaces of a drive: the static world in one frame, and each object in the frame of its box.

What lies in a box moves with it: every point is compared with the box at the moment at which its
beam was fired. The boxes are taken a little larger than they are, for noise and loose annotations,
and end a little above their bottom, so that they hold no ground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from occ_core.geometry.points import transform_points
from occ_core.geometry.poses import invert_pose
from training.labels.cells import CellMap, Cells, classify
from training.labels.drive import NOISE, UNKNOWN, LabelDrive, LabelSweep
from training.labels.ground import ground_between
from training.labels.objects import complete_object
from training.labels.rings import between_rings
from training.labels.tracks import ObjectTrack

_MARGIN_M = 0.1
_ABOVE_GROUND_M = 0.1
_OBJECT_KINDS = 1 << 20
"""Objects are kinds of surface of their own, numbered after the classes."""
_GROUND_PITCH = 2
"""Cells between two points of the ground that is filled in."""
_MAX_RANGE_M = 120.0
_STILL_M = 10.0
"""Where the LiDAR moves further, its rings sweep over what lies between them, and what they leave
out is mostly empty; a car that stands sees the same rings again and again.
"""
_CLASS_REACH_M = 1.5
"""Sweeps between keyframes have no classes: a point of theirs takes that of the nearest point that
has one. The rings of nuScenes' LiDAR meet the ground up to a few metres apart.
"""


@dataclass(frozen=True, slots=True, eq=False)
class DriveSurfaces:
    """Where surfaces are and of which class."""

    world_from_map: np.ndarray
    """float64 [4, 4]: the map frame has the world's axes, and the drive's first pose as origin."""
    static: Cells
    """In the map frame."""
    objects: tuple[Cells, ...]
    """For each track of the drive, in the frame of its box."""
    ground: Cells
    """Ground that was filled in between what is measured, in the map frame."""
    ground_area: float
    """How many cells the area of one point of it is worth."""
    moments: dict[int, Cells]
    """By index of a sweep: what moves but has no box, in the map frame."""


def gather(drive: LabelDrive, cell_m: float, *, dense: bool = True) -> DriveSurfaces:
    """Joins all sweeps of a drive.

    Args:
        drive: the sweeps, tracks and keyframes.
        cell_m: edge length of the cells in which points are gathered.
        dense: whether to add what lies between the LiDAR's rings, on objects and, if it stands, on
            all else, and unseen sides of objects.
    """
    world_from_map = np.eye(4)
    world_from_map[:3, 3] = drive.sweeps[0].world_from_lidar[:3, 3]
    map_from_world = invert_pose(world_from_map)
    static, objects = CellMap(cell_m), [CellMap(cell_m) for _ in drive.tracks]
    keyframes = {keyframe.sweep for keyframe in drive.keyframes}
    boxes = _Boxes(drive)
    stands = _way_m(drive.sweeps) < _STILL_M
    moments = {}
    for number, sweep in enumerate(drive.sweeps):
        owner, local = boxes.owners(number)
        map_from_lidar = map_from_world @ sweep.world_from_lidar
        points, classes = transform_points(map_from_lidar, sweep.points), sweep.classes
        _add_objects(objects, owner, local, classes)
        moves = (owner < 0) & np.isin(classes, [*drive.moving])
        static.add(points[(owner < 0) & ~moves], classes[(owner < 0) & ~moves])
        if number not in keyframes:
            continue
        moment = CellMap(cell_m)
        moment.add(points[moves], classes[moves])
        moments[number] = moment.cells()
        if dense and sweep.rings is not None:
            alone = moves if stands else owner < 0
            added, like = _between_rings(sweep, sweep.rings, owner, alone, drive.ground, cell_m)
            stays = owner[like] < 0
            static.add(transform_points(map_from_lidar, added[stays]), classes[like[stays]])
            for index in np.unique(owner[like[~stays]]).tolist():
                chosen = owner[like] == index
                own = boxes.in_box(index, number, added[chosen])
                objects[index].add(own, np.full(len(own), UNKNOWN, np.int16))
    surface = classify(static.cells(), _CLASS_REACH_M)
    is_ground = np.isin(surface.classes, [*drive.ground])
    return DriveSurfaces(
        world_from_map=world_from_map,
        static=surface,
        objects=tuple(
            complete_object(cells.cells(), track, cell_m if dense else None)
            for cells, track in zip(objects, drive.tracks, strict=True)
        ),
        ground=ground_between(surface.take(is_ground & dense), _GROUND_PITCH * cell_m),
        ground_area=_GROUND_PITCH**2,
        moments=moments,
    )


def _way_m(sweeps: Sequence[LabelSweep]) -> float:
    """Diagonal of the rectangle that holds all places of the LiDAR, in metres."""
    places = np.array([sweep.world_from_lidar[:2, 3] for sweep in sweeps])
    return float(np.linalg.norm(np.ptp(places, axis=0)))


def _between_rings(
    sweep: LabelSweep,
    rings: np.ndarray,
    owner: np.ndarray,
    alone: np.ndarray,
    ground: frozenset[int],
    cell_m: float,
) -> tuple[np.ndarray, np.ndarray]:
    """``between_rings`` of a sweep; the points that are ``alone``, bool [N], join nothing."""
    kinds = np.where(owner >= 0, _OBJECT_KINDS + owner, sweep.classes - NOISE)
    kinds[alone | (sweep.classes == NOISE)] = -1
    is_ground = (owner < 0) & np.isin(sweep.classes, [*ground])
    return between_rings(sweep.points, rings, kinds, is_ground, 1.5 * cell_m)


def _add_objects(
    objects: list[CellMap], owner: np.ndarray, local: np.ndarray, classes: np.ndarray
) -> None:
    order = np.argsort(owner, kind="stable")
    present, first = np.unique(owner[order], return_index=True)
    for index, own in zip(present.tolist(), np.split(order, first[1:]), strict=True):
        if index >= 0:
            objects[index].add(local[own], classes[own])


class _Boxes:
    """The boxes of all tracks of a drive, each at the moment at which a sweep's beam passes it."""

    def __init__(self, drive: LabelDrive) -> None:
        self.drive = drive
        by_size = [-float(track.size_lwh.prod()) for track in drive.tracks]
        self._largest_first = np.argsort(by_size, kind="stable").tolist()
        self._lidar_from_box = [_poses_in_sweeps(track, drive.sweeps) for track in drive.tracks]

    def owners(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """For each point of a sweep the track in whose box it lies, int64 [N], -1 without one; and
        its position in the box's frame, float32 [N, 3].

        Where boxes overlap, a point belongs to the smallest one.
        """
        sweep = self.drive.sweeps[number]
        owner, local = np.full(len(sweep.points), -1), np.zeros_like(sweep.points)
        order = np.argsort(sweep.points[:, 0])
        ordered, classes = sweep.points[order], sweep.classes[order]
        ordered_x, ordered_y = np.ascontiguousarray(ordered[:, :2].T)
        for index in self._largest_first:
            track, lidar_from_box = self.drive.tracks[index], self._lidar_from_box[index][number]
            reach = float(np.linalg.norm(track.size_lwh)) / 2 + 3 * _MARGIN_M
            x, y, _ = lidar_from_box[:3, 3]
            if not x * x + y * y < _MAX_RANGE_M**2:  # NaN: there is no box at that time
                continue
            first, last = np.searchsorted(ordered_x, [x - reach, x + reach]).tolist()
            near = first + np.flatnonzero(np.abs(ordered_y[first:last] - np.float32(y)) < reach)
            if not len(near):
                continue
            inside = self.in_box(index, number, ordered[near])
            is_in = _in_box(inside, classes[near], track)
            own = order[near][is_in]
            owner[own], local[own] = index, inside[is_in]
        return owner, local

    def in_box(self, track: int, number: int, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of a sweep, float32 in the frame of a track's box."""
        lidar_from_box = self._lidar_from_box[track][number].astype(np.float32)
        inside: np.ndarray = (points - lidar_from_box[:3, 3]) @ lidar_from_box[:3, :3]
        return inside


def _poses_in_sweeps(track: ObjectTrack, sweeps: Sequence[LabelSweep]) -> np.ndarray:
    """``lidar_from_box``, float64 [S, 4, 4]; NaN in sweeps at whose time there is no box."""
    lidar_from_world = np.array([invert_pose(sweep.world_from_lidar) for sweep in sweeps])
    ends_s = np.array([sweep.end_s for sweep in sweeps])
    position = (lidar_from_world @ track.poses_at(ends_s))[:, :3, 3]
    fired_s = [
        float(sweep.fired_at_s(place)) for sweep, place in zip(sweeps, position, strict=True)
    ]
    lidar_from_box: np.ndarray = lidar_from_world @ track.poses_at(np.array(fired_s))
    lidar_from_box[~track.exists_at(ends_s)] = np.nan
    return lidar_from_box


def _in_box(inside: np.ndarray, classes: np.ndarray, track: ObjectTrack) -> np.ndarray:
    """Which points [N, 3] in the box's frame belong to the object, bool [N].

    A known class tells what only seems to lie in the box, such as the ground or a tree above it,
    and what sticks out of it.
    """
    half, away = track.size_lwh / 2, np.abs(inside)
    unknown = (away <= half + _MARGIN_M).all(axis=1) & (classes == UNKNOWN)
    unknown &= inside[:, 2] >= _ABOVE_GROUND_M - half[2]
    return unknown | ((away <= half + 3 * _MARGIN_M).all(axis=1) & (classes == track.class_id))
