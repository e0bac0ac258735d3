import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from official_layouts import write_occ3d
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.preprocessing.masked_inputs import mask_inputs
from training.learning.augment import AugmentConfig, other_sensors
from training.learning.examples import TrainingExamples, collate, count_voxels, drives, sweep_poses


@pytest.fixture(scope="module")
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)


def test_keyframes_of_a_drive_are_mirrored_alike(frames: NuScenesFrames):
    """Only flips are drawn per drive; everything else is drawn for each keyframe."""
    only_flips = AugmentConfig(
        drop_points=0, range_noise_m=0, drop_camera=0, drop_all_cameras=0, drop_lidar=0
    )
    examples = TrainingExamples(frames, 2, only_flips, seed=5, whole_drives=True)
    assert drives(frames) == [[0, 1], [2, 3], [4, 5]]
    mirrors = []
    for epoch in range(8):
        signs = [examples[epoch, index].frame.world_from_grid[0, :3, :3] for index in (0, 1)]
        original = [frames[index][0].world_from_grid[0, :3, :3] for index in (0, 1)]
        flips = [
            (was.T @ now).diagonal().round().tolist()
            for was, now in zip(original, signs, strict=True)
        ]
        assert flips[0] == flips[1]
        mirrors.append(flips[0])
    assert len({tuple(mirror) for mirror in mirrors}) > 1
    assert [examples[3, index].drive for index in range(4)] == [(3, 0), (3, 0), (3, 2), (3, 2)]
    assert [examples[0, index].ends_drive for index in range(6)] == [False, True] * 3


def test_the_grid_of_a_drive_is_turned_and_lifted_as_one(frames: NuScenesFrames):
    config = AugmentConfig(quarter_turn=0.75, lift_voxels=1)
    examples = TrainingExamples(frames, 2, config, seed=5, whole_drives=True)
    found = set()
    for number in range(12):
        moves = []
        for index in (0, 1):
            stored, varied = frames[index][0], examples[number, index].frame
            move = torch.linalg.inv(stored.world_from_grid[0]) @ varied.world_from_grid[0]
            moves.append(tuple((move * 10).round().flatten().tolist()))
        assert moves[0] == moves[1]
        found.add(moves[0])
    assert len(found) > 6  # of 8 symmetries x 3 heights


@pytest.mark.parametrize("config", [AugmentConfig(), other_sensors()])
def test_a_key_always_gives_the_same_example(frames: NuScenesFrames, config: AugmentConfig):
    examples = TrainingExamples(frames, 2, config, seed=5)
    first, again, other_pass = examples[0, 1], examples[0, 1], examples[1, 1]
    for name in ("images", "camera_mask", "intrinsics", "grid_from_camera", "world_from_grid"):
        assert torch.equal(getattr(first.frame, name), getattr(again.frame, name))
    assert torch.equal(first.frame.points[0], again.frame.points[0])
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.frame.images, other_pass.frame.images)
    other_seed = TrainingExamples(frames, 2, config, seed=6)
    assert not torch.equal(first.frame.images, other_seed[0, 1].frame.images)


def test_sweeps_were_measured_where_the_car_was(frames: NuScenesFrames):
    """The car of the first drive goes at 2 m/s: a sweep of age t was taken 2 t behind."""
    keyframe = frames.keyframes[1]
    newest, *earlier = sweep_poses(frames.sweeps(1), frames.world_from_grid(1))
    assert newest.age_s == 0 and len(earlier) == len(keyframe.sweeps) > 0
    np.testing.assert_allclose(newest.grid_from_sensor, np.eye(4), atol=1e-9)
    for age_s, pose in earlier:
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(2 * age_s, rel=0.05)
    ages_s = {0.0, *(round(each.age_s, 3) for each in earlier)}
    assert set(np.unique(frames[1][0].points[0][:, 4].numpy().round(3))) <= {
        np.float32(age_s) for age_s in ages_s
    }


def test_speeds_follow_the_grid_of_the_example(
    frames: NuScenesFrames, monkeypatch: pytest.MonkeyPatch
):
    """The renderer gets how the grid was mirrored, turned and lifted since it was stored."""
    received = []
    monkeypatch.setattr(
        "training.learning.examples.sky_and_motion",
        lambda _frames, _index, _frame, grid_from_stored, _grid: received.append(grid_from_stored),
    )
    config = AugmentConfig(quarter_turn=0.75, lift_voxels=1, drop_lidar=0, drop_camera=0)
    examples = TrainingExamples(frames, 2, config, seed=5, rendered=debug().coarse_grid)
    for number in range(6):
        varied = examples[number, 0].frame
        stored = frames[0][0]
        expected = varied.grid_from_camera[0, 0] @ torch.linalg.inv(stored.grid_from_camera[0, 0])
        np.testing.assert_allclose(received[-1], expected.numpy(), atol=1e-4)
        assert set(np.unique(np.abs(received[-1][:3, :3]))) == {0.0, 1.0}
        assert received[-1][2, 3] in (-1.0, 0.0, 1.0)  # voxels of 1 m


def test_shapes_of_a_batch(frames: NuScenesFrames):
    examples = TrainingExamples(frames, 2, None, seed=0)
    batch = collate([examples[0, 0], examples[0, 1]])
    assert batch.labels.shape == (2, 100, 100, 8) and batch.coarse_labels.shape == (2, 50, 50, 4)
    assert batch.frame.images.shape[:2] == (2, 6) and len(batch.frame.points) == 2


def test_voxels_are_counted_over_all_keyframes(frames: NuScenesFrames):
    counts = count_voxels(frames)
    expected = sum(
        np.bincount(frames.labels(index)[frames.labels(index) != 255], minlength=17)
        for index in range(len(frames))
    )
    assert counts.tolist() == expected.tolist()
    assert counts[11] > counts[4] > 0  # much road, one car


def test_the_nearest_intact_keyframe_stands_in_for_a_damaged_one(
    box_town: Path, tmp_path: Path
) -> None:
    """Of the first drive's two keyframes the second has lost the end of its labels."""
    root = tmp_path / "town"
    shutil.copytree(box_town, root)
    size, grid = debug().image_size, debug().grid
    stopping = TrainingExamples(NuScenesFrames(root, image_size=size, grid=grid), 2, None, seed=0)
    path = stopping.frames.label_path(1)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match=re.escape(path.name)):
        stopping[0, 1]
    going_on = NuScenesFrames(root, image_size=size, grid=grid, damaged="skip")
    examples = TrainingExamples(going_on, 2, None, seed=0)
    with pytest.warns(UserWarning, match="left out, 1 keyframes so far"):
        instead = examples[0, 1]
    assert torch.equal(instead.labels, examples[0, 0].labels)
    assert instead.ends_drive and not examples[0, 0].ends_drive  # its place is the damaged one's
    with pytest.warns(UserWarning, match="taken as without labels: .*npy"):
        assert going_on.labels(1) is None
    going_on.label_path(0).unlink()
    with (
        pytest.warns(UserWarning, match="left out, 2 keyframes so far"),
        pytest.raises(ValueError, match="no keyframe of scene-box-0 can be read"),
    ):
        examples[0, 0]


def test_examples_of_occ3d_lie_in_the_vehicles_frame(tmp_path: Path) -> None:
    """17 is free there: one car in a voxel of 0.4 m remains alone in the coarse ones."""
    benchmark = BENCHMARKS["occ3d"]
    labels = np.full(benchmark.grid.shape, 17, dtype=np.uint8)
    labels[8, 12, 4] = 4
    seen = np.ones(labels.shape, dtype=bool)
    root = write_tiny_nuscenes(tmp_path)
    write_occ3d(root / "gts" / "scene-0061" / "key3" / "labels.npz", labels, seen, seen)
    grid = benchmark.grid.coarser(2)
    frames = NuScenesFrames(root, image_size=(32, 64), grid=grid, benchmark="occ3d")
    example = TrainingExamples(frames, 2, AugmentConfig(), seed=0, empty=17)[0, 1]
    assert example.labels.shape == (1, 100, 100, 8)
    plain = TrainingExamples(frames, 2, None, seed=0, empty=17)[0, 1]
    # (8, 12, 4) / 2 = (4, 6, 2), and again (2, 3, 1)
    assert (plain.labels != 17).nonzero().tolist() == [[0, 4, 6, 2]]
    assert (plain.coarse_labels != 17).nonzero().tolist() == [[0, 2, 3, 1]]
    newest, before, *_ = sweep_poses(frames.sweeps(1), frames.world_from_grid(1))
    # The LiDAR stands at (1, 0, 1.8) of the vehicle, and 0.1 s earlier 1 m further back.
    np.testing.assert_allclose(newest.grid_from_sensor[:3, 3], [1, 0, 1.8], atol=1e-9)
    np.testing.assert_allclose(before.grid_from_sensor[:3, 3], [0, 0, 1.8], atol=1e-9)


def test_inputs_are_masked_if_asked_for(frames: NuScenesFrames):
    """Before anything is varied, since the sky is found in the images as they were taken."""
    (example, plain) = (
        TrainingExamples(frames, 2, None, seed=0, masked_inputs=masked)[0, 0].frame
        for masked in (True, False)
    )
    expected = mask_inputs(plain)
    assert torch.equal(example.images, expected.images)
    assert torch.equal(example.points[0], expected.points[0])
    assert not torch.equal(example.images, plain.images)
