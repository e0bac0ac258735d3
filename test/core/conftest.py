"""A nuScenes data root small enough to work out by hand, and frames of random sensor data."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.config import debug
from occ_core.types import DriveContext, Frame


@pytest.fixture
def tiny_nuscenes(tmp_path: Path) -> Path:
    """The data root; its car is 20 m ahead of the LiDAR in the first keyframe."""
    return write_tiny_nuscenes(tmp_path)


@pytest.fixture(scope="session")
def make_frame() -> Callable[..., Frame]:
    """Makes frames of random pixels and points for the debug model: ``make_frame(seed, points,
    cameras)``. All cameras look along +y.
    """

    def frame(seed: int = 0, points: int = 3000, cameras: int = 3) -> Frame:
        generator = torch.Generator().manual_seed(seed)
        height, width = debug().image_size
        cloud = torch.rand(points, 5, generator=generator)
        size_m, low_m = torch.tensor([80.0, 80.0, 6.0]), torch.tensor([40.0, 40.0, 4.0])
        cloud[:, :3] = cloud[:, :3] * size_m - low_m
        lens = torch.tensor([[150.0, 0, width / 2], [0, 150.0, height / 2], [0, 0, 1]])
        pose = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
        shape = (1, cameras, 3, height, width)
        return Frame(
            images=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            camera_mask=torch.ones(1, cameras, dtype=torch.bool),
            intrinsics=lens.expand(1, cameras, 3, 3),
            grid_from_camera=pose.expand(1, cameras, 4, 4),
            points=(cloud,),
            world_from_grid=torch.eye(4, dtype=torch.float64)[None],
            stamp_ns=(seed,),
            context=(DriveContext(),),
        )

    return frame
