"""Writes one scene of a drive: sensor files, labels, odometry, map, and its table records."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from occ_core.datasets.surroundocc import mask_path, write_masks
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.world.nuscenes import tables
from training.world.nuscenes.labels import DriveLabels
from training.world.nuscenes.map_mask import draw_map, map_frame
from training.world.nuscenes.masks import PosedDepthImage, PosedSweep, camera_mask, lidar_mask
from training.world.nuscenes.odometry import odometry
from training.world.nuscenes.scene_names import SceneNames
from training.world.nuscenes.scene_options import (
    SWEEPS_PER_KEYFRAME,
    SceneOptions,
    keyframe_sweep,
    sweep_end_s,
)
from training.world.nuscenes.scene_records import SceneRecords
from training.world.nuscenes.tables import Records, token
from training.world.nuscenes.visibility import count_points_in_box, visible_fractions
from training.world.scene import Drive
from training.world.sensors.camera import LitScene, RgbdImage, render
from training.world.sensors.lidar import SimulatedSweep, actors_during_sweep, scan
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import encode_jpeg
from training.world.sensors.raycast import PosedActors, RayCaster
from training.world.sensors.rig import CAMERAS, LIDAR, CameraSpec
from training.world.sensors.sky import Sky
from training.world.weather import weather_settings

ANNOTATED_RANGE_M = 80.0


class SceneWriter:
    """Writes a scene of drive number ``index`` of the world ``seed`` under ``root``.

    The same arguments give the same bytes.
    """

    def __init__(
        self, root: Path, drive: Drive, seed: int, index: int, options: SceneOptions
    ) -> None:
        self.root, self.drive, self.options = root, drive, options
        self.seed = (seed, index)
        self.names = SceneNames(options.version, seed, index, drive.name)
        self.map_frame = map_frame(drive)
        self.records = SceneRecords(drive, self.names, self.map_frame, options)
        self.weather = weather_settings(drive.weather)
        self.caster = RayCaster(drive)
        self.sky = Sky(self.weather, self._rng("sky"))

    def write(self, on_keyframe: Callable[[], None] = lambda: None) -> Records:
        """Writes all files of the scene and returns its records.

        ``on_keyframe`` is called after each keyframe.
        """
        self._create_folders()
        first, last = self.options.first, self.options.last
        first_sweep = first * SWEEPS_PER_KEYFRAME
        span_s = sweep_end_s(first_sweep), sweep_end_s(keyframe_sweep(last))
        labels = DriveLabels(self.caster, span_s, self._rng("labels"))
        sweeps: collections.deque[SimulatedSweep] = collections.deque(maxlen=SWEEPS_PER_KEYFRAME)
        if first == 0:  # otherwise it is the last sweep of the previous scene
            sweeps.append(self._write_sweep(first_sweep))
        for keyframe in range(first, last + 1):
            number = keyframe_sweep(keyframe)
            time_s = sweep_end_s(number)
            self.records.add_sample(keyframe, time_s)
            for earlier in range(number - SWEEPS_PER_KEYFRAME + 1, number):
                sweeps.append(self._write_sweep(earlier))
            sweeps.append(self._write_sweep(number, is_keyframe=True))
            self._write_labels(number, labels.at(time_s))
            actors = actors_during_sweep(self.caster, self.drive.world_from_ego, time_s)
            images = [self._write_image(keyframe, camera, actors) for camera in CAMERAS]
            self._write_masks(number, sweeps, images)
            self._add_annotations(keyframe, sweeps[-1])
            on_keyframe()
        self._write_map()
        self._write_odometry()
        return self.records.finish()

    def _rng(self, *purpose: str | int) -> np.random.Generator:
        """A random stream of its own for each purpose."""
        return np.random.default_rng([*self.seed, int(token(*purpose)[:12], 16)])

    def _create_folders(self) -> None:
        channels = [*(camera.channel for camera in CAMERAS), LIDAR.channel]
        folders = [f"{kind}/{channel}" for kind in ("samples", "sweeps") for channel in channels]
        folders += ["maps", "can_bus", f"lidarseg/{self.options.version}"]
        folders += ["nuscenes_occ/samples", "nuscenes_occ/masks"]
        for folder in folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def _world_from_lidar(self, time_s: float) -> np.ndarray:
        return self.drive.world_from_ego(time_s) @ LIDAR.ego_from_lidar

    def _write_sweep(self, number: int, *, is_keyframe: bool = False) -> SimulatedSweep:
        time_s, world_from_ego = sweep_end_s(number), self.drive.world_from_ego
        actors = actors_during_sweep(self.caster, world_from_ego, time_s)
        rng = self._rng("lidar", number)
        sweep = scan(self.caster, world_from_ego, time_s, actors, self.weather, rng)
        folder = "samples" if is_keyframe else "sweeps"
        filename = f"{folder}/{LIDAR.channel}/{self.names.sweep_file_name(number)}"
        sweep.points.tofile(self.root / filename)
        # As in nuScenes, a sweep belongs to the keyframe that ends its interval.
        keyframe = min(max(number - 1, 0) // SWEEPS_PER_KEYFRAME, self.options.last)
        self.records.add_sensor_data(
            LIDAR.channel, filename, time_s, keyframe, is_keyframe=is_keyframe
        )
        if is_keyframe:
            data_token = self.names.data_token(LIDAR.channel, time_s)
            filename = f"lidarseg/{self.options.version}/{data_token}_lidarseg.bin"
            sweep.category.tofile(self.root / filename)
            self.records.add_lidarseg(data_token, filename)
        return sweep

    def _write_labels(self, number: int, rows: np.ndarray) -> None:
        filename = f"{self.names.sweep_file_name(number)}.npy"
        np.save(self.root / "nuscenes_occ/samples" / filename, rows)

    def _write_image(
        self, keyframe: int, camera: CameraSpec, actors_in_sweep: PosedActors
    ) -> RgbdImage:
        time_s = sweep_end_s(keyframe_sweep(keyframe)) + camera.delay_us * 1e-6
        world_from_ego = self.drive.world_from_ego(time_s)
        # The beam passes an actor when the camera facing it fires, except where the end of the
        # sweep meets its beginning.
        actors = (
            self.caster.actors_at(time_s, near_m=world_from_ego[:3, 3])
            if camera.channel == "CAM_BACK_LEFT"
            else actors_in_sweep
        )
        lamps = LampSet(self.drive, world_from_ego, actors.world_from_actor)
        scene = LitScene(self.caster, actors, lamps, self.sky, self.weather)
        size = self.options.image_size
        world_from_camera = world_from_ego @ camera.ego_from_camera
        image = render(scene, camera, size, world_from_camera, self._rng(camera.channel, keyframe))
        name = self.names.file_name(camera.channel, time_s, "jpg")
        filename = f"samples/{camera.channel}/{name}"
        (self.root / filename).write_bytes(encode_jpeg(image.rgb))
        self.records.add_sensor_data(
            camera.channel, filename, time_s, keyframe, is_keyframe=True, size=size
        )
        return image

    def _write_masks(
        self, number: int, sweeps: Sequence[SimulatedSweep], images: Sequence[RgbdImage]
    ) -> None:
        keyframe_s = sweep_end_s(number)
        grid_from_world = np.linalg.inv(self._world_from_lidar(keyframe_s))
        posed_sweeps = []
        for back, sweep in enumerate(reversed(sweeps)):
            end_s = sweep_end_s(number - back)
            world_from_lidar = self._world_from_lidar(end_s)
            world_from_ego = self.drive.world_from_ego(end_s - LIDAR.period_us * 1e-6)
            start = world_from_ego @ LIDAR.ego_from_lidar[:, 3]
            start_in_lidar = (np.linalg.inv(world_from_lidar) @ start)[:3]
            grid_from_lidar = grid_from_world @ world_from_lidar
            posed_sweeps.append(
                PosedSweep(sweep.points, sweep.is_return, grid_from_lidar, start_in_lidar)
            )
        posed_images = []
        for camera, image in zip(CAMERAS, images, strict=True):
            world_from_ego = self.drive.world_from_ego(keyframe_s + camera.delay_us * 1e-6)
            grid_from_camera = grid_from_world @ (world_from_ego @ camera.ego_from_camera)
            intrinsics = camera.intrinsics(self.options.image_size)
            posed_images.append(PosedDepthImage(image.depth_m, intrinsics, grid_from_camera))
        write_masks(
            mask_path(self.root, self.names.sweep_file_name(number)),
            lidar_mask(posed_sweeps, SURROUNDOCC_GRID),
            camera_mask(posed_images, SURROUNDOCC_GRID),
            sky=np.stack([~np.isfinite(image.depth_m) for image in images]),
        )

    def _add_annotations(self, keyframe: int, sweep: SimulatedSweep) -> None:
        """Annotates the actors in range that a camera or the LiDAR sees."""
        time_s = sweep_end_s(keyframe_sweep(keyframe))
        world_from_ego = self.drive.world_from_ego(time_s)
        lidar_from_world = np.linalg.inv(self._world_from_lidar(time_s))
        actors = self.caster.actors_at(time_s, near_m=world_from_ego[:3, 3])
        poses = actors.world_from_actor
        distance = np.hypot(*(poses[:, :2, 3] - world_from_ego[:2, 3]).T)
        near = np.flatnonzero(distance < ANNOTATED_RANGE_M)
        points = sweep.points[sweep.is_return, :3]
        points = points[np.argsort(points[:, 0])]
        fractions = visible_fractions(self.caster, actors, near, world_from_ego)
        for index, fraction in zip(near.tolist(), fractions, strict=True):
            size_wlh = self.drive.actors[index].size_wlh
            inside = count_points_in_box(points, lidar_from_world @ poses[index], size_wlh)
            if inside or fraction:
                self.records.add_annotation(keyframe, index, poses[index], fraction, inside)

    def _write_map(self) -> None:
        map_token = token(self.names.scene_token, "map")
        filename = f"maps/{map_token}.png"
        cv2.imwrite(str(self.root / filename), draw_map(self.drive, self.map_frame))
        self.records.add_map(map_token, filename)

    def _write_odometry(self) -> None:
        span_s = self.options.begin_s, self.options.end_s
        messages = odometry(self.drive.world_from_ego, span_s, self.names, self.map_frame)
        tables.write_json(self.root / "can_bus" / f"{self.drive.name}_pose.json", messages)
