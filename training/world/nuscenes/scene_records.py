"""The records that one scene adds to the nuScenes tables."""

from __future__ import annotations

import numpy as np

from training.world.nuscenes import tables
from training.world.nuscenes.map_mask import MapFrame
from training.world.nuscenes.scene_names import VEHICLE, SceneNames
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.tables import Record, Records, token
from training.world.scene import Actor, Drive
from training.world.sensors.rig import Rig


class SceneRecords:
    """Collects the records of a scene; ``finish`` adds those that depend on all others."""

    def __init__(
        self, drive: Drive, names: SceneNames, map_frame: MapFrame, options: SceneOptions, rig: Rig
    ) -> None:
        self.tables: Records = {name: [] for name in tables.DRIVE_TABLES}
        self._drive, self._names, self._options = drive, names, options
        self._map_frame, self._rig = map_frame, rig

    def add_sample(self, keyframe: int, time_s: float) -> None:
        """Adds a keyframe."""
        sample = {
            "token": self._names.sample_token(keyframe),
            "timestamp": self._names.stamp_us(time_s),
            "prev": "",
            "next": "",
            "scene_token": self._names.scene_token,
        }
        self.tables["sample"].append(sample)

    def add_sensor_data(
        self,
        channel: str,
        filename: str,
        time_s: float,
        keyframe: int,
        *,
        is_keyframe: bool,
        size: tuple[int, int] = (0, 0),
    ) -> None:
        """Adds a sensor file and the pose of the car at its time.

        ``keyframe`` is the one that the file belongs to, or that follows it; ``size`` is the height
        and width of an image.
        """
        data_token = self._names.data_token(channel, time_s)
        stamp_us = self._names.stamp_us(time_s)
        self.tables["sample_data"].append(
            {
                "token": data_token,
                "sample_token": self._names.sample_token(keyframe),
                "ego_pose_token": data_token,
                "calibrated_sensor_token": token(
                    self._names.log_token, "calibrated_sensor", channel
                ),
                "timestamp": stamp_us,
                "fileformat": filename.split(".")[1],
                "is_key_frame": is_keyframe,
                "height": size[0],
                "width": size[1],
                "filename": filename,
                "prev": "",
                "next": "",
            }
        )
        map_from_ego = self._map_frame.map_from_body(self._drive.world_from_ego(time_s))
        self.tables["ego_pose"].append(
            {"token": data_token, "timestamp": stamp_us, **tables.pose_fields(map_from_ego)}
        )

    def add_lidarseg(self, data_token: str, filename: str) -> None:
        """Adds the per-point classes of a keyframe's sweep."""
        self.tables["lidarseg"].append(
            {"token": data_token, "sample_data_token": data_token, "filename": filename}
        )

    def add_annotation(
        self,
        keyframe: int,
        actor_index: int,
        world_from_actor: np.ndarray,
        visible_fraction: float,
        lidar_points: int,
    ) -> None:
        """Adds the box of an actor at a keyframe."""
        actor = self._drive.actors[actor_index]
        centre = world_from_actor.copy()
        centre[:3, 3] += world_from_actor[:3, 2] * actor.size_wlh[2] / 2
        self.tables["sample_annotation"].append(
            {
                "token": token(self._names.scene_token, "annotation", actor_index, keyframe),
                "sample_token": self._names.sample_token(keyframe),
                "instance_token": self._names.instance_token(actor_index),
                "visibility_token": tables.visibility_token(visible_fraction),
                "attribute_tokens": _attribute_tokens(actor),
                **tables.pose_fields(self._map_frame.map_from_body(centre)),
                "size": [float(edge) for edge in actor.size_wlh],
                "prev": "",
                "next": "",
                "num_lidar_pts": lidar_points,
                "num_radar_pts": 0,
            }
        )

    def add_map(self, map_token: str, filename: str) -> None:
        """Adds the map image of the scene."""
        self.tables["map"].append(
            {
                "token": map_token,
                "log_tokens": [self._names.log_token],
                "category": "semantic_prior",
                "filename": filename,
            }
        )

    def finish(self) -> Records:
        """Adds scene, log, calibration and instances, links all records, and returns them."""
        self._add_scene()
        tables.link(self.tables["sample"])
        sensors: dict[str, list[Record]] = {}
        for record in sorted(self.tables["sample_data"], key=lambda record: record["timestamp"]):
            sensors.setdefault(record["calibrated_sensor_token"], []).append(record)
        for records in sensors.values():
            tables.link(records)
        self._add_instances()
        return self.tables

    def _add_scene(self) -> None:
        samples = self.tables["sample"]
        self.tables["scene"].append(
            {
                "token": self._names.scene_token,
                "log_token": self._names.log_token,
                "nbr_samples": len(samples),
                "first_sample_token": samples[0]["token"],
                "last_sample_token": samples[-1]["token"],
                "name": self._drive.name,
                "description": self._drive.description,
            }
        )
        self.tables["log"].append(
            {
                "token": self._names.log_token,
                "logfile": self._names.log_name,
                "vehicle": VEHICLE,
                "date_captured": self._names.date,
                "location": self._drive.region,
            }
        )
        self.tables["calibrated_sensor"] = tables.calibration(
            self._rig, self._names.log_token, self._options.image_size
        )

    def _add_instances(self) -> None:
        tracks: dict[str, list[Record]] = {}
        for record in self.tables["sample_annotation"]:
            tracks.setdefault(record["instance_token"], []).append(record)
        for index, actor in enumerate(self._drive.actors):
            instance_token = self._names.instance_token(index)
            track = tracks.get(instance_token)
            if track:
                tables.link(track)
                self.tables["instance"].append(
                    {
                        "token": instance_token,
                        "category_token": tables.category_token(actor.category),
                        "nbr_annotations": len(track),
                        "first_annotation_token": track[0]["token"],
                        "last_annotation_token": track[-1]["token"],
                    }
                )


def _attribute_tokens(actor: Actor) -> list[str]:
    return [tables.attribute_token(actor.attribute)] if actor.attribute else []
