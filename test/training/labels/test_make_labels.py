import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from occ_core.datasets.surroundocc import label_path
from training.labels.nuscenes_drives import nuscenes_drives
from training.make_labels import LabelConfig, main, make_labels
from training.score_labels import ScoreConfig, score_labels
from training.score_labels import main as score_labels_program

SCENE = "scene-box-2"


@pytest.fixture(scope="module")
def config(box_town: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelConfig:
    out = tmp_path_factory.mktemp("labels")
    return LabelConfig(box_town, out, layouts=("surroundocc", "occ3d"), scenes=(SCENE,), workers=1)


@pytest.fixture(scope="module")
def counts(config: LabelConfig) -> dict[str, dict[str, float]]:
    return make_labels(config)


def test_labels_of_a_box_town_agree_with_the_truth(
    config: LabelConfig, counts: dict[str, dict[str, float]]
) -> None:
    assert {layout: each["keyframes"] for layout, each in counts.items()} == {
        "surroundocc": 2,
        "occ3d": 2,
    }
    scores = score_labels(ScoreConfig(config.out, config.data))
    assert scores["keyframes"] == 2
    assert scores["iou"] > 0.85
    assert scores["agreement"] > 0.95
    car = scores["per_class"]["car"]
    assert car["voxels"] > 0 and car["found"] > 0.7


def test_the_command_prints_a_table_and_stores_the_scores(
    config: LabelConfig,
    counts: object,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = tmp_path / "labels.json"
    arguments = [str(config.out), "--truth", str(config.data), "--json", str(stored)]
    monkeypatch.setattr("sys.argv", ["score_labels", *arguments])
    score_labels_program()
    scores = json.loads(stored.read_text())["layouts"]["surroundocc"]
    assert f"| all | {scores['iou']:.3f} |" in capsys.readouterr().out
    assert scores["per_class"]["car"]["voxels"] > 0


def test_labels_of_other_sizes_hold_the_same_things(config: LabelConfig, counts: object) -> None:
    """At 0.4 m in the ego frame the ground lies below the LiDAR, and the car at its place."""
    (path, _) = sorted((config.out / "gts" / SCENE).glob("*/labels.npz"))
    labels = np.load(path)
    semantics, lidar, camera = (labels[n] for n in ("semantics", "mask_lidar", "mask_camera"))
    assert semantics.shape == lidar.shape == (200, 200, 16)
    assert {4, 11, 17} <= set(np.unique(semantics).tolist())
    # z from -1 m in steps of 0.4 m: the road at 0 m lies on the face between layers 1 and 2
    assert set(np.nonzero(semantics == 11)[2].tolist()) <= {1, 2, 3}
    assert 0 < camera.sum() < lidar.sum()
    assert not (camera > lidar).any()


def test_a_run_that_was_stopped_continues(config: LabelConfig, counts: object) -> None:
    made = sorted((config.out / "nuscenes_occ" / "samples").glob("*.npy"))
    before = {path: path.stat().st_mtime_ns for path in made}
    again = make_labels(replace(config, layouts=("surroundocc",)))
    assert again["surroundocc"]["keyframes"] == 0
    assert {path: path.stat().st_mtime_ns for path in made} == before
    assert not list(config.out.rglob("*.part"))


def test_boxes_alone_give_objects_their_class_and_the_rest_none(
    box_town: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for source in box_town.iterdir():
        if source.name not in ("lidarseg", "v1.0-town"):
            (bare / source.name).symlink_to(source)
    (bare / "v1.0-town").mkdir()
    for table in (box_town / "v1.0-town").glob("*.json"):
        if table.name != "lidarseg.json":
            (bare / "v1.0-town" / table.name).symlink_to(table)
    out = tmp_path / "out"
    make_labels(LabelConfig(bare, out, layouts=("surroundocc",), scenes=(SCENE,), workers=1))
    path = sorted((out / "nuscenes_occ" / "samples").glob("*.npy"))[0]
    rows, true = np.load(path), np.load(label_path(box_town, path.name.removesuffix(".npy")))
    assert set(np.unique(rows[:, 3]).tolist()) == {0, 4}  # none, car
    cars = {tuple(row) for row in rows[rows[:, 3] == 4, :3].tolist()}
    true_cars = {tuple(row) for row in true[true[:, 3] == 4, :3].tolist()}
    assert len(cars & true_cars) > 0.5 * len(cars | true_cars)


def test_what_does_not_go_together_is_refused(box_town: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nuScenes's layout, for which there are no"):
        make_labels(LabelConfig(box_town, tmp_path, layouts=("semantic_kitti",)))
    with pytest.raises(ValueError, match="scene-7"):
        make_labels(LabelConfig(box_town, tmp_path, scenes=("scene-7",)))
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        LabelConfig(box_town, tmp_path, workers=0)
    with pytest.raises(FileNotFoundError, match="no labels in occ3d's layout"):
        score_labels(ScoreConfig(tmp_path, box_town, "occ3d"))


def test_other_settings_in_the_same_folder_are_refused(config: LabelConfig, counts: object) -> None:
    with pytest.raises(ValueError, match="made with other settings"):
        make_labels(replace(config, dense=False))


def test_the_same_data_by_a_relative_path_are_the_same_settings(
    config: LabelConfig, counts: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.data.parent)
    again = make_labels(replace(config, data=Path(config.data.name), layouts=("surroundocc",)))
    assert again["surroundocc"]["drives"] == 0
    # as earlier versions wrote it
    path = config.out / ".parts" / "settings.json"
    earlier = json.loads(path.read_bytes())
    path.write_text(json.dumps(earlier | {"data": config.data.name}))
    assert make_labels(replace(config, layouts=("surroundocc",)))["surroundocc"]["drives"] == 0


def test_settings_that_gave_no_labels_bind_nobody(box_town: Path, tmp_path: Path) -> None:
    """A voxel size that does not divide the grid, then a run that stopped before its first file."""
    config = LabelConfig(box_town, tmp_path / "out", ("surroundocc",), scenes=(SCENE,), workers=1)
    with pytest.raises(ValueError, match=r"0\.3"):
        make_labels(replace(config, voxel_size=0.3))
    assert not config.out.exists()
    settings = config.out / ".parts" / "settings.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"dense": false}')
    make_labels(config)
    settings.write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is damaged .*; choose another folder"):
        make_labels(config)


def test_point_classes_that_are_not_there_are_refused(box_town: Path, tmp_path: Path) -> None:
    """No folder, a folder without files, and one with a file of another scene alone."""
    mine = tmp_path / "mine"
    config = LabelConfig(box_town, tmp_path / "out", scenes=(SCENE,), point_classes=mine)
    for make in (lambda: None, mine.mkdir):
        make()
        with pytest.raises(FileNotFoundError, match="mine holds no <LiDAR file name>.label"):
            make_labels(config)
    (mine / "other.bin.label").touch()
    with pytest.raises(
        FileNotFoundError, match=rf"mine has a file for none of {SCENE}'s 21 sweeps"
    ):
        nuscenes_drives(box_town, scenes=(SCENE,), point_classes=mine)[SCENE]()


def test_scenes_without_keyframes_are_named(box_town: Path, tmp_path: Path) -> None:
    root = tmp_path / "town"
    (root / "v1.0-town").mkdir(parents=True)
    for table in (box_town / "v1.0-town").glob("*.json"):
        shutil.copy(table, root / "v1.0-town")
    path = root / "v1.0-town" / "scene.json"
    scenes = json.loads(path.read_text())
    path.write_text(json.dumps([*scenes, {**scenes[0], "token": "new", "name": "scene-0099"}]))
    with pytest.raises(ValueError, match=r"no keyframe of the LiDAR for \['scene-0099'\], of 4 sc"):
        make_labels(LabelConfig(root, tmp_path / "out"))
    for table in ("scene", "sample", "sample_data", "sample_annotation"):
        (root / "v1.0-town" / f"{table}.json").write_text("[]")
    with pytest.raises(ValueError, match="no keyframe of the LiDAR for any scene, of 0 scenes"):
        make_labels(LabelConfig(root, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_ends_with_one_line(
    box_town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(
        "sys.argv", ["make_labels", str(box_town), "--out", str(tmp_path / "file" / "out")]
    )
    with pytest.raises(SystemExit, match="training.make_labels: cannot write the folder .*a file"):
        main()


@pytest.mark.parametrize("content", ['{"a": 1}', "[", "[]", '{"layouts": 5}'])
def test_scores_are_not_added_to_another_file(
    content: str, config: LabelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.json"
    other.write_text(content)
    arguments = [str(config.out), "--truth", str(config.data), "--json"]
    monkeypatch.setattr("sys.argv", ["score_labels", *arguments, str(other)])
    with pytest.raises(SystemExit, match=r"other\.json holds no scores of training.score_labels"):
        score_labels_program()
    assert other.read_text() == content
    monkeypatch.setattr("sys.argv", ["score_labels", *arguments, str(tmp_path)])
    with pytest.raises(SystemExit, match="cannot write the file .* is a folder"):
        score_labels_program()
