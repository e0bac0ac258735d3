from pathlib import Path

import numpy as np
import pytest

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.taxonomy import CLASS_ID, NUM_CLASSES
from training.learning.repeat_factors import MAX_REPEATS, mean_voxels, repeat_factors


def counts(*units: tuple[float, float]) -> np.ndarray:
    """Voxels of road and of cones."""
    voxels = np.zeros((len(units), NUM_CLASSES))
    voxels[:, CLASS_ID["driveable_surface"]], voxels[:, CLASS_ID["traffic_cone"]] = zip(
        *units, strict=True
    )
    return voxels


def test_what_is_rich_in_rare_classes_is_drawn_more_often():
    """90 voxels of road and 10 of cones: shares of 0.9 and 0.1, weights of 1.054 and 3.162, which
    sum to 4.216. Relative to the averages 45 and 5, the first has 1 and 0, the second 1 and 2:
    richness 0.25 and (1.054 + 6.325) / 4.216 = 1.75.
    """
    voxels = counts((45, 0), (45, 10))
    assert repeat_factors(voxels, 1.0).tolist() == pytest.approx([1.0, 1.75])
    assert repeat_factors(voxels, 2.0).tolist() == pytest.approx([1.0, 3.0625])
    assert repeat_factors(voxels, 0.0).tolist() == [1.0, 1.0]


def test_much_of_a_common_class_repeats_less():
    """Twice the average of the common class counts a third of twice that of the rare one."""
    common = repeat_factors(counts((90, 5), (0, 5)), 1.0)
    assert common.tolist() == pytest.approx([1.25, 1.0])  # 1 + 1.054 / 4.216


def test_no_unit_is_drawn_too_often():
    voxels = counts(*[(10.0, 0.0)] * 99, (10.0, 10.0))
    assert repeat_factors(voxels, 2.0).tolist() == [1.0] * 99 + [MAX_REPEATS]


def test_without_labels_all_are_drawn_once():
    assert repeat_factors(np.zeros((3, NUM_CLASSES)), 2.0).tolist() == [1.0] * 3


def test_voxels_of_keyframes_and_of_drives(box_town: Path):
    frames = NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)
    keyframes = mean_voxels(frames, [[index] for index in range(6)])
    for index in range(6):
        labels = frames.labels(index)
        assert labels is not None
        expected = [int((labels == each).sum()) for each in range(1, NUM_CLASSES)]
        assert keyframes[index].tolist() == [0, *expected]
    drives = mean_voxels(frames, [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_allclose(drives, keyframes.reshape(3, 2, -1).mean(axis=1))


def test_keyframes_without_labels_are_empty(box_town: Path, monkeypatch: pytest.MonkeyPatch):
    frames = NuScenesFrames(box_town, image_size=debug().image_size, grid=debug().grid)
    monkeypatch.setattr(frames, "labels", lambda _: None)
    assert not mean_voxels(frames, [[0], [1]]).any()
