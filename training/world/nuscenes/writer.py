"""Writes one drive: sensor files, labels, odometry, and its records for the tables."""

from __future__ import annotations

import collections
import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from occ_core.datasets.surroundocc import mask_path, write_masks
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.world.nuscenes import tables
from training.world.nuscenes.labels import DriveLabels
from training.world.nuscenes.masks import CameraView, SweepView, camera_mask, lidar_mask
from training.world.nuscenes.tables import Record, Records, token
from training.world.scene import Drive, Mesh
from training.world.sensors.camera import Scenery, View, render
from training.world.sensors.lidar import Sweep, actors_as_passed, scan
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import encode_jpeg
from training.world.sensors.raycast import ActorsAt, RayCaster
from training.world.sensors.rig import CAMERAS, FULL_SIZE, LIDAR, Camera
from training.world.sensors.sky import Sky
from training.world.weather import settings

VEHICLE = "n900"
SWEEPS_PER_KEYFRAME = 10
ODOMETRY_HZ = 50
ANNOTATED_RANGE_M = 80.0
_EPOCH_US = 1_700_000_000_000_000
_DRIVEABLE = 24
_MAP_PIXELS_PER_M = 10
_MAP_MARGIN_M = 60.0


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What of a drive is written."""

    version: str = "v1.0-town"
    """Name of the folder with the tables."""
    keyframes: int = 40
    """Two a second."""
    image_size: tuple[int, int] = FULL_SIZE
    """Height and width in pixels."""
    first: int = 0
    """The keyframe of the drive that the scene begins with."""

    def __post_init__(self) -> None:
        if self.keyframes < 1:
            raise ValueError(f"keyframes must be at least 1, got {self.keyframes}")
        if self.first < 0:
            raise ValueError(f"first must not be negative, got {self.first}")
        if min(self.image_size) < 8:
            raise ValueError(
                f"image_size must be at least 8 8 (height width), got {self.image_size}"
            )

    @property
    def last(self) -> int:
        """The keyframe of the drive that the scene ends with."""
        return self.first + self.keyframes - 1

    @property
    def begin_s(self) -> float:
        """When its first sweep begins; ten lead to the first keyframe, and from each keyframe to
        the next.
        """
        return self.first * SWEEPS_PER_KEYFRAME * LIDAR.period_us * 1e-6

    @property
    def end_s(self) -> float:
        """When the last keyframe's sweep is complete; the drive must last so long."""
        return ((self.last + 1) * SWEEPS_PER_KEYFRAME + 1) * LIDAR.period_us * 1e-6


class SceneWriter:
    """Writes the drive number ``index`` of the world ``seed`` under ``root``; same arguments, same
    bytes.
    """

    def __init__(
        self, root: Path, drive: Drive, seed: int, index: int, options: SceneOptions
    ) -> None:
        self.root, self.drive, self.options = root, drive, options
        self.seed = (seed, index)
        # Whatever the seed, the drive lies before 2037: ROS stamps hold int32 seconds.
        self.start_us = _EPOCH_US + (seed * 1000 + index) % 4_000_000 * 100_000_000
        self.weather = settings(drive.weather)
        self.caster = RayCaster(drive)
        self.sky = Sky(self.weather, self._rng("sky"))
        self.scene_token = token(options.version, seed, drive.name)
        self.log_token = token(self.scene_token, "log")
        began = datetime.datetime.fromtimestamp(self.start_us / 1e6, datetime.UTC)
        self.log_name = f"{VEHICLE}-{began:%Y-%m-%d-%H-%M-%S}+0000"
        self.date = f"{began:%Y-%m-%d}"
        self.records: Records = {name: [] for name in tables.DRIVE_TABLES}
        # The tables' coordinates are those of the map picture, whose corner is at 0, 0.
        path = np.array(
            [drive.world_from_ego(t)[:2, 3] for t in np.arange(0.0, drive.duration_s + 0.25, 0.5)]
        )
        self.map_corner, self.map_extent = (
            path.min(0) - _MAP_MARGIN_M,
            np.ptp(path, axis=0) + 2 * _MAP_MARGIN_M,
        )

    def write(self, on_keyframe: Callable[[], None] = lambda: None) -> Records:
        """Writes all files of the drive and returns its records."""
        for folder in ("samples", "sweeps"):
            for channel in [camera.channel for camera in CAMERAS] + [LIDAR.channel]:
                (self.root / folder / channel).mkdir(parents=True, exist_ok=True)
        for folder in (
            "maps",
            "can_bus",
            f"lidarseg/{self.options.version}",
            "nuscenes_occ/samples",
            "nuscenes_occ/masks",
        ):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        first, last = self.options.first, self.options.last
        first_s, last_s = (
            self._sweep_end_s(n)
            for n in (first * SWEEPS_PER_KEYFRAME, (last + 1) * SWEEPS_PER_KEYFRAME)
        )
        labels = DriveLabels(self.caster, (first_s, last_s), self._rng("labels"))
        sweeps: collections.deque[Sweep] = collections.deque(maxlen=SWEEPS_PER_KEYFRAME)
        if first == 0:  # else it is the last sweep of the scene before
            sweeps.append(self._write_sweep(0, keyframe=None))
        for keyframe in range(first, last + 1):
            number = (keyframe + 1) * SWEEPS_PER_KEYFRAME
            sample = self._add_sample(keyframe, number)
            for between in range(number - SWEEPS_PER_KEYFRAME + 1, number):
                sweeps.append(self._write_sweep(between, keyframe=None))
            sweep = self._write_sweep(number, keyframe=keyframe)
            time_s = self._sweep_end_s(number)
            np.save(
                self.root / "nuscenes_occ/samples" / f"{self._lidar_name(number)}.npy",
                labels.at(time_s),
            )
            sweeps.append(sweep)
            actors = actors_as_passed(self.caster, self.drive.world_from_ego, time_s)
            views = [self._write_image(keyframe, camera, time_s, actors) for camera in CAMERAS]
            self._write_masks(number, sweeps, views)
            self._add_annotations(keyframe, sample, sweep, time_s)
            on_keyframe()
        self._add_scene()
        self._write_map()
        self._write_odometry()
        self._link()
        return self.records

    def _rng(self, *what: str | int) -> np.random.Generator:
        return np.random.default_rng([*self.seed, int(token(*what)[:12], 16)])

    @staticmethod
    def _sweep_end_s(number: int) -> float:
        return (number + 1) * LIDAR.period_us * 1e-6

    def _stamp_us(self, time_s: float) -> int:
        return self.start_us + round(time_s * 1e6)

    def _file(self, channel: str, time_s: float, ending: str) -> str:
        return f"{self.log_name}__{channel}__{self._stamp_us(time_s)}.{ending}"

    def _lidar_name(self, number: int) -> str:
        return self._file(LIDAR.channel, self._sweep_end_s(number), "pcd.bin")

    def _shifted(self, world_from_body: np.ndarray) -> np.ndarray:
        shifted = world_from_body.copy()
        shifted[:2, 3] -= self.map_corner
        return shifted

    def _sample_token(self, keyframe: int) -> str:
        return token(self.scene_token, "sample", keyframe)

    def _add_sample(self, keyframe: int, number: int) -> Record:
        sample = {
            "token": self._sample_token(keyframe),
            "timestamp": self._stamp_us(self._sweep_end_s(number)),
            "prev": "",
            "next": "",
            "scene_token": self.scene_token,
        }
        self.records["sample"].append(sample)
        return sample

    def _add_sensor_data(
        self,
        channel: str,
        filename: str,
        time_s: float,
        sample: int,
        key: bool,
        size: tuple[int, int],
    ) -> str:
        name = token(self.scene_token, channel, self._stamp_us(time_s))
        self.records["sample_data"].append(
            {
                "token": name,
                "sample_token": self._sample_token(sample),
                "ego_pose_token": name,
                "calibrated_sensor_token": token(self.log_token, "calibrated_sensor", channel),
                "timestamp": self._stamp_us(time_s),
                "fileformat": filename.split(".")[1],
                "is_key_frame": key,
                "height": size[0],
                "width": size[1],
                "filename": filename,
                "prev": "",
                "next": "",
            }
        )
        pose = tables.pose_fields(self._shifted(self.drive.world_from_ego(time_s)))
        self.records["ego_pose"].append(
            {"token": name, "timestamp": self._stamp_us(time_s), **pose}
        )
        return name

    def _write_sweep(self, number: int, keyframe: int | None) -> Sweep:
        time_s = self._sweep_end_s(number)
        sweep = scan(
            self.caster,
            self.drive.world_from_ego,
            time_s,
            actors_as_passed(self.caster, self.drive.world_from_ego, time_s),
            self.weather,
            self._rng("lidar", number),
        )
        key = keyframe is not None
        filename = f"{'samples' if key else 'sweeps'}/{LIDAR.channel}/{self._lidar_name(number)}"
        sweep.points.tofile(self.root / filename)
        sample = min(max(number - 1, 0) // SWEEPS_PER_KEYFRAME, self.options.last)
        name = self._add_sensor_data(LIDAR.channel, filename, time_s, sample, key, (0, 0))
        if key:
            segmentation = f"lidarseg/{self.options.version}/{name}_lidarseg.bin"
            sweep.category.tofile(self.root / segmentation)
            self.records["lidarseg"].append(
                {"token": name, "sample_data_token": name, "filename": segmentation}
            )
        return sweep

    def _write_image(
        self, keyframe: int, camera: Camera, keyframe_s: float, passed: ActorsAt
    ) -> View:
        time_s = keyframe_s + camera.delay_us * 1e-6
        world_from_ego = self.drive.world_from_ego(time_s)
        # The beam passes an actor when the camera there fires, except where the sweep's end meets
        # its beginning.
        actors = (
            self.caster.actors_at(time_s, near_m=world_from_ego[:3, 3])
            if camera.channel == "CAM_BACK_LEFT"
            else passed
        )
        lamps = LampSet(self.drive, world_from_ego, actors.world_from_actor)
        scenery = Scenery(self.caster, actors, lamps, self.sky, self.weather)
        pose, rng = world_from_ego @ camera.ego_from_camera, self._rng(camera.channel, keyframe)
        view = render(scenery, camera, self.options.image_size, pose, rng)
        filename = f"samples/{camera.channel}/{self._file(camera.channel, time_s, 'jpg')}"
        (self.root / filename).write_bytes(encode_jpeg(view.image))
        self._add_sensor_data(
            camera.channel, filename, time_s, keyframe, True, self.options.image_size
        )
        return view

    def _write_masks(self, number: int, sweeps: Sequence[Sweep], views: Sequence[View]) -> None:
        keyframe_s = self._sweep_end_s(number)
        grid_from_world = np.linalg.inv(
            self.drive.world_from_ego(keyframe_s) @ LIDAR.ego_from_lidar
        )
        sweep_views = []
        for back, sweep in enumerate(reversed(sweeps)):
            end_s = self._sweep_end_s(number - back)
            world_from_lidar = self.drive.world_from_ego(end_s) @ LIDAR.ego_from_lidar
            began = (
                self.drive.world_from_ego(end_s - LIDAR.period_us * 1e-6)
                @ LIDAR.ego_from_lidar[:, 3]
            )
            start_in_lidar = (np.linalg.inv(world_from_lidar) @ began)[:3]
            sweep_views.append(
                SweepView(
                    sweep.points, sweep.returned, grid_from_world @ world_from_lidar, start_in_lidar
                )
            )
        camera_views = []
        for camera, view in zip(CAMERAS, views, strict=True):
            world_from_camera = (
                self.drive.world_from_ego(keyframe_s + camera.delay_us * 1e-6)
                @ camera.ego_from_camera
            )
            intrinsics = camera.intrinsics(self.options.image_size)
            camera_views.append(
                CameraView(view.depth_m, intrinsics, grid_from_world @ world_from_camera)
            )
        write_masks(
            mask_path(self.root, self._lidar_name(number)),
            lidar_mask(sweep_views, SURROUNDOCC_GRID),
            camera_mask(camera_views, SURROUNDOCC_GRID),
            sky=np.stack([~np.isfinite(view.depth_m) for view in views]),
        )

    def _add_annotations(self, keyframe: int, sample: Record, sweep: Sweep, time_s: float) -> None:
        world_from_ego = self.drive.world_from_ego(time_s)
        lidar_from_world = np.linalg.inv(world_from_ego @ LIDAR.ego_from_lidar)
        actors = self.caster.actors_at(time_s, near_m=world_from_ego[:3, 3])
        poses = actors.world_from_actor
        near = np.flatnonzero(
            np.hypot(*(poses[:, :2, 3] - world_from_ego[:2, 3]).T) < ANNOTATED_RANGE_M
        )
        returned = sweep.points[sweep.returned, :3]
        returned = returned[np.argsort(returned[:, 0])]
        shares = seen_shares(self.caster, actors, near, world_from_ego)
        for index, share in zip(near.tolist(), shares, strict=True):
            actor, pose = self.drive.actors[index], poses[index]
            inside = points_in_box(returned, lidar_from_world @ pose, actor.size_wlh)
            if not inside and not share:
                continue
            centre = pose.copy()
            centre[:3, 3] += pose[:3, 2] * actor.size_wlh[2] / 2
            self.records["sample_annotation"].append(
                {
                    "token": token(self.scene_token, "annotation", index, keyframe),
                    "sample_token": sample["token"],
                    "instance_token": self._instance_token(index),
                    "visibility_token": tables.visibility_token(share),
                    "attribute_tokens": [tables.attribute_token(actor.attribute)]
                    if actor.attribute
                    else [],
                    **tables.pose_fields(self._shifted(centre)),
                    "size": [float(edge) for edge in actor.size_wlh],
                    "prev": "",
                    "next": "",
                    "num_lidar_pts": inside,
                    "num_radar_pts": 0,
                }
            )

    def _instance_token(self, actor_index: int) -> str:
        return token(self.scene_token, "instance", actor_index)

    def _add_scene(self) -> None:
        samples = self.records["sample"]
        self.records["scene"].append(
            {
                "token": self.scene_token,
                "log_token": self.log_token,
                "nbr_samples": len(samples),
                "first_sample_token": samples[0]["token"],
                "last_sample_token": samples[-1]["token"],
                "name": self.drive.name,
                "description": self.drive.description,
            }
        )
        self.records["log"].append(
            {
                "token": self.log_token,
                "logfile": self.log_name,
                "vehicle": VEHICLE,
                "date_captured": self.date,
                "location": self.drive.region,
            }
        )
        self.records["calibrated_sensor"] = tables.calibration(
            self.log_token, self.options.image_size
        )

    def _link(self) -> None:
        tables.link(self.records["sample"])
        sensors: dict[str, list[Record]] = {}
        for record in sorted(self.records["sample_data"], key=lambda record: record["timestamp"]):
            sensors.setdefault(record["calibrated_sensor_token"], []).append(record)
        for records in sensors.values():
            tables.link(records)
        tracks: dict[str, list[Record]] = {}
        for record in self.records["sample_annotation"]:
            tracks.setdefault(record["instance_token"], []).append(record)
        for index, actor in enumerate(self.drive.actors):
            track = tracks.get(self._instance_token(index))
            if track:
                tables.link(track)
                self.records["instance"].append(
                    {
                        "token": self._instance_token(index),
                        "category_token": tables.category_token(actor.category),
                        "nbr_annotations": len(track),
                        "first_annotation_token": track[0]["token"],
                        "last_annotation_token": track[-1]["token"],
                    }
                )

    def _write_map(self) -> None:
        """A picture of the driveable surface, 10 pixels a metre, rows from north to south as
        nuScenes' map masks.
        """
        width, height = (int(np.ceil(edge * _MAP_PIXELS_PER_M)) for edge in self.map_extent)
        mesh = self.drive.static
        corners = mesh.vertices[mesh.triangles[mesh.category == _DRIVEABLE], :2] - self.map_corner
        pixels = np.round(corners * _MAP_PIXELS_PER_M).astype(np.int32)
        pixels[..., 1] = height - 1 - pixels[..., 1]
        mask = np.zeros((height, width), np.uint8)
        for triangle in pixels:
            cv2.fillConvexPoly(mask, triangle, 255)
        name = token(self.scene_token, "map")
        cv2.imwrite(str(self.root / "maps" / f"{name}.png"), mask)
        self.records["map"].append(
            {
                "token": name,
                "log_tokens": [self.log_token],
                "category": "semantic_prior",
                "filename": f"maps/{name}.png",
            }
        )

    def _write_odometry(self) -> None:
        """``can_bus/<scene>_pose.json``: what the car's own motion sensors say, in nuScenes'
        CAN-bus layout.
        """
        times = np.arange(self.options.begin_s, self.options.end_s, 1.0 / ODOMETRY_HZ)
        messages = [self._odometry(float(time_s)) for time_s in times]
        tables.write_json(self.root / "can_bus" / f"{self.drive.name}_pose.json", messages)

    def _odometry(self, time_s: float, step_s: float = 0.01) -> Record:
        before, now, after = (
            self.drive.world_from_ego(time_s + shift) for shift in (-step_s, 0.0, step_s)
        )
        to_ego = now[:3, :3].T
        velocity = to_ego @ (after[:3, 3] - before[:3, 3]) / (2 * step_s)
        # An accelerometer at rest feels the ground push up.
        acceleration = to_ego @ (
            (after[:3, 3] - 2 * now[:3, 3] + before[:3, 3]) / step_s**2 + [0.0, 0.0, 9.81]
        )
        turn = Rotation.from_matrix(before[:3, :3].T @ after[:3, :3]).as_rotvec() / (2 * step_s)
        pose = tables.pose_fields(self._shifted(now))
        vectors = {"vel": velocity, "accel": acceleration, "rotation_rate": turn}
        rounded = {name: [round(float(c), 6) for c in vector] for name, vector in vectors.items()}
        return {
            "utime": self._stamp_us(time_s),
            "pos": pose["translation"],
            "orientation": pose["rotation"],
            **rounded,
        }


def points_in_box(
    points: np.ndarray, a_from_actor: np.ndarray, size_wlh: tuple[float, float, float]
) -> int:
    """How many of the points [N, 3] (frame a, sorted by x) lie in a box of ``size_wlh`` on the
    origin of the actor's frame.
    """
    width, length, height = size_wlh
    reach = np.hypot(np.hypot(width, length) / 2, height)
    first, last = np.searchsorted(points[:, 0], a_from_actor[0, 3] + np.array([-reach, reach]))
    local = (points[first:last] - a_from_actor[:3, 3]) @ a_from_actor[:3, :3]
    inside = (np.abs(local[:, 0]) <= length / 2) & (np.abs(local[:, 1]) <= width / 2)
    return int((inside & (local[:, 2] >= 0) & (local[:, 2] <= height)).sum())


def seen_shares(
    caster: RayCaster,
    actors: ActorsAt,
    indices: np.ndarray,
    world_from_ego: np.ndarray,
    looks: int = 48,
) -> list[float]:
    """Share (0..1) of each actor's surface, that its best camera sees along a free line of sight."""
    best = np.zeros(len(indices))
    if not len(indices):
        return []
    points = np.concatenate(
        [
            _surface_points(caster.drive.actors[i].mesh, actors.world_from_actor[i], looks)
            for i in indices
        ]
    )
    owner = np.repeat(np.arange(len(indices)), looks)
    for camera in CAMERAS:
        world_from_camera = world_from_ego @ camera.ego_from_camera
        local = (points - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
        ahead = np.flatnonzero(local[:, 2] > 0.5)
        pixel = local[ahead, :2] / local[ahead, 2:] * camera.focal_px + camera.centre_px
        framed = ahead[((pixel > 0) & (pixel < (FULL_SIZE[1], FULL_SIZE[0]))).all(1)]
        way = points[framed] - world_from_camera[:3, 3]
        length = np.linalg.norm(way, axis=1)
        hits = caster.cast(world_from_camera[:3, 3], way / length[:, None], actors)
        clear = framed[(hits.actor == indices[owner[framed]]) | (hits.range_m >= length - 0.1)]
        best = np.maximum(best, np.bincount(owner[clear], minlength=len(indices)) / looks)
    return best.tolist()


def _surface_points(mesh: Mesh, world_from_actor: np.ndarray, count: int) -> np.ndarray:
    picked = np.linspace(0, len(mesh.triangles) - 1, count).astype(int)
    return (
        mesh.vertices[mesh.triangles[picked]].mean(1) @ world_from_actor[:3, :3].T
        + world_from_actor[:3, 3]
    )
