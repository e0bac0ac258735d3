import json
from pathlib import Path

import pytest

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NuScenes
from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.bags.nuscenes_to_bag import convert_scene
from training import measure_ros
from training.benchmarks.long_scene import write_long_scene
from training.benchmarks.matching import CASES, PASSES, SETS, drive, ours
from training.benchmarks.robot import frame_stages
from training.measure_ros import MeasureRosConfig, measure


@pytest.mark.parametrize("case", CASES)
def test_every_sweep_of_every_pass_gives_a_set(case: str) -> None:
    first, until = CASES[case]
    events = drive((first, until))
    # a sweep and six images each, without those that the first camera lacks
    assert len(events) == SETS * 7 - (until - first)
    assert ours(events).sets == [SETS] * PASSES


def test_the_long_scene_converts_completely(tmp_path: Path) -> None:
    name = write_long_scene(tmp_path, seconds=1)
    report = convert_scene(NuScenes(tmp_path), name, tmp_path / "bag")
    assert not report.skipped and report.messages["/lidar_top"] == 20
    for channel in NUSCENES_CAMERAS:
        assert report.messages[f"/{channel.lower()}/image_rect_compressed"] == 12


def test_a_frame_has_its_stages(box_town: Path, tmp_path: Path) -> None:
    found = frame_stages(box_town, tmp_path / "bag")
    stages = found["cpu_ms"]
    assert list(stages) == ["match", "decode", "model", "publish"] and min(stages.values()) > 0
    others = stages["match"] + stages["decode"] + stages["publish"]
    assert found["overhead"] == pytest.approx(others / stages["model"])
    # Of two frames the second alone counts, so that its stages add up to the total.
    assert found["frames"] == 2 and found["total_ms"] == pytest.approx(sum(stages.values()))
    files = [path.stat().st_size for path in box_town.glob("samples/CAM_*/*.jpg")]
    assert 0 < found["image_kb"] < sum(files) / len(files) / 1000  # coarser than the town's own
    assert 0 < found["occupied"] < SURROUNDOCC_GRID.shape[0] ** 2 * 4


def test_parts_are_measured_alone_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(measure_ros.PARTS, "passes", lambda config: {"repeats": config.repeats})
    path = tmp_path / "ros.json"
    path.write_text('{"machine": "an older one", "memory_mb": {"bag_play": 32.0}}')
    measure(MeasureRosConfig(("passes",), json=path, repeats=3, note="beside a training"))
    stored = json.loads(path.read_text())
    assert stored["memory_mb"] == {"bag_play": 32.0} and stored["passes"] == {"repeats": 3}
    ours = stored["machine_of_part"]["passes"]
    assert ours.endswith("; beside a training")
    assert stored["machine"] == f"memory_mb on an older one; passes on {ours}"
    path.unlink()
    measure(MeasureRosConfig(("passes",), json=path, note="beside a training"))
    assert json.loads(path.read_text())["machine"] == ours
    with pytest.raises(ValueError, match=r"unknown parts \['speed'\]; known: conversion"):
        MeasureRosConfig(("speed",))
