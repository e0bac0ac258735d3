from pathlib import Path

import numpy as np
import pytest
import torch

from occ_core.datasets.frames import NuScenesFrames
from occ_core.model import debug
from training.augment import AugmentConfig
from training.data import StepSampler, TrainingExamples, collate, count_voxels


@pytest.fixture(scope="module")
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)


def test_every_epoch_visits_every_example_once_in_its_own_order():
    keys = [key for batch in StepSampler(length=5, batch_size=2, steps=5, seed=3) for key in batch]  # 10 = two epochs of 5
    assert [epoch for epoch, _ in keys] == [0] * 5 + [1] * 5
    first, second = [index for _, index in keys[:5]], [index for _, index in keys[5:]]
    assert sorted(first) == sorted(second) == list(range(5)) and first != second


def test_sampler_resumes_where_it_stopped():
    whole = list(StepSampler(length=7, batch_size=3, steps=10, seed=1))
    assert list(StepSampler(length=7, batch_size=3, steps=10, seed=1, first_step=4)) == whole[4:]


def test_an_empty_set_is_an_error():
    with pytest.raises(ValueError, match="training set is empty"):
        StepSampler(0, 1, 1, 0)


def test_a_key_gives_the_same_example_for_ever(frames: NuScenesFrames):
    examples = TrainingExamples(frames, 2, AugmentConfig(), seed=5)
    first, again, other_epoch = examples[0, 1], examples[0, 1], examples[1, 1]
    assert torch.equal(first.frame.points[0], again.frame.points[0]) and torch.equal(first.labels, again.labels)
    assert torch.equal(first.frame.images, again.frame.images)
    assert not torch.equal(first.frame.images, other_epoch.frame.images)


def test_shapes_of_a_batch(frames: NuScenesFrames):
    examples = TrainingExamples(frames, 2, None, seed=0)
    batch = collate([examples[0, 0], examples[0, 1]])
    assert batch.labels.shape == (2, 100, 100, 8) and batch.coarse_labels.shape == (2, 50, 50, 4)
    assert batch.frame.images.shape[:2] == (2, 6) and len(batch.frame.points) == 2


def test_voxels_are_counted_over_all_keyframes(frames: NuScenesFrames):
    counts = count_voxels(frames)
    expected = sum(np.bincount(frames.labels(index)[frames.labels(index) != 255], minlength=17) for index in range(len(frames)))
    assert counts.tolist() == expected.tolist()
    assert counts[11] > counts[4] > 0  # much road, one car
