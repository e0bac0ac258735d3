import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.rendering.bev_cameras import bev_camera, bev_pinhole
from occ_core.rendering.cameras import Cameras
from occ_core.rendering.semantics import render
from occ_core.rendering.virtual_cameras import (
    STRATEGIES,
    look_at_pose,
    virtual_camera,
    worst_location,
)
from occ_core.rendering.voxel_gaussians import true_gaussians
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5)


def sensors(count: int = 2) -> Cameras:
    """Cameras 1 m up that look along +y, the second along -y."""
    poses = [look_at_pose(np.array([0.0, 0, 1]), np.array([0.0, side, 1])) for side in (5, -5)]
    camera_from_grid = torch.from_numpy(np.linalg.inv(np.stack(poses))).float()[:count]
    intrinsics = torch.tensor([[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]]).expand(count, 3, 3)
    return Cameras(intrinsics, camera_from_grid, (48, 64))


def drawn(
    strategy: str, seed: int = 0, count: int = 1, target: torch.Tensor | None = None
) -> tuple[Cameras, np.ndarray]:
    """The camera, and its pose in the grid."""
    camera = virtual_camera(
        strategy, sensors(count), torch.ones(count), GRID, np.random.default_rng(seed), target
    )
    return camera, torch.linalg.inv(camera.camera_from_grid[0]).double().numpy()


def pixel(camera: Cameras, point: list[float]) -> list[float]:
    """(u, v, depth) of a point in the grid."""
    seen = camera.camera_from_grid[0] @ torch.tensor([*point, 1.0])
    u, v, w = (
        camera.intrinsics[0]
        @ (seen[:3] if not camera.orthographic else torch.tensor([*seen[:2], 1.0]))
    ).tolist()
    return [u / w, v / w, seen[2].item()]


def test_a_sensor_stays_where_it_is():
    found = drawn("sensor")[0].camera_from_grid
    torch.testing.assert_close(found, sensors(1).camera_from_grid, atol=1e-6, rtol=0)


def test_lifted_is_two_metres_up_and_no_more():
    _, pose = drawn("lifted")
    assert pose[:3, 3] == pytest.approx([0, 0, 3])
    assert pose[:3, 2] == pytest.approx([0, 1, 0], abs=1e-6)


def test_elevated_looks_down():
    _, pose = drawn("elevated", seed=3)
    assert pose[:3, 3] == pytest.approx([0, 0, 9], abs=1e-5)
    # 20 degrees below the horizon
    assert pose[2, 2] == pytest.approx(-math.sin(math.radians(20)), abs=1e-6)
    assert abs(math.degrees(math.atan2(pose[0, 2], pose[1, 2]))) <= 5 + 1e-4


def test_around_moves_by_up_to_half_the_range():
    positions = np.stack([drawn("elevated_around", seed)[1][:3, 3] for seed in range(50)])
    assert np.abs(positions[:, :2]).max() <= 4 and np.abs(positions[:, :2]).max() > 3  # half of 8 m
    assert positions[:, 2] == pytest.approx([9.0] * 50, abs=1e-5)


def test_random_is_anywhere_in_the_scene():
    positions = np.stack([drawn("random", seed)[1][:3, 3] for seed in range(50)])
    assert positions[:, :2].min() < -6 and positions[:, :2].max() > 6
    assert np.abs(positions[:, :2]).max() <= 8


def test_dynamic_looks_at_its_target():
    target = torch.tensor([3.0, -2.0, 0.5])
    for seed in range(5):
        camera, _ = drawn("dynamic", seed, target=target)
        assert pixel(camera, target.tolist())[:2] == pytest.approx([31.5, 23.5], abs=1e-3)
    with pytest.raises(ValueError, match="target"):
        drawn("dynamic")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_poses_are_rigid_and_repeat(strategy: str):
    target = torch.tensor([3.0, -2.0, 0.5])
    one, pose = drawn(strategy, 7, target=target)
    assert pose[:3, :3] @ pose[:3, :3].T == pytest.approx(np.eye(3), abs=1e-5)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1, abs=1e-5)
    assert torch.equal(one.camera_from_grid, drawn(strategy, 7, target=target)[0].camera_from_grid)


def test_cameras_are_drawn_by_their_weights():
    random = np.random.default_rng(0)
    forward = sum(
        virtual_camera("sensor", sensors(), torch.tensor([3.0, 1.0]), GRID, random)
        .camera_from_grid[0, 2, 1]
        .item()
        > 0
        for _ in range(400)
    )
    assert 270 < forward < 330  # 3/4 of 400, four standard deviations of 8.7 to either side


def test_the_bird_s_eye_camera_sees_the_whole_grid_to_scale():
    """Two pixels a voxel: 64 x 64. The corner x = -8, y = 8 is at the upper left edge of pixel (0,
    0): -0.5.
    """
    camera = bev_camera(GRID)
    assert camera.size == (64, 64)
    assert pixel(camera, [-8.0, 8.0, 2.0]) == pytest.approx([-0.5, -0.5, 1.0])
    assert pixel(camera, [8.0, -8.0, -2.0]) == pytest.approx([63.5, 63.5, 5.0])


def test_the_bird_s_eye_camera_of_the_authors_code_is_a_pinhole():
    """16 m up, focal length as wide as the image: 16 m on the ground fill its 400 pixels."""
    camera = bev_pinhole(GRID)
    assert pixel(camera, [-8.0, 8.0, 0.0]) == pytest.approx([-0.5, -0.5, 16.0])
    assert pixel(replace(camera), [8.0, -8.0, 0.0]) == pytest.approx([399.5, 399.5, 16.0])


def test_the_pinhole_sees_the_whole_of_a_grid_ahead_of_the_origin():
    """KITTI's: x from 0 to 51.2 m, y from -25.6 to 25.6 m. From 51.2 m up the corners of the grid
    are those of the image.
    """
    grid = VoxelGrid((0.0, -25.6, -2.0, 51.2, 25.6, 4.4), 0.8)
    camera = bev_pinhole(grid)
    # float32 and a division near 51.2
    assert pixel(camera, [0.0, 25.6, 0.0]) == pytest.approx([-0.5, -0.5, 51.2], abs=1e-3)
    assert pixel(camera, [51.2, -25.6, 0.0]) == pytest.approx([399.5, 399.5, 51.2], abs=1e-3)
    floor = torch.zeros(grid.shape, dtype=torch.uint8)
    floor[:, :, 2] = 7  # 0.4 m below the origin: 0.8 % farther, so that a rim of 2 pixels is empty
    image = render(true_gaussians(floor, 19, grid), bev_pinhole(grid, pixels=100))
    assert (image.semantics[7] > 0.5).float().mean() > 0.9


def test_the_worst_location_is_where_the_errors_are():
    errors = torch.zeros(GRID.shape)
    errors[24:32, 0:8] = 1.0  # x 4 .. 8 m, y -8 .. -4 m
    assert worst_location(errors, GRID).tolist() == pytest.approx([6.0, -6.0, 0.0])
