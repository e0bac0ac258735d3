from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from training.learning.augment import AugmentConfig
from training.learning.examples import TrainingExamples, collate, count_voxels, drives


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


def test_a_key_always_gives_the_same_example(frames: NuScenesFrames):
    examples = TrainingExamples(frames, 2, AugmentConfig(), seed=5)
    first, again, other_epoch = examples[0, 1], examples[0, 1], examples[1, 1]
    assert torch.equal(first.frame.points[0], again.frame.points[0]) and torch.equal(
        first.labels, again.labels
    )
    assert torch.equal(first.frame.images, again.frame.images)
    assert not torch.equal(first.frame.images, other_epoch.frame.images)


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
