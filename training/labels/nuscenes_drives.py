"""nuScenes scenes as drives to label: with lidarseg, classes of one's own, or boxes alone.

Without lidarseg, and without classes of one's own, what lies in no box is of class 0: occupied, but
of no class.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np

from occ_core.datasets.nuscenes import Keyframe, NuScenes
from occ_core.datasets.recordings import LidarSweep
from occ_core.geometry.points import NO_BOX_M, is_return
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from training.labels.drive import (
    NOISE,
    UNKNOWN,
    LabelCamera,
    LabelDrive,
    LabelKeyframe,
    LabelSweep,
    LoadDrive,
)
from training.labels.tracks import ObjectTrack

EGO_BODY_M = (-0.8, -1.0, -0.2, 3.6, 1.0, 2.4)
"""nuScenes' car in its ego frame: ``(x_min, y_min, z_min, x_max, y_max, z_max)``."""

_SYMMETRIC = ("bicycle", "bus", "car", "motorcycle", "trailer", "truck")
_SOLID = ("bus", "car", "pedestrian", "trailer", "truck")
_MOVING = (*_SYMMETRIC, "construction_vehicle", "pedestrian")
_STANDING = ("barrier", "traffic_cone")
_GROUND = ("driveable_surface", "other_flat", "sidewalk", "terrain")
_NOISE_CATEGORIES = ("noise", "vehicle.ego")
_DEFAULT_PERIOD_S = 0.05
_FIRST_POINTS = 200
"""The azimuth at which a revolution begins is the median of so many points."""


def nuscenes_drives(
    root: Path,
    version: str | None = None,
    scenes: tuple[str, ...] | None = None,
    point_classes: Path | None = None,
) -> dict[str, LoadDrive]:
    """A loader for each scene, by name.

    Args:
        root: nuScenes data root.
        version: folder of tables; None takes the only one.
        scenes: names of scenes; None takes all.
        point_classes: folder of ``<LiDAR file name>.label``, a uint8 class id (0 none, 1..16) for
            each point of a sweep; sweeps without a file have no classes.

    Raises:
        FileNotFoundError: a folder or a table is missing, or ``point_classes`` has no files.
        ValueError: a scene is unknown or has no keyframe, there is none, or a table is malformed.
    """
    if point_classes is not None and not any(point_classes.glob("*.label")):
        raise FileNotFoundError(
            f"{point_classes} holds no <LiDAR file name>.label; give the folder of your own point "
            "classes by --point-classes, or leave it out"
        )
    source = NuScenes(root, version)
    keyframes = source.keyframes(scenes, sweeps=0)
    names = [scene["name"] for scene in source.scenes if scenes is None or scene["name"] in scenes]
    without = sorted(set(names) - {keyframe.scene_name for keyframe in keyframes})
    if without or not names:
        raise ValueError(
            f"{source.folder} has no keyframe of the LiDAR for {without[:5] or 'any scene'}, of "
            f"{len(names)} scenes; take all tables from one download, or choose others by --scenes"
        )
    return {name: partial(_load, root, version, name, point_classes) for name in names}


def _load(root: Path, version: str | None, scene: str, point_classes: Path | None) -> LabelDrive:
    source = NuScenes(root, version)
    recorded = source.lidar_sweeps(scene)
    if point_classes is not None and not any(
        _own_classes(point_classes, each).is_file() for each in recorded
    ):
        raise FileNotFoundError(
            f"{point_classes} has a file for none of {scene}'s {len(recorded)} sweeps, such as "
            f"{_own_classes(point_classes, recorded[0]).name}; add them, or leave the scene out by "
            "--scenes"
        )
    keyframes = source.keyframes([scene], sweeps=0)
    periods = [_period_s(recorded, number) for number in range(len(recorded))]
    sweeps = tuple(
        _sweep(source, each, period_s, point_classes)
        for each, period_s in zip(recorded, periods, strict=True)
    )
    number_of = {each.token: number for number, each in enumerate(recorded)}
    return LabelDrive(
        name=scene,
        token=keyframes[0].scene_token,
        sweeps=sweeps,
        tracks=_tracks(keyframes),
        keyframes=tuple(
            LabelKeyframe(
                name=keyframe.lidar.path.name,
                sweep=number_of[keyframe.lidar.token],
                world_from_ego=keyframe.lidar.world_from_ego,
                cameras=_cameras(keyframe),
                sample_token=keyframe.sample_token,
                lidar_token=keyframe.lidar.token,
            )
            for keyframe in keyframes
        ),
        moving=frozenset(CLASS_ID[name] for name in _MOVING),
        ground=frozenset(CLASS_ID[name] for name in _GROUND),
        objects=frozenset(CLASS_ID[name] for name in (*_MOVING, *_STANDING)),
        porous=frozenset({CLASS_ID["vegetation"]}),
    )


def _period_s(recorded: list[LidarSweep], number: int) -> float:
    """Time since the sweep before; the usual 50 ms where one is missing."""
    if number == 0:
        return _DEFAULT_PERIOD_S
    between = (recorded[number].stamp_ns - recorded[number - 1].stamp_ns) * 1e-9
    return between if between < 4 * _DEFAULT_PERIOD_S else _DEFAULT_PERIOD_S


def _sweep(
    source: NuScenes, lidar: LidarSweep, period_s: float, point_classes: Path | None
) -> LabelSweep:
    recorded = lidar.read()
    points, rings = recorded[:, :3], recorded[:, 4].astype(np.uint8)
    classes = _classes(source, lidar, len(points), point_classes)
    rotation, translation = lidar.ego_from_lidar[:3, :3], lidar.ego_from_lidar[:3, 3:]
    kept = is_return(points.T, NO_BOX_M)
    kept &= is_return((rotation @ points.T + translation).astype(np.float32), EGO_BODY_M)
    points, classes, rings = points[kept], classes[kept], rings[kept]
    first = points[:_FIRST_POINTS]
    azimuth = np.arctan2(np.median(np.sin(_azimuths(first))), np.median(np.cos(_azimuths(first))))
    return LabelSweep(
        points=np.ascontiguousarray(points),
        classes=classes,
        world_from_lidar=lidar.world_from_lidar,
        end_s=lidar.stamp_ns * 1e-9,
        period_s=period_s,
        first_azimuth_rad=float(azimuth) if len(first) else 0.0,
        rings=rings if rings.any() else None,
    )


def _azimuths(points: np.ndarray) -> np.ndarray:
    return np.arctan2(points[:, 0], points[:, 1])


def _classes(
    source: NuScenes, lidar: LidarSweep, count: int, point_classes: Path | None
) -> np.ndarray:
    """int16 [N]: those of ``point_classes``, else of lidarseg, else unknown."""
    if point_classes is not None:
        path = _own_classes(point_classes, lidar)
        if path.is_file():
            given = np.fromfile(path, np.uint8)
            if len(given) != count or given.max(initial=0) >= NUM_CLASSES:
                raise ValueError(
                    f"{path} must hold a uint8 class 0..{NUM_CLASSES - 1} for each of {count} "
                    f"points, got {len(given)} values up to {given.max(initial=0)}"
                )
            return given.astype(np.int16)
    if lidar.is_keyframe and (source.folder / "lidarseg.json").is_file():
        raw = source.read_raw_lidarseg(lidar)
        classes = source.read_lidarseg(lidar).astype(np.int16)
        classes[np.isin(raw, [source.lidarseg_index(name) for name in _NOISE_CATEGORIES])] = NOISE
        return classes
    return np.full(count, UNKNOWN, np.int16)


def _own_classes(folder: Path, lidar: LidarSweep) -> Path:
    return folder / f"{lidar.path.name}.label"


def _tracks(keyframes: list[Keyframe]) -> tuple[ObjectTrack, ...]:
    boxes = defaultdict(list)
    for keyframe in keyframes:
        for box in keyframe.boxes:
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = box.rotation, box.center
            world_from_box = keyframe.lidar.world_from_lidar @ pose
            boxes[box.instance_token].append((keyframe.stamp_ns * 1e-9, world_from_box, box))
    symmetric, solid = ({CLASS_ID[name] for name in names} for names in (_SYMMETRIC, _SOLID))
    tracks = []
    for found in boxes.values():
        times, poses, all_boxes = zip(*found, strict=True)
        class_id = all_boxes[0].class_id or 0
        sizes_lwh = np.array([box.size_wlh[[1, 0, 2]] for box in all_boxes])
        tracks.append(
            ObjectTrack(
                class_id,
                sizes_lwh.max(axis=0),
                np.array(times),
                np.array(poses),
                symmetric=class_id in symmetric,
                solid=class_id in solid,
            )
        )
    return tuple(tracks)


def _cameras(keyframe: Keyframe) -> tuple[LabelCamera, ...]:
    cameras = []
    for camera in keyframe.cameras.values():
        size = camera.size if all(camera.size) else camera.read()[0].shape[:2]
        intrinsics = camera.scaled_intrinsics(size, size)
        cameras.append(LabelCamera(size, intrinsics, camera.world_from_camera))
    return tuple(cameras)
