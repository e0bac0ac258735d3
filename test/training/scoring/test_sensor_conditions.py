"""What frames lose under each condition."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.types import Frame
from training.scoring.sensors import conditions


@pytest.fixture
def frame(box_town: Path) -> Frame:
    return NuScenesFrames(box_town, None, None, debug().image_size, 3, debug().grid)[1][0]


def test_each_condition_takes_one_thing_away(frame: Frame) -> None:
    changes = conditions(debug())
    assert changes["all_sensors"](frame) is frame
    ages = changes["one_sweep"](frame).points[0][:, 4]
    assert 0 < len(ages) < len(frame.points[0]) and bool((ages == 0).all())
    blind = changes["without_cameras"](frame)
    assert not blind.camera_mask.any() and torch.equal(blind.points[0], frame.points[0])
    images_alone = changes["without_lidar"](frame)
    assert len(images_alone.points[0]) == 0 and images_alone.camera_mask.all()


def test_a_single_sensor_is_not_taken_away() -> None:
    assert list(conditions(replace(debug(), camera=False))) == ["all_sensors", "one_sweep"]
    assert list(conditions(replace(debug(), lidar=False))) == ["all_sensors"]
