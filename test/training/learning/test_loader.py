from dataclasses import replace

import pytest

from training.learning.config import TrainConfig
from training.learning.loader import load_clips, split_frames


def test_the_last_scenes_by_name_are_for_validation(smallest: TrainConfig):
    training, validation = split_frames(replace(smallest, validation_scenes=2))
    assert {keyframe.scene_name for keyframe in training.keyframes} == {"scene-box-0"}
    names = [keyframe.scene_name for keyframe in validation.keyframes]
    assert names == ["scene-box-1"] * 2 + ["scene-box-2"] * 2


@pytest.mark.parametrize("rank", [0, 1])
def test_a_batch_is_one_example_and_a_drive_several(rank: int, smallest: TrainConfig):
    training, _ = split_frames(smallest)  # two drives of two keyframes each
    batches = list(load_clips(training, replace(smallest, batch_size=3), rank, first_step=0))
    assert [[example.frame.batch_size for example in clip] for clip in batches] == [[3], [3]]
    by_drive = replace(smallest, by_drive=True, clip=2, steps=3)
    clips = list(load_clips(training, by_drive, rank, first_step=1))
    assert [[example.frame.batch_size for example in clip] for clip in clips] == [[1, 1]] * 2
    assert all([example.ends_drive for example in clip] == [False, True] for clip in clips)
    assert all(clip[0].drive == clip[1].drive for clip in clips)


def test_every_process_draws_its_own_order(smallest: TrainConfig):
    training, _ = split_frames(smallest)
    config = replace(smallest, steps=8)
    orders = [
        [
            clip[0].frame.stamp_ns + tuple(clip[0].frame.world_from_grid[0, 0, 3:].tolist())
            for clip in clips
        ]
        for clips in (load_clips(training, config, rank, first_step=0) for rank in (0, 1))
    ]
    assert orders[0] != orders[1] and set(orders[0]) == set(orders[1])
