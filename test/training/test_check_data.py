"""The check of good folders, its exit code, and how it counts; faults have files of their own."""

import json
import sys
from pathlib import Path

import pytest
from faulty_folders import FOLDERS, cut, kitti_360, surroundocc

from training.check_data import CheckConfig, check_data, main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_good_folder_has_no_faults(name: str, root: Path) -> None:
    FOLDERS[name](root)
    report = check_data(CheckConfig(root))
    assert report.faults == [] and report.text().endswith("no faults")
    titles = {"semantic_kitti": "SemanticKITTI", "kitti_360": "KITTI-360 of SSCBench"}
    assert report.title == titles.get(name, "nuScenes, tables v1.0-mini")
    if name not in titles:
        assert f"occupancy labels: {name} (2 keyframes)" in report.contents


@pytest.mark.parametrize(
    ("broken", "status", "words"), [(False, 0, "no faults"), (True, 1, "FAULT")]
)
def test_the_exit_code_says_whether_there_are_faults(
    broken: bool,
    status: int,
    words: str,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kitti_360(root)
    if broken:
        cut(next(root.glob("preprocess/labels/*/*.npy")))
    monkeypatch.setattr(sys, "argv", ["check_data", str(root)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    assert words in capsys.readouterr().out


def test_many_faults_of_one_kind_are_counted(root: Path) -> None:
    surroundocc(root)
    path = root / "v1.0-mini" / "ego_pose.json"
    records = json.loads(path.read_text())
    for record in records:
        record["rotation"] = [0, 0, 0, 0]
    path.write_text(json.dumps(records))
    report = check_data(CheckConfig(root))
    # Two keyframes of six images and a sweep, and three sweeps: 2 * 7 + 3 = 17; three are shown.
    assert len(report.faults) == 17
    assert "... and 14 more like these" in report.text()


def test_a_number_of_opened_files_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="open must be 0 or more, got -1"):
        CheckConfig(Path(), open=-1)


@pytest.mark.parametrize("name", ["semantic_kitti", "kitti_360"])
def test_options_of_nuscenes_are_refused_for_other_folders(name: str, root: Path) -> None:
    FOLDERS[name](root)
    with pytest.raises(ValueError, match="data is a folder of KITTI, but --split and --version be"):
        check_data(CheckConfig(root, split="val", version="v9"))
    with pytest.raises(ValueError, match="--benchmark belong to nuScenes; leave them out"):
        check_data(CheckConfig(root, benchmark="occ3d"))
