from dataclasses import dataclass

import pytest
import tyro

from occ_core.config import OccupancyConfig, debug
from occ_core.labels.sets import LABEL_SETS, NUSCENES, OCC3D
from training.learning.label_set_option import label_set_option


@dataclass(frozen=True)
class Run:
    """Something with a model, as a training has it."""

    model: OccupancyConfig


def read(*arguments: str) -> Run:
    return tyro.cli(
        Run, default=Run(debug()), args=arguments, registry=label_set_option(), prog="run"
    )


def test_a_label_set_is_read_by_its_name():
    assert read().model == debug() and read().model.labels is NUSCENES
    assert read("--model.labels", "occ3d").model.labels is OCC3D
    for name, labels in LABEL_SETS.items():
        assert read("--model.labels", name).model.labels is labels


def test_unknown_names_are_refused_with_those_that_exist(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        read("--model.labels", "waymo")
    printed = capsys.readouterr()
    assert "semantic_kitti" in printed.out + printed.err
