import pytest

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
