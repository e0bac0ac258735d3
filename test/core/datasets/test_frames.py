"""Frames: what the model gets, from files or from a robot's memory."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from occ_core.datasets.frames import NuScenesFrames, frame_from_sensors
from occ_core.datasets.surroundocc import label_path, mask_path, write_labels, write_masks
from occ_core.types import DriveContext, collate_frames
from occ_core.voxel_grid import SURROUNDOCC_GRID, VoxelGrid

SIZE = (16, 32)


def sensors(**changes) -> dict:
    """Two cameras, one point."""
    return {
        "images": [
            np.full((32, 64, 3), 50, dtype=np.uint8),
            np.full((16, 32, 3), 60, dtype=np.uint8),
        ],
        "intrinsics": [np.array([[40.0, 0, 31.5], [0, 40, 15.5], [0, 0, 1]])] * 2,
        "grid_from_camera": [np.diag([1.0, 2, 2, 1])] * 2,
        "points": np.array([[1, 2, 3, 4, 0]], dtype=np.float32),
        "world_from_grid": np.eye(4),
        "stamp_ns": 5,
        "context": DriveContext("rain", "boston-seaport"),
        "image_size": SIZE,
    } | changes


def test_a_frame_from_sensors():
    frame = frame_from_sensors(**sensors())
    assert frame.images.shape == (1, 2, 3, *SIZE) and frame.images.dtype == torch.uint8
    assert frame.images[0, :, 0, 0, 0].tolist() == [50, 60]
    assert frame.camera_mask.tolist() == [[True, True]]
    # The first image was halved: c = (31.5 + 0.5) / 2 - 0.5.
    assert_allclose(frame.intrinsics[0, 0], [[20, 0, 15.5], [0, 20, 7.5], [0, 0, 1]])
    assert_allclose(frame.intrinsics[0, 1], [[40, 0, 31.5], [0, 40, 15.5], [0, 0, 1]])
    assert (
        frame.intrinsics.dtype
        == frame.grid_from_camera.dtype
        == frame.points[0].dtype
        == torch.float32
    )
    assert frame.world_from_grid.dtype == torch.float64
    assert (frame.stamp_ns, frame.context) == ((5,), (DriveContext("rain", "boston-seaport"),))


@pytest.mark.parametrize("missing", ["images", "intrinsics", "grid_from_camera"])
def test_a_camera_that_lacks_anything_is_masked(missing):
    inputs = sensors()
    inputs[missing] = [inputs[missing][0], None]
    frame = frame_from_sensors(**inputs)
    assert frame.camera_mask.tolist() == [[True, False]]
    assert (frame.images[0, 1] == 0).all()
    assert (frame.intrinsics[0, 1] == torch.eye(3)).all()
    assert (frame.grid_from_camera[0, 1] == torch.eye(4)).all()
    assert (frame.images[0, 0] == 50).all()


def test_all_cameras_masked_and_no_points():
    frame = frame_from_sensors(
        **sensors(images=[None, None], points=np.zeros((0, 5), dtype=np.float32))
    )
    assert not frame.camera_mask.any()
    assert frame.points[0].shape == (0, 5)


def test_a_frame_does_not_share_the_sensors_memory():
    inputs = sensors()
    frame = frame_from_sensors(**inputs)
    inputs["images"][1][:] = 0
    inputs["world_from_grid"][:] = 0
    assert (frame.images[0, 1] == 60).all() and frame.world_from_grid[0, 0, 0] == 1


def test_wrong_sensors_are_refused():
    with pytest.raises(ValueError, match="got 1 images, 2 intrinsics, 2 poses"):
        frame_from_sensors(**sensors(images=[None]))
    with pytest.raises(ValueError, match=r"points must be \[M, 5\].*got \[3, 4\]"):
        frame_from_sensors(**sensors(points=np.zeros((3, 4), dtype=np.float32)))


def test_poses_make_up_for_the_time_between_camera_and_lidar(tiny_nuscenes):
    frame, _ = NuScenesFrames(tiny_nuscenes, image_size=SIZE)[0]
    # The camera sits 0.5 m ahead of the LiDAR and 0.3 m below, and its image is 0.1 s later, 1 m
    # further along the LiDAR's y.
    assert_allclose(
        frame.grid_from_camera[0, 1] @ torch.tensor([0.0, 0, 0, 1]), [0, 1.5, -0.3, 1], atol=1e-5
    )
    # 10 m ahead of the camera is along the LiDAR's y; right is x; down is -z.
    assert_allclose(
        frame.grid_from_camera[0, 1] @ torch.tensor([2.0, 3, 10, 1]), [2, 11.5, -3.3, 1], atol=1e-5
    )
    assert_allclose(
        frame.world_from_grid[0] @ torch.tensor([0.0, 20, 0, 1], dtype=torch.float64),
        [1021, 500, 1.8, 1],
    )


def test_sweeps_of_a_drive(tiny_nuscenes):
    first, second = (NuScenesFrames(tiny_nuscenes)[index][0].points[0].numpy() for index in (0, 1))
    # Of four points the drop-out and the bonnet are left out.
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


def test_what_a_camera_reached_is_known_where_there_are_masks(tiny_nuscenes):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    assert frames.visible(0) is None
    by_lidar, by_camera = (
        np.ones(SURROUNDOCC_GRID.shape, dtype=bool),
        np.zeros(SURROUNDOCC_GRID.shape, dtype=bool),
    )
    by_camera[7, 9, 2] = True
    write_masks(mask_path(tiny_nuscenes, frames.keyframes[0].lidar.path), by_lidar, by_camera)
    assert frames.visible(0).nonzero().tolist() == [[7, 9, 2]]  # the camera's, not the LiDAR's
    coarse = NuScenesFrames(tiny_nuscenes, image_size=SIZE, grid=SURROUNDOCC_GRID.coarser(4))
    assert coarse.visible(0).nonzero().tolist() == [[1, 2, 0]]  # one part of 64 is enough


def test_a_grid_that_the_labels_do_not_have_is_refused(tiny_nuscenes):
    with pytest.raises(ValueError, match="labels exist for"):
        NuScenesFrames(tiny_nuscenes, grid=VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 8.0), 0.5))


@pytest.mark.parametrize(
    "break_file",
    [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-30])],
)
def test_an_unreadable_image_masks_its_camera_with_a_warning(tiny_nuscenes, break_file):
    frames = NuScenesFrames(tiny_nuscenes, image_size=SIZE)
    break_file(frames.keyframes[0].cameras["CAM_FRONT_RIGHT"].path)
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
    # Front camera, 1600 x 900 to 352 x 198, then 70 rows cropped: f = 1266.417 * 0.22, cx = 816.767
    # * 0.22 - 0.5,
    # cy = 492.007 * 0.22 - 0.5 - 70.
    assert_allclose(
        frame.intrinsics[0, 1],
        [[278.6118, 0, 179.1888], [0, 278.6118, 37.7416], [0, 0, 1]],
        atol=1e-3,
    )
    assert frame.points[0].shape[0] > 20_000 and torch.isfinite(frame.points[0]).all()
    assert frame.images.float().std() > 30
