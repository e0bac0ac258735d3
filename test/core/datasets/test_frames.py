"""Frames and labels of nuScenes keyframes, read from files."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.surroundocc import label_path, mask_path, write_labels, write_masks
from occ_core.types import collate_frames
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

SIZE = (16, 32)


def test_poses_compensate_for_the_time_between_camera_and_lidar(tiny_nuscenes):
    frame, _ = NuScenesFrames(tiny_nuscenes, image_size=SIZE)[0]
    grid_from_camera = frame.grid_from_camera[0, 1]
    # The camera sits 0.5 m ahead of the LiDAR and 0.3 m below it, and its image was taken 0.1 s
    # later, 1 m further along the LiDAR's y.
    camera = grid_from_camera @ torch.tensor([0.0, 0, 0, 1])
    assert_allclose(camera, [0, 1.5, -0.3, 1], atol=1e-5)
    # 10 m ahead of the camera is along the LiDAR's y; right is x; down is -z.
    point = grid_from_camera @ torch.tensor([2.0, 3, 10, 1])
    assert_allclose(point, [2, 11.5, -3.3, 1], atol=1e-5)
    ahead = frame.world_from_grid[0] @ torch.tensor([0.0, 20, 0, 1], dtype=torch.float64)
    assert_allclose(ahead, [1021, 500, 1.8, 1])


def test_sweeps_of_a_drive(tiny_nuscenes):
    first, second = (NuScenesFrames(tiny_nuscenes)[index][0].points[0].numpy() for index in (0, 1))
    # The drop-out and the point on the bonnet are left out.
    assert_allclose(first, [[0, 20, -1, 7, 0], [5, 0, 1, 9, 0]], atol=1e-5)
    # Second keyframe at 0.5 s: the sweeps of 0, 0.2, 0.4 s were taken 5, 3, 1 m behind.
    assert_allclose(second[:, 4], [0.5, 0.5, 0.3, 0.3, 0.1, 0.1, 0, 0], atol=1e-6)
    assert_allclose(second[::2, 1], [15, 17, 19, 20], atol=1e-5)
    assert len(NuScenesFrames(tiny_nuscenes, sweeps=0)[1][0].points[0]) == 2


def test_labels_come_with_the_frame(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    assert len(frames) == 2 and frames[0][1] is None
    labels = np.zeros(SURROUNDOCC_GRID.shape, dtype=np.uint8)
    labels[100, 140, 8] = 4
    write_labels(label_path(tiny_nuscenes, frames.keyframes[0].lidar.path), labels)
    assert (frames[0][1] == torch.from_numpy(labels)).all()
    coarse = NuScenesFrames(tiny_nuscenes, image_size=SIZE, grid=SURROUNDOCC_GRID.coarser(4))[0][1]
    assert coarse.shape == (50, 50, 4) and coarse[25, 35, 2] == 4 and coarse.sum() == 4


def test_visible_voxels_where_there_are_masks(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    assert frames.visible(0) is None
    by_lidar = np.ones(SURROUNDOCC_GRID.shape, dtype=bool)
    by_camera = np.zeros(SURROUNDOCC_GRID.shape, dtype=bool)
    by_camera[7, 9, 2] = True
    write_masks(mask_path(tiny_nuscenes, frames.keyframes[0].lidar.path), by_lidar, by_camera)
    assert frames.visible(0).nonzero().tolist() == [[7, 9, 2]]  # the camera's, not the LiDAR's
    coarse = NuScenesFrames(tiny_nuscenes, image_size=SIZE, grid=SURROUNDOCC_GRID.coarser(4))
    assert coarse.visible(0).nonzero().tolist() == [[1, 2, 0]]  # one of its 64 parts is enough


def test_a_grid_without_labels_is_refused(tiny_nuscenes):
    with pytest.raises(ValueError, match="the grid must be that of surroundocc"):
        NuScenesFrames(tiny_nuscenes, grid=VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 8.0), 0.5))


def test_a_damaged_image_is_an_error_that_names_it(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    path = frames.keyframes[0].cameras["CAM_FRONT_RIGHT"].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"CAM_FRONT_RIGHT/key0\.jpg: .*truncated"):
        frames[0]


def test_a_missing_image_masks_its_camera_with_a_warning(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    frames.keyframes[0].cameras["CAM_FRONT_RIGHT"].path.unlink()
    with pytest.warns(UserWarning, match="CAM_FRONT_RIGHT is masked: .*key0.jpg"):
        frame, _ = frames[0]
    assert frame.camera_mask.tolist() == [[True, True, False, True, True, True]]
    assert (frame.images[0, 2] == 0).all() and (frame.images[0, 1] > 0).any()


def test_a_camera_that_the_tables_lack_is_masked(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    del frames.keyframes[0].cameras["CAM_BACK"]
    assert frames[0][0].camera_mask.tolist() == [[True, True, True, True, False, True]]


def test_a_missing_sweep_is_an_error(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    frames.keyframes[1].sweeps[0].path.unlink()
    frames[0]
    with pytest.raises(FileNotFoundError, match="sweep2.pcd.bin is missing"):
        frames[1]


def test_frames_batch(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    batch = collate_frames([frames[0][0], frames[1][0]])
    assert batch.images.shape == (2, 6, 3, *SIZE)
    assert [len(points) for points in batch.points] == [2, 8]


def test_the_real_keyframe(real_data):
    frame, labels = NuScenesFrames(real_data, image_size=(128, 352))[0]
    assert labels is None
    assert frame.camera_mask.all()
    # Front camera, 1600 x 900 to 352 x 198, then 70 rows cropped: f = 1266.417 * 0.22,
    # cx = (816.267 + 0.5) * 0.22 - 0.5, cy = (491.507 + 0.5) * 0.22 - 0.5 - 70.
    assert_allclose(
        frame.intrinsics[0, 1],
        [[278.6118, 0, 179.1888], [0, 278.6118, 37.7416], [0, 0, 1]],
        atol=1e-3,
    )
    assert frame.points[0].shape[0] > 20_000 and torch.isfinite(frame.points[0]).all()
    assert frame.images.float().std() > 30
