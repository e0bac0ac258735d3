"""nuScenes v1.0: keyframes with cameras, LiDAR sweeps, boxes, per-point classes, drive context.

The reader accepts any version folder of the official layout
(https://www.nuscenes.org/nuscenes#data-format), synthetic ones included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from occ_core.datasets import nuscenes_values as values
from occ_core.datasets.nuscenes_tables import Record, Table, version_folder
from occ_core.datasets.recordings import LIDAR_COLUMNS, CameraImage, LidarSweep
from occ_core.geometry.boxes import Box
from occ_core.geometry.poses import invert_pose
from occ_core.taxonomy import (
    LIDARSEG_CATEGORIES,
    DriveContext,
    region_from_location,
    weather_from_description,
)

NUSCENES_CAMERAS = (
    "CAM_FRONT_LEFT",
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_LEFT",
    "CAM_BACK",
    "CAM_BACK_RIGHT",
)
NUSCENES_LIDAR = "LIDAR_TOP"

# nuScenes-devkit's limit for finite differences of annotations, which are 0.5 s apart.
_MAX_VELOCITY_INTERVAL_S = 1.5
_LIDARSEG_TABLES = (
    "take category.json from the nuScenes-lidarseg archive, which numbers the categories"
)


@dataclass(frozen=True, slots=True)
class Keyframe:
    """One annotated instant of a scene."""

    sample_token: str
    scene_name: str
    scene_token: str
    stamp_ns: int
    """Time of the LiDAR sweep."""
    context: DriveContext
    description: str
    location: str
    cameras: dict[str, CameraImage]
    """Images by channel; a camera may be absent."""
    lidar: LidarSweep
    sweeps: tuple[LidarSweep, ...]
    """The sweeps before ``lidar``, newest first."""
    source: NuScenes = field(repr=False, compare=False)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The annotated boxes in the LiDAR frame."""
        return self.source.boxes(self.sample_token, self.lidar)

    def read_lidarseg(self) -> np.ndarray:
        """Class ids of the points of ``lidar.read()``; see ``NuScenes.read_lidarseg``."""
        return self.source.read_lidarseg(self.lidar)


class NuScenes:
    """A nuScenes data root.

    Args:
        root: folder that holds ``samples/``, ``sweeps/`` and ``v1.0-*/``.
        version: name of the folder of tables; None takes the only ``v1.0-*`` folder.

    Raises:
        FileNotFoundError: a folder or a table is missing.
        ValueError: a table does not have the fields of nuScenes v1.0.
    """

    def __init__(self, root: Path | str, version: str | None = None) -> None:
        self.root = Path(root)
        self.folder = version_folder(self.root, version)
        self._logs = Table(self.folder, "log")
        self._samples = Table(self.folder, "sample")
        self._calibrations = Table(self.folder, "calibrated_sensor")
        self._ego_poses = Table(self.folder, "ego_pose")
        self._categories = Table(self.folder, "category")
        self._instances = Table(self.folder, "instance")
        self._annotations = Table(self.folder, "sample_annotation")
        scenes = Table(self.folder, "scene")
        self.scenes: list[Record] = scenes.records
        for scene in self.scenes:
            values.plain_name(scenes.path, scene)
        for category in self._categories.records:
            values.name(self._categories.path, category, "name")

        self._sensors = Table(self.folder, "sensor")
        for sensor in self._sensors.records:
            values.name(self._sensors.path, sensor, "channel")
        self._recordings: dict[tuple[str, str], list[Record]] = defaultdict(list)
        used = {*NUSCENES_CAMERAS, NUSCENES_LIDAR}
        sample_data = Table(self.folder, "sample_data")
        self._sample_data_path = sample_data.path
        for record in sample_data.records:
            channel = self._channel(record)
            if channel in used:  # most records are radars
                self._recordings[
                    self._samples[record["sample_token"]]["scene_token"], channel
                ].append(record)
        for records in self._recordings.values():
            records.sort(key=lambda record: values.stamp_ns(self._sample_data_path, record))
        self._annotations_of: dict[str, list[Record]] = defaultdict(list)
        for record in self._annotations.records:
            self._annotations_of[record["sample_token"]].append(record)

    def keyframes(
        self, scene_names: Iterable[str] | None = None, sweeps: int = 9
    ) -> list[Keyframe]:
        """The keyframes, scene by scene in the table's order, each scene in time order.

        Args:
            scene_names: the scenes to read; None reads all.
            sweeps: how many LiDAR sweeps before each keyframe to include, where there are as many.

        Raises:
            ValueError: a scene name is unknown, or a keyframe has no LiDAR record.
        """
        if sweeps < 0:
            raise ValueError(f"sweeps must be 0 or more, got {sweeps}")
        return [
            keyframe
            for scene in self._scenes_named(scene_names)
            for keyframe in self._scene_keyframes(scene, sweeps)
        ]

    def camera_images(self, scene_name: str, channel: str) -> list[CameraImage]:
        """All images of a camera in a scene, also those between keyframes, in time order."""
        (scene,) = self._scenes_named([scene_name])
        return [
            self._camera_image(record)
            for record in self._recordings.get((scene["token"], channel), [])
        ]

    def lidar_sweeps(self, scene_name: str) -> list[LidarSweep]:
        """All LiDAR sweeps of a scene, also those between keyframes, in time order."""
        (scene,) = self._scenes_named([scene_name])
        return [
            self._lidar_sweep(record)
            for record in self._recordings.get((scene["token"], NUSCENES_LIDAR), [])
        ]

    def boxes(self, sample_token: str, lidar: LidarSweep) -> tuple[Box, ...]:
        """The annotated boxes of a keyframe in the frame of its LiDAR sweep.

        Raises:
            ValueError: a box has a category that nuScenes does not define.
        """
        lidar_from_world = invert_pose(lidar.world_from_lidar)
        return tuple(
            self._box(record, lidar_from_world)
            for record in self._annotations_of.get(sample_token, [])
        )

    def read_lidarseg(self, lidar: LidarSweep) -> np.ndarray:
        """Class ids of the points of a keyframe's sweep, uint8 ``[N]``: 1..16, or 0 for noise.

        Raises:
            FileNotFoundError: the data root lacks nuScenes-lidarseg, or this sweep's file.
            ValueError: the number of labels is not the number of points, or the file holds an index
                that ``category.json`` lacks.
        """
        return self._class_of_lidarseg[self.read_raw_lidarseg(lidar)].astype(np.uint8)

    def read_raw_lidarseg(self, lidar: LidarSweep) -> np.ndarray:
        """As ``read_lidarseg``, the indices of ``category.json`` themselves, which tell apart what
        belongs to no class: true noise, the ego vehicle, animals, debris and others.
        """
        record, table = self._lidarseg.get(lidar.token), self.folder / "lidarseg.json"
        if record is None:
            raise FileNotFoundError(
                f"{table} does not list {lidar.path.name}; only keyframes are labelled"
            )
        path = values.file_path(self.root, table, record)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing; extract nuScenes-lidarseg into {self.root}"
            )
        raw = np.fromfile(path, dtype=np.uint8)
        points = lidar.path.stat().st_size // (4 * LIDAR_COLUMNS)
        if len(raw) != points:
            raise ValueError(
                f"{path} labels {len(raw)} points, but {lidar.path.name} has {points}; extract "
                "both again"
            )
        unlisted = self._class_of_lidarseg[raw] < 0
        if unlisted.any():
            unknown = sorted(set(raw[unlisted].tolist()))
            raise ValueError(
                f"{path} holds the indices {unknown}, which {self._categories.path} lacks; "
                f"{_LIDARSEG_TABLES}"
            )
        return raw

    def lidarseg_index(self, category: str) -> int:
        """The index that ``category.json`` gives a category, such as ``noise``; -1 without one."""
        for order, record in enumerate(self._categories.records):
            if record["name"] == category:
                return values.category_index(self._categories.path, record, order)
        return -1

    def log_name(self, scene_name: str) -> str:
        """The name of the drive from which a scene was cut."""
        (scene,) = self._scenes_named([scene_name])
        return str(self._logs[scene["log_token"]].get("logfile", scene["log_token"]))

    def _scenes_named(self, names: Iterable[str] | None) -> list[Record]:
        if names is None:
            return self.scenes
        if isinstance(names, str):
            raise ValueError(
                f"scene names must be a sequence of names, got the single string {names!r}; write "
                f"[{names!r}]"
            )
        wanted = set(names)
        found = [scene for scene in self.scenes if scene["name"] in wanted]
        missing = wanted - {scene["name"] for scene in found}
        if missing:
            raise ValueError(
                f"{self.folder / 'scene.json'} has no scenes {sorted(missing)[:5]}; it has "
                f"{len(self.scenes)}, such as {[scene['name'] for scene in self.scenes[:3]]}"
            )
        return found

    def _scene_keyframes(self, scene: Record, sweeps: int) -> list[Keyframe]:
        description = values.text(self.folder / "scene.json", scene, "description")
        location = values.text(self._logs.path, self._logs[scene["log_token"]], "location")
        context = DriveContext(
            weather_from_description(description), region_from_location(location)
        )
        images: dict[str, dict[str, CameraImage]] = defaultdict(dict)
        for channel in NUSCENES_CAMERAS:
            for record in self._recordings.get((scene["token"], channel), []):
                if self._is_keyframe(record):
                    images[record["sample_token"]][channel] = self._camera_image(record)
        records = self._recordings.get((scene["token"], NUSCENES_LIDAR), [])
        recorded = [self._lidar_sweep(record) for record in records]
        keyframes = [
            Keyframe(
                sample_token=record["sample_token"],
                scene_name=scene["name"],
                scene_token=scene["token"],
                stamp_ns=recorded[index].stamp_ns,
                context=context,
                description=description,
                location=location,
                cameras=images[record["sample_token"]],
                lidar=recorded[index],
                sweeps=tuple(reversed(recorded[max(index - sweeps, 0) : index])),
                source=self,
            )
            for index, record in enumerate(records)
            if recorded[index].is_keyframe
        ]
        channels = sorted(record["channel"] for record in self._sensors.records)
        if NUSCENES_LIDAR not in channels:
            raise ValueError(
                f"{self._sensors.path} has no channel {NUSCENES_LIDAR}; it has {channels}. Give "
                "the LiDAR this name"
            )
        without_lidar = images.keys() - {keyframe.sample_token for keyframe in keyframes}
        if without_lidar:
            raise ValueError(
                f"{self.folder / 'sample_data.json'} has no {NUSCENES_LIDAR} keyframe for the "
                f"samples {sorted(without_lidar)[:3]} of {scene['name']}; take "
                "all tables from one download"
            )
        return keyframes

    def _channel(self, sample_data: Record) -> str:
        calibration = self._calibrations[sample_data["calibrated_sensor_token"]]
        return self._sensors[calibration["sensor_token"]]["channel"]

    def _is_keyframe(self, record: Record) -> bool:
        return values.flag(self._sample_data_path, record, "is_key_frame")

    def _ego_pose(self, record: Record) -> np.ndarray:
        return values.pose(self._ego_poses.path, self._ego_poses[record["ego_pose_token"]])

    def _camera_image(self, record: Record) -> CameraImage:
        calibration = self._calibrations[record["calibrated_sensor_token"]]
        table = self._sample_data_path
        return CameraImage(
            channel=self._channel(record),
            path=values.file_path(self.root, table, record),
            stamp_ns=values.stamp_ns(table, record),
            is_keyframe=self._is_keyframe(record),
            size=values.image_size(table, record),
            intrinsics=values.camera_intrinsics(self._calibrations.path, calibration),
            ego_from_camera=values.pose(self._calibrations.path, calibration),
            world_from_ego=self._ego_pose(record),
        )

    def _lidar_sweep(self, record: Record) -> LidarSweep:
        calibration = self._calibrations[record["calibrated_sensor_token"]]
        return LidarSweep(
            channel=NUSCENES_LIDAR,
            path=values.file_path(self.root, self._sample_data_path, record),
            token=record["token"],
            stamp_ns=values.stamp_ns(self._sample_data_path, record),
            is_keyframe=self._is_keyframe(record),
            ego_from_lidar=values.pose(self._calibrations.path, calibration),
            world_from_ego=self._ego_pose(record),
        )

    def _box(self, record: Record, lidar_from_world: np.ndarray) -> Box:
        category = self._categories[self._instances[record["instance_token"]]["category_token"]][
            "name"
        ]
        table = self._annotations.path
        lidar_from_box = lidar_from_world @ values.pose(table, record)
        return Box(
            center=lidar_from_box[:3, 3],
            size_wlh=values.size_wlh(table, record),
            rotation=lidar_from_box[:3, :3],
            velocity=lidar_from_world[:3, :3] @ self._velocity(record),
            category=category,
            class_id=self._class_of_category(category) or None,
            num_lidar_pts=values.whole_number(table, record, "num_lidar_pts"),
            instance_token=record["instance_token"],
        )

    def _velocity(self, record: Record) -> np.ndarray:
        """Velocity in the world frame, float64 [3], m/s; NaN without annotations close in time.

        As in nuScenes-devkit, the finite difference of the object's annotations before and after.
        """
        first = self._annotations[record["prev"]] if record["prev"] else record
        last = self._annotations[record["next"]] if record["next"] else record
        start_ns, end_ns = (
            values.stamp_ns(self._samples.path, self._samples[each["sample_token"]])
            for each in (first, last)
        )
        seconds = (end_ns - start_ns) * 1e-9
        limit_s = _MAX_VELOCITY_INTERVAL_S * (2 if record["prev"] and record["next"] else 1)
        if not 0 < seconds <= limit_s:
            return np.full(3, np.nan)
        return (np.array(last["translation"]) - np.array(first["translation"])) / seconds

    def _class_of_category(self, name: str) -> int:
        if name not in LIDARSEG_CATEGORIES:
            raise ValueError(
                f"{self._categories.path} has the category {name!r}; known are "
                f"{sorted(LIDARSEG_CATEGORIES)}"
            )
        return LIDARSEG_CATEGORIES[name]

    @cached_property
    def _lidarseg(self) -> dict[str, Record]:
        if not (self.folder / "lidarseg.json").is_file():
            raise FileNotFoundError(
                f"{self.folder / 'lidarseg.json'} is missing; extract nuScenes-lidarseg into "
                f"{self.root}"
            )
        return {
            record["sample_data_token"]: record for record in Table(self.folder, "lidarseg").records
        }

    @cached_property
    def _class_of_lidarseg(self) -> np.ndarray:
        """Class id of every raw index, int16 [256]; -1 where the table has no such index."""
        classes = np.full(256, -1, dtype=np.int16)
        for order, record in enumerate(self._categories.records):
            index = values.category_index(self._categories.path, record, order)
            if classes[index] >= 0:
                raise ValueError(
                    f"{self._categories.path} gives the index {index} to two categories; "
                    f"{_LIDARSEG_TABLES}"
                )
            classes[index] = self._class_of_category(record["name"])
        return classes
