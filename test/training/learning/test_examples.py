from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from training.learning.augment import AugmentConfig
from training.learning.examples import (
    ClipSampler,
    StepSampler,
    TrainingExamples,
    collate,
    count_voxels,
    drives,
)


@pytest.fixture(scope="module")
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)


def test_every_epoch_visits_every_example_once_in_its_own_order():
    keys = [
        key for batch in StepSampler(length=5, batch_size=2, steps=5, seed=3) for key in batch
    ]  # 10 = two epochs of 5
    assert [epoch for epoch, _ in keys] == [0] * 5 + [1] * 5
    first, second = [index for _, index in keys[:5]], [index for _, index in keys[5:]]
    assert sorted(first) == sorted(second) == list(range(5)) and first != second


def test_sampler_resumes_where_it_stopped():
    whole = list(StepSampler(length=7, batch_size=3, steps=10, seed=1))
    assert list(StepSampler(length=7, batch_size=3, steps=10, seed=1, first_step=4)) == whole[4:]


def test_an_empty_set_is_an_error():
    with pytest.raises(ValueError, match="training set is empty"):
        StepSampler(0, 1, 1, 0)
    with pytest.raises(ValueError, match="training set is empty"):
        ClipSampler([], 2, 1, 2, 1, 0)


def test_clips_go_through_drives_in_order_and_take_turns():
    """Three drives of 3, 2 and 4 keyframes, clips of 2: drives make 2, 1 and 2 clips, 5 an epoch."""
    sampler = ClipSampler(
        [[0, 1, 2], [3, 4], [5, 6, 7, 8]], streams=2, batch_size=1, clip=2, steps=40, seed=0
    )
    clips = list(sampler)
    assert len(clips) == len(sampler) == 40
    whole = {0: [[0, 1], [2]], 3: [[3, 4]], 5: [[5, 6], [7, 8]]}
    for stream in range(2):
        left = [[index for _, index in clip] for clip in clips[stream::2]]
        while left:
            expected = whole[left[0][0]]
            assert (
                left[: len(expected)] == expected[: len(left)]
            )  # the last drive may be cut by the end
            left = left[len(expected) :]
    first_epoch = {index for clip in clips for epoch, index in clip if epoch == 0}
    assert first_epoch == set(range(9))


def test_a_step_advances_several_drives():
    """Three streams of one drive each, two at a time: streams 0 and 1, then 2 and 0, then 1 and 2."""
    drives = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    steps = list(ClipSampler(drives, streams=3, batch_size=2, clip=1, steps=3, seed=0))
    (_, a), (_, b) = steps[0]
    (_, c), (_, second_of_a) = steps[1]
    assert {a, b, c} == {0, 3, 6} and second_of_a == a + 1
    assert [index for _, index in steps[2]] == [b + 1, c + 1]


def test_clip_sampler_resumes_where_it_stopped():
    arguments = {
        "drives": [[0, 1, 2], [3, 4]],
        "streams": 8,
        "batch_size": 2,
        "clip": 2,
        "steps": 11,
        "seed": 1,
    }
    assert list(ClipSampler(**arguments, first_step=5)) == list(ClipSampler(**arguments))[5:]


def test_keyframes_of_a_drive_are_mirrored_alike(frames: NuScenesFrames):
    """What a drive's two keyframes share beyond the flips is drawn for each alone."""
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
    assert [examples[0, index].ends_drive for index in range(6)] == [
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_a_key_gives_the_same_example_for_ever(frames: NuScenesFrames):
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
