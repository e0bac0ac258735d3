from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.learning.samplers import ClipSampler, StepSampler


def test_every_epoch_visits_every_example_once_in_its_own_order():
    sampler = StepSampler(length=5, batch_size=2, steps=5, seed=3)
    keys = [key for batch in sampler for key in batch]  # 10: two epochs of 5
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
    """Drives of 3, 2 and 4 keyframes, clips of 2: they make 2, 1 and 2 clips, 5 per epoch."""
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
            # the end may cut the last drive short
            assert left[: len(expected)] == expected[: len(left)]
            left = left[len(expected) :]
    first_epoch = {index for clip in clips for epoch, index in clip if epoch == 0}
    assert first_epoch == set(range(9))


def test_a_step_advances_several_drives():
    """Three streams of one drive each, two per step: streams 0 and 1, 2 and 0, 1 and 2."""
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


def test_examples_are_repeated_as_often_as_they_should():
    """Twice, one and a half times and once: 400 epochs take 800, 600 +- 40 (4 sigma of 10) and 400
    draws, and every draw is a pass of its own.
    """
    repeats = np.array([2.0, 1.5, 1.0])
    steps = 1800
    keys = [key for batch in StepSampler(3, 1, steps, seed=0, repeats=repeats) for key in batch]
    assert len(set(keys)) == steps
    counts = np.bincount([index for _, index in keys])
    np.testing.assert_allclose(counts, [800, 600, 400], atol=45)
    for index in range(3):
        assert [number for number, each in keys if each == index] == list(range(counts[index]))


def test_repeats_of_one_change_nothing():
    assert list(StepSampler(7, 2, 30, 5, repeats=np.ones(7))) == list(StepSampler(7, 2, 30, 5))


@given(
    repeats=st.lists(st.floats(1, 4), min_size=1, max_size=6),
    batch_size=st.integers(1, 4),
    first_step=st.integers(0, 20),
    seed=st.integers(0, 2**31),
)
def test_repeating_samplers_resume_where_they_stopped(
    repeats: list[float], batch_size: int, first_step: int, seed: int
):
    numbers = np.array(repeats)
    length = len(repeats)
    whole, rest = (
        list(StepSampler(length, batch_size, 20, seed, first, numbers)) for first in (0, first_step)
    )
    assert rest == whole[first_step:] and all(len(batch) == batch_size for batch in whole)
    drives = [[3 * number, 3 * number + 1, 3 * number + 2] for number in range(length)]
    whole, rest = (
        list(ClipSampler(drives, 2, batch_size, 2, 20, seed, first, numbers))
        for first in (0, first_step)
    )
    assert rest == whole[first_step:]


def test_a_repeated_drive_is_a_pass_of_its_own():
    """The memory of a drive is kept by (pass, drive): two streams may take the same drive."""
    drives = [[0, 1, 2], [3, 4]]
    repeats = np.array([3.0, 1.0])
    steps = list(ClipSampler(drives, 2, 2, 2, 40, seed=0, repeats=repeats))
    keys = [key for step in steps for key in step]
    assert len(set(keys)) == len(keys)
    counts = np.bincount([index for _, index in keys])
    assert counts[0] > 2 * counts[3]
    by_pass = groupby(sorted(keys), key=lambda key: (key[0], key[1] > 2))
    complete = [[index for _, index in group] for _, group in by_pass]
    # only drives that were under way at the end are cut short
    assert sum(group not in drives for group in complete) <= 2


@pytest.mark.parametrize("repeats", [np.ones(3), np.array([1.0, 0.5]), np.array([1.0, np.nan])])
def test_repeats_must_fit(repeats: np.ndarray):
    with pytest.raises(ValueError, match="repeats must hold 2 numbers of at least 1"):
        StepSampler(2, 1, 1, 0, repeats=repeats)
    with pytest.raises(ValueError, match="repeats must hold 2 numbers of at least 1"):
        ClipSampler([[0], [1]], 2, 1, 2, 1, 0, repeats=repeats)
