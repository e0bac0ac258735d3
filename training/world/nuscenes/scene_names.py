"""Tokens, time stamps and file names of one scene."""

from __future__ import annotations

import datetime

from training.world.nuscenes.tables import token
from training.world.sensors.rig import LIDAR

VEHICLE = "n900"
_EPOCH_US = 1_700_000_000_000_000


class SceneNames:
    """Names that depend on the arguments only.

    Args:
        version: name of the folder with the tables.
        seed: of the world.
        index: of the drive in the world; it decides the date.
        drive: name of the drive.
    """

    def __init__(self, version: str, seed: int, index: int, drive: str) -> None:
        # Whatever the seed, the drive takes place before 2037: ROS stamps hold int32 seconds.
        self.start_us = _EPOCH_US + (seed * 1000 + index) % 4_000_000 * 100_000_000
        self.scene_token = token(version, seed, drive)
        self.log_token = token(self.scene_token, "log")
        start = datetime.datetime.fromtimestamp(self.start_us / 1e6, datetime.UTC)
        self.log_name = f"{VEHICLE}-{start:%Y-%m-%d-%H-%M-%S}+0000"
        self.date = f"{start:%Y-%m-%d}"

    def stamp_us(self, time_s: float) -> int:
        """The time stamp of a time in the drive."""
        return self.start_us + round(time_s * 1e6)

    def file_name(self, channel: str, time_s: float, suffix: str) -> str:
        """Name of the file of a sensor at a time in the drive."""
        return f"{self.log_name}__{channel}__{self.stamp_us(time_s)}.{suffix}"

    def sweep_file_name(self, end_s: float) -> str:
        """Name of the file of the LiDAR sweep that ends at this time."""
        return self.file_name(LIDAR.channel, end_s, "pcd.bin")

    def sample_token(self, keyframe: int) -> str:
        """Token of the sample of a keyframe of the drive."""
        return token(self.scene_token, "sample", keyframe)

    def data_token(self, channel: str, time_s: float) -> str:
        """Token of the data of a sensor at a time in the drive."""
        return token(self.scene_token, channel, self.stamp_us(time_s))

    def instance_token(self, actor_index: int) -> str:
        """Token of an actor of the drive."""
        return token(self.scene_token, "instance", actor_index)
