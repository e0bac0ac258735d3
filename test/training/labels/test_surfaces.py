"""What is gathered from the sweeps of a drive."""

import numpy as np
import pytest

from training.labels.drive import LabelDrive, LabelKeyframe, LabelSweep
from training.labels.surfaces import gather

WALL = 15


def sweep_at_a_wall(number: int, x_m: float) -> LabelSweep:
    """A wall 10 m ahead (y), which three rings meet 2 m apart, and a LiDAR moved along it."""
    x = np.linspace(-3, 3, 181)
    points = [np.column_stack([x, np.full_like(x, 10.0), np.full_like(x, z)]) for z in (0, 2, 4)]
    pose = np.eye(4)
    pose[0, 3] = x_m
    return LabelSweep(
        np.concatenate(points).astype(np.float32),
        np.full(3 * len(x), WALL, np.int16),
        pose,
        end_s=0.1 * number,
        period_s=0.1,
        first_azimuth_rad=0.0,
        rings=np.repeat(np.arange(3), len(x)).astype(np.uint8),
    )


@pytest.mark.parametrize(("way_m", "filled"), [(0.0, True), (9.9, True), (10.1, False)])
def test_rings_are_joined_only_where_the_lidar_stands(way_m: float, filled: bool) -> None:
    sweeps = sweep_at_a_wall(0, 0.0), sweep_at_a_wall(1, way_m)
    drive = LabelDrive("a", "", sweeps, (), (LabelKeyframe("k", 0, np.eye(4)),))
    heights = gather(drive, 0.25, dense=True).static.points[:, 2]
    between = (np.abs(heights - 1) < 0.9) | (np.abs(heights - 3) < 0.9)
    assert between.any() == filled
    assert not (np.abs(gather(drive, 0.25, dense=False).static.points[:, 2] - 1) < 0.9).any()
