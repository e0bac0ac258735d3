"""Writes one scene of a drive: sensor files, labels, odometry, map, and its table records."""

from __future__ import annotations

import collections
from collections.abc import Sequence
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
from training.world.nuscenes.scene_options import SceneOptions, SweepClock
from training.world.nuscenes.scene_records import SceneRecords
from training.world.nuscenes.tables import Records, token
from training.world.nuscenes.visibility import count_points_in_box, visible_fractions
from training.world.scene import Drive
from training.world.sensors.camera import LitScene, RgbdImage, render
from training.world.sensors.lidar import SimulatedSweep, actors_during_sweep, scan
from training.world.sensors.lights import LampSet
from training.world.sensors.optics import encode_jpeg
from training.world.sensors.random_rig import draw_rig
from training.world.sensors.raycast import PosedActors, RayCaster
from training.world.sensors.rig import NUSCENES_RIG, CameraSpec
from training.world.sensors.sky import Sky
from training.world.weather import harsh_settings, weather_settings

ANNOTATED_RANGE_M = 80.0
_STEP_S = 0.05
"""Interval over which the speed of a camera is taken."""
_RIG_STREAM = 0x716
"""Keeps the random numbers of the sensors apart from those of the town."""


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
        sensing = drive.style.sensing
        # Scenes of one town in several weathers share their sensors.
        rig_rng = np.random.default_rng([seed, options.rig, _RIG_STREAM])
        self.rig = draw_rig(rig_rng) if sensing.varied_rigs else NUSCENES_RIG
        self.clock = SweepClock(self.rig.lidar.period_us)
        self.records = SceneRecords(drive, self.names, self.map_frame, options, self.rig)
        self.weather = (
            harsh_settings(drive.weather, self._rng("weather"))
            if sensing.harsh_weather
            else weather_settings(drive.weather)
        )
        self.caster = RayCaster(drive)
        self.sky = Sky(self.weather, self._rng("sky"))

    def write(self) -> Records:
        """Writes all files of the scene and returns its records."""
        self._create_folders()
        first, last, clock = self.options.first, self.options.last, self.clock
        per_keyframe = clock.per_keyframe
        first_sweep = first * per_keyframe
        begin_s, end_s = clock.end_s(first_sweep), clock.end_s(clock.keyframe_sweep(last))
        span_s = begin_s, max(end_s, begin_s + self.drive.style.label_span_s)
        labels = DriveLabels(self.caster, span_s, self._rng("labels"), lidar=self.rig.lidar)
        sweeps: collections.deque[SimulatedSweep] = collections.deque(maxlen=per_keyframe)
        # Sweep 0 of a later scene is the last one of the scene before.
        if first == 0 and clock.first_sweep == 0:
            sweeps.append(self._write_sweep(0))
        for keyframe in range(first, last + 1):
            number = clock.keyframe_sweep(keyframe)
            time_s = clock.end_s(number)
            self.records.add_sample(keyframe, time_s)
            for earlier in range(number - per_keyframe + 1, number):
                sweeps.append(self._write_sweep(earlier))
            sweeps.append(self._write_sweep(number, is_keyframe=True))
            self._write_labels(number, labels.at(time_s))
            images = self._write_images(keyframe)
            self._write_masks(number, sweeps, images)
            self._add_annotations(keyframe, sweeps[-1])
        self._write_map()
        self._write_odometry()
        return self.records.finish()

    def _rng(self, *purpose: str | int) -> np.random.Generator:
        """A random stream of its own for each purpose."""
        return np.random.default_rng([*self.seed, int(token(*purpose)[:12], 16)])

    def _create_folders(self) -> None:
        channels = [*(camera.channel for camera in self.rig.cameras), self.rig.lidar.channel]
        folders = [f"{kind}/{channel}" for kind in ("samples", "sweeps") for channel in channels]
        folders += ["maps", "can_bus", f"lidarseg/{self.options.version}"]
        folders += ["nuscenes_occ/samples", "nuscenes_occ/masks"]
        for folder in folders:
            (self.root / folder).mkdir(parents=True, exist_ok=True)

    def _world_from_lidar(self, time_s: float) -> np.ndarray:
        return self.drive.world_from_ego(time_s) @ self.rig.lidar.ego_from_lidar

    def _write_sweep(self, number: int, *, is_keyframe: bool = False) -> SimulatedSweep:
        time_s, world_from_ego = self.clock.end_s(number), self.drive.world_from_ego
        lidar = self.rig.lidar
        actors = actors_during_sweep(self.caster, world_from_ego, time_s, lidar)
        rng = self._rng("lidar", number)
        sweep = scan(self.caster, world_from_ego, time_s, actors, self.weather, rng, lidar)
        folder = "samples" if is_keyframe else "sweeps"
        filename = f"{folder}/{lidar.channel}/{self.names.sweep_file_name(time_s)}"
        reported = slice(None) if lidar.reports_lost else sweep.is_measured
        sweep.points[reported].tofile(self.root / filename)
        # As in nuScenes, a sweep belongs to the keyframe that ends its interval.
        keyframe = min(max(number - 1, 0) // self.clock.per_keyframe, self.options.last)
        self.records.add_sensor_data(
            lidar.channel, filename, time_s, keyframe, is_keyframe=is_keyframe
        )
        if is_keyframe:
            data_token = self.names.data_token(lidar.channel, time_s)
            filename = f"lidarseg/{self.options.version}/{data_token}_lidarseg.bin"
            sweep.category[reported].tofile(self.root / filename)
            self.records.add_lidarseg(data_token, filename)
        return sweep

    def _write_labels(self, number: int, rows: np.ndarray) -> None:
        filename = f"{self.names.sweep_file_name(self.clock.end_s(number))}.npy"
        np.save(self.root / "nuscenes_occ/samples" / filename, rows)

    def _keyframe_s(self, keyframe: int) -> float:
        return self.clock.end_s(self.clock.keyframe_sweep(keyframe))

    def _write_images(self, keyframe: int) -> list[RgbdImage]:
        keyframe_s, world_from_ego = self._keyframe_s(keyframe), self.drive.world_from_ego
        if self.rig.follows_beam:
            shared = actors_during_sweep(self.caster, world_from_ego, keyframe_s, self.rig.lidar)
        else:
            shared = self._actors_at(keyframe_s + self.rig.cameras[0].delay_us * 1e-6)
        images = []
        for camera in self.rig.cameras:
            # The beam passes an actor when the camera facing it fires, except where the end of the
            # sweep meets its beginning.
            is_apart = self.rig.follows_beam and camera.channel == self.rig.seam_camera
            time_s = keyframe_s + camera.delay_us * 1e-6
            actors = self._actors_at(time_s) if is_apart else shared
            images.append(self._write_image(keyframe, camera, actors))
        return images

    def _actors_at(self, time_s: float) -> PosedActors:
        near_m = self.drive.world_from_ego(time_s)[:3, 3]
        return self.caster.actors_at(time_s, near_m=near_m)

    def _write_image(self, keyframe: int, camera: CameraSpec, actors: PosedActors) -> RgbdImage:
        time_s = self._keyframe_s(keyframe) + camera.delay_us * 1e-6
        world_from_ego = self.drive.world_from_ego(time_s)
        lamps = LampSet(self.drive, world_from_ego, actors.world_from_actor)
        scene = LitScene(self.caster, actors, lamps, self.sky, self.weather)
        size = self.options.image_size
        world_from_camera = world_from_ego @ camera.ego_from_camera
        before = self.drive.world_from_ego(time_s - _STEP_S) @ camera.ego_from_camera
        moved = world_from_camera[:3, 3] - before[:3, 3]
        lateral_mps = float(moved @ world_from_camera[:3, 0]) / _STEP_S
        rng = self._rng(camera.channel, keyframe)
        image = render(scene, camera, size, world_from_camera, rng, lateral_mps)
        name = self.names.file_name(camera.channel, time_s, "jpg")
        filename = f"samples/{camera.channel}/{name}"
        (self.root / filename).write_bytes(encode_jpeg(image.rgb, camera.look.jpeg_quality))
        self.records.add_sensor_data(
            camera.channel, filename, time_s, keyframe, is_keyframe=True, size=size
        )
        return image

    def _write_masks(
        self, number: int, sweeps: Sequence[SimulatedSweep], images: Sequence[RgbdImage]
    ) -> None:
        keyframe_s, lidar = self.clock.end_s(number), self.rig.lidar
        grid_from_world = np.linalg.inv(self._world_from_lidar(keyframe_s))
        posed_sweeps = []
        for back, sweep in enumerate(reversed(sweeps)):
            end_s = self.clock.end_s(number - back)
            world_from_lidar = self._world_from_lidar(end_s)
            world_from_ego = self.drive.world_from_ego(end_s - lidar.period_us * 1e-6)
            start = world_from_ego @ lidar.ego_from_lidar[:, 3]
            start_in_lidar = (np.linalg.inv(world_from_lidar) @ start)[:3]
            grid_from_lidar = grid_from_world @ world_from_lidar
            posed_sweeps.append(
                PosedSweep(sweep.points, sweep.is_return, grid_from_lidar, start_in_lidar)
            )
        posed_images = []
        for camera, image in zip(self.rig.cameras, images, strict=True):
            world_from_ego = self.drive.world_from_ego(keyframe_s + camera.delay_us * 1e-6)
            grid_from_camera = grid_from_world @ (world_from_ego @ camera.ego_from_camera)
            intrinsics = camera.intrinsics(self.options.image_size)
            posed_images.append(PosedDepthImage(image.depth_m, intrinsics, grid_from_camera))
        write_masks(
            mask_path(self.root, self.names.sweep_file_name(keyframe_s)),
            lidar_mask(posed_sweeps, SURROUNDOCC_GRID, lidar),
            camera_mask(posed_images, SURROUNDOCC_GRID),
            sky=np.stack([~np.isfinite(image.depth_m) for image in images]),
        )

    def _add_annotations(self, keyframe: int, sweep: SimulatedSweep) -> None:
        """Annotates the actors in range that a camera or the LiDAR sees."""
        time_s = self._keyframe_s(keyframe)
        world_from_ego = self.drive.world_from_ego(time_s)
        lidar_from_world = np.linalg.inv(self._world_from_lidar(time_s))
        actors = self.caster.actors_at(time_s, near_m=world_from_ego[:3, 3])
        poses = actors.world_from_actor
        distance = np.hypot(*(poses[:, :2, 3] - world_from_ego[:2, 3]).T)
        near = np.flatnonzero(distance < ANNOTATED_RANGE_M)
        points = sweep.points[sweep.is_return, :3]
        points = points[np.argsort(points[:, 0])]
        fractions = visible_fractions(self.caster, actors, near, world_from_ego, self.rig.cameras)
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
