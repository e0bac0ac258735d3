import torch

from occ_core.interface import CameraFeatures
from occ_core.losses.image_classes import image_class_loss, image_class_targets
from occ_core.voxel_grid import VoxelGrid

GRID = VoxelGrid((-8.0, 0.0, -4.0, 8.0, 16.0, 4.0), 1.0)
STRIDE = 8
# The camera looks along +y of the grid: x right = grid x, y down = -grid z, z forward = grid y.
GRID_FROM_CAMERA = torch.tensor([[1.0, 0, 0, 0], [0, 0, 1, 0.5], [0, -1, 0, 0], [0, 0, 0, 1]])
# 32 x 32 pixels, 4 x 4 cells; the principal point is in the middle
INTRINSICS = torch.tensor([[32.0, 0, 15.5], [0, 32.0, 15.5], [0, 0, 1]])
CAR, ROAD, IGNORE = 4, 11, 255


def camera(*poses: torch.Tensor) -> CameraFeatures:
    count = len(poses)
    return CameraFeatures(
        torch.zeros(count, 5, 4, 4),
        INTRINSICS.expand(count, 3, 3),
        torch.stack(poses),
        torch.zeros(count, dtype=torch.long),
    )


def test_a_cell_shows_the_first_voxel_on_its_ray():
    """Cell (row 2, column 2) has its centre at pixel (19.5, 19.5): its ray is (0.125, 1, -0.125).
    A wall of cars at y = 8..9 m is met where x = 0.94..1.06 m; a ground voxel in front of it, at
    y = 4..5 m, x = 0.44..0.56 m, z = -0.44..-0.56 m, hides it.
    """
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[0, :, 8] = CAR
    target = image_class_targets(labels, GRID, camera(GRID_FROM_CAMERA), STRIDE)
    assert target.tolist() == [[[CAR] * 4] * 4]
    labels[0, 8, 4, 3] = ROAD  # x = 0..1 m, z = -1..0 m
    target = image_class_targets(labels, GRID, camera(GRID_FROM_CAMERA), STRIDE)
    assert target[0, 2, 2] == ROAD and (target == CAR).sum() == 15


def test_cells_without_a_voxel_and_cameras_outside_the_grid_are_ignored():
    outside = GRID_FROM_CAMERA.clone()
    outside[1, 3] = -3.0
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[0, :8, 8] = CAR  # x < 0: the left half of the image
    target = image_class_targets(labels, GRID, camera(GRID_FROM_CAMERA, outside), STRIDE)
    assert target[0].tolist() == [[CAR, CAR, IGNORE, IGNORE]] * 4
    assert (target[1] == IGNORE).all()


def test_rays_pass_through_ignored_voxels():
    labels = torch.zeros(1, *GRID.shape, dtype=torch.uint8)
    labels[0, :, 5], labels[0, :, 8] = IGNORE, CAR
    target = image_class_targets(labels, GRID, camera(GRID_FROM_CAMERA), STRIDE)
    assert (target == CAR).all()


def test_the_loss_is_a_weighted_mean_over_the_cells_with_a_target():
    """Uniform logits over 17 classes: log 17, whatever the weights; 0 without a target."""
    logits = torch.zeros(1, 17, 4, 4, requires_grad=True)
    target = torch.full((1, 4, 4), IGNORE)
    weights = torch.linspace(0.5, 2.0, 17)
    assert image_class_loss(logits, target, weights) == 0
    target[0, 1, 2], target[0, 3, 3] = CAR, ROAD
    loss = image_class_loss(logits, target, weights)
    torch.testing.assert_close(loss, torch.tensor(17.0).log())
    loss.backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum(dim=1).nonzero()[:, 1:].tolist()
    assert touched == [[1, 2], [3, 3]]
