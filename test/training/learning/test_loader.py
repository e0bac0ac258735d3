from dataclasses import replace

import numpy as np
import pytest
import torch

from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
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
    share = (rank, 2)
    accumulating = replace(smallest, batch_size=3, accumulate=2)
    batches = list(load_clips(training, accumulating, 0, share))
    assert [[example.frame.batch_size for example in clip] for clip in batches] == [[3, 3]] * 2
    by_drive = replace(smallest, by_drive=True, clip=2, steps=3)
    clips = list(load_clips(training, by_drive, 1, share))
    assert [[example.frame.batch_size for example in clip] for clip in clips] == [[1, 1]] * 2
    assert all([example.ends_drive for example in clip] == [False, True] for clip in clips)
    assert all(clip[0].drive == clip[1].drive for clip in clips)


def test_processes_take_turns_in_one_order(smallest: TrainConfig):
    """Two processes with a batch of 1 see together what one with two accumulated batches sees."""
    training, _ = split_frames(smallest)
    alone = list(load_clips(training, replace(smallest, steps=6, accumulate=2), 0))
    first, second = (
        list(load_clips(training, replace(smallest, steps=6), 0, (rank, 2))) for rank in (0, 1)
    )
    for clip, (own,), (other,) in zip(alone, first, second, strict=True):
        for ours, theirs in zip(clip, (own, other), strict=True):
            assert torch.equal(ours.frame.points[0], theirs.frame.points[0])
            assert torch.equal(ours.labels, theirs.labels)


def test_processes_follow_drives_of_their_own(smallest: TrainConfig):
    training, _ = split_frames(smallest)
    config = replace(smallest, steps=8, by_drive=True)
    orders = [
        [clip[0].drive for clip in load_clips(training, config, 0, (rank, 2))] for rank in (0, 1)
    ]
    assert orders[0] != orders[1] and set(orders[0]) == set(orders[1])


@pytest.mark.parametrize("by_drive", [False, True])
def test_what_holds_rare_classes_comes_more_often(
    by_drive: bool, smallest: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    """Two drives of two keyframes; the first unit alone holds a cone. Nothing else counts: its
    richness is the number of units, 4 keyframes or 2 drives.
    """
    training, _ = split_frames(smallest)

    def voxels(_: object, units: list[list[int]], label_set: object) -> np.ndarray:
        found = np.zeros((len(units), NUM_CLASSES))
        found[0, CLASS_ID["traffic_cone"]] = 1
        return found

    monkeypatch.setattr("training.learning.loader.mean_voxels", voxels)
    config = replace(smallest, repeat_rare=1.0, steps=42, by_drive=by_drive, streams=1, clip=2)
    poses = [training[index][0].world_from_grid[0, 0, 3].item() for index in range(4)]
    drawn = [
        example.frame.world_from_grid[0, 0, 3].item()
        for clip in load_clips(training, config, 0)
        for example in clip
    ]
    counts = [drawn.count(pose) for pose in poses]
    # 42 steps are 6 epochs of 4 + 1 + 1 + 1 keyframes, or 14 of 2 + 1 drives
    assert counts == ([28, 28, 14, 14] if by_drive else [24, 6, 6, 6])
