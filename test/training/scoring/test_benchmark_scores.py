"""Benchmarks scored from folders in their official layout, by prediction files and by a model."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_layouts import random_labels, write_kitti_voxels, write_occ3d, write_surroundocc
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug, for_benchmark
from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.labels.sets import NUSCENES, OCC3D
from occ_core.metrics.protocols import PROTOCOLS
from training.evaluate import EvaluateConfig, evaluate, main
from training.results.stored import to_json
from training.scoring.benchmark_scores import fitting_ratio

KITTI = BENCHMARKS["semantic_kitti"]


@pytest.fixture
def keyframes(tmp_path: Path) -> Path:
    """A nuScenes data root of two keyframes, ``key0`` and ``key3``."""
    return write_tiny_nuscenes(tmp_path / "nuscenes")


def kitti(root: Path) -> tuple[Path, np.ndarray]:
    """One scan of sequence 08: 100 voxels of car, 300 of road, 50 ignored, the rest empty."""
    labels = np.zeros(KITTI.grid.shape, dtype=np.uint8)
    labels[10, 10:110, 3] = 1
    labels[20:23, 10:110, 2] = 9
    labels[30, 10:60, 2] = 255
    folder = root / "sequences" / "08"
    (folder / "voxels").mkdir(parents=True)
    write_kitti_voxels(folder, 0, labels, np.zeros(labels.shape, dtype=bool), np.zeros((1, 3)))
    return root, labels


def test_semantic_kitti_from_prediction_files(tmp_path: Path):
    """Half of the car is missed, and 50 ignored voxels are predicted as cars, which costs nothing.

    Car 50 / 100, road 1; of the 19 classes 1.5 / 19 = 7.89 %. IoU 350 / 400, precision 100 %,
    recall 87.5 %.
    """
    root, labels = kitti(tmp_path / "kitti")
    prediction = np.where(labels == 255, 1, labels)
    prediction[10, 10:60, 3] = 0
    PredictionFiles(tmp_path / "files", KITTI).write("08/000000", prediction)
    scores = evaluate(
        EvaluateConfig(data=root, benchmark="semantic_kitti", predictions=tmp_path / "files")
    )
    official = scores["official"]
    assert official["per_class"]["car"] == 0.5 and official["per_class"]["road"] == 1.0
    assert (official["miou"], official["iou"]) == (7.89, 87.5)
    assert (official["precision"], official["recall"]) == (100.0, 87.5)
    assert scores["iou"] == 350 / 400 and scores["miou"] == pytest.approx(1.5 / 19)
    assert scores["frames"] == 1 and scores["skipped"] == 0
    with pytest.raises(FileNotFoundError, match="000000.label is missing"):
        evaluate(EvaluateConfig(data=root, benchmark="semantic_kitti", predictions=tmp_path))


def test_occ3d_from_prediction_files(keyframes: Path, tmp_path: Path):
    """A perfect prediction where the cameras see, and nothing elsewhere: 100 %, RayIoU too unless a
    ray leaves what they see.
    """
    labels = random_labels((200, 200, 16), 18, empty=17, ignored=False)
    camera = np.zeros(labels.shape, dtype=bool)
    camera[:150] = True
    files = PredictionFiles(tmp_path / "files", BENCHMARKS["occ3d"])
    for token in ("key0", "key3"):
        path = keyframes / "gts" / "scene-0061" / token / "labels.npz"
        write_occ3d(path, labels, camera, camera)
        files.write(token, np.where(camera, labels, 17))
    config = EvaluateConfig(data=keyframes, benchmark="occ3d", predictions=files.folder)
    scores = evaluate(config)
    assert scores["official"]["miou"] == 100.0 and scores["miou"] == 1.0
    assert 0.5 < scores["ray_iou"] <= 1.0 and list(scores["ray_iou_by_threshold"]) == [
        "1",
        "2",
        "4",
    ]
    json.loads(to_json(scores), parse_constant=_no_constant)


def test_ids_of_another_set_are_not_scored(keyframes: Path, tmp_path: Path):
    """SurroundOcc's ids in Occ3D's set are refused before they are scored."""
    labels = random_labels((200, 200, 16), 17, ignored=False)
    everywhere = np.ones(labels.shape, dtype=bool)
    for token in ("key0", "key3"):
        path = keyframes / "gts" / "scene-0061" / token / "labels.npz"
        # as ids of Occ3D, whose empty voxels are 17
        write_occ3d(path, np.where(labels == 0, 17, labels), everywhere, everywhere)
        PredictionFiles(tmp_path, BENCHMARKS["occ3d"]).write(token, labels)
    config = EvaluateConfig(data=keyframes, benchmark="occ3d", predictions=tmp_path)
    with pytest.raises(ValueError, match=r"key0\.npz: prediction .*another label set"):
        evaluate(config)


def test_a_model_s_predictions_are_written_and_score_the_same(keyframes: Path, tmp_path: Path):
    """The model's grid is coarser: each of its voxels is 4 x 4 x 4 of the benchmark's."""
    for name, seed in (("key0", 0), ("key3", 1)):
        path = keyframes / "nuscenes_occ" / "samples" / f"{name}.pcd.bin.npy"
        write_surroundocc(path, random_labels((200, 200, 16), 17, seed=seed))
    config = replace(debug(), grid=BENCHMARKS["surroundocc"].grid.coarser(4), volume_blocks=(1,))
    torch.manual_seed(0)
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, build_model(config), {})
    by_model = EvaluateConfig(
        data=keyframes, checkpoint=checkpoint, write_predictions=tmp_path / "files"
    )
    scores = evaluate(by_model)
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == ["key0.npy", "key3.npy"]
    by_files = evaluate(EvaluateConfig(data=keyframes, predictions=tmp_path / "files"))
    assert to_json(by_files) == to_json(scores) and scores["frames"] == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"labels": OCC3D}, "classes of 'occ3d' .*18, empty 17.*, but surroundocc scores"),
        ({"grid_frame": "ego"}, "frame 'ego', that of surroundocc in 'lidar'"),
        ({"grid": BENCHMARKS["occ3d"].grid}, "must be that of surroundocc"),
        ({"grid": BENCHMARKS["surroundocc"].grid.finer(2)}, "must be that of surroundocc"),
    ],
)
def test_models_of_other_classes_frames_and_ranges_are_refused(change: dict[str, Any], why: str):
    config = replace(debug(), volume_blocks=(1,), **change)
    with pytest.raises(ValueError, match=why):
        fitting_ratio(config, BENCHMARKS["surroundocc"])


def test_models_that_fit():
    occ3d = replace(for_benchmark(debug(), BENCHMARKS["occ3d"]), volume_blocks=(1,))
    assert fitting_ratio(debug(), BENCHMARKS["surroundocc"]) == 2  # 1 m voxels
    assert fitting_ratio(occ3d, BENCHMARKS["occ3d"]) == 1


def test_options_that_do_not_go_together_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="give the folder of the data by --data"):
        evaluate(EvaluateConfig())
    with pytest.raises(ValueError, match="--benchmark real has no prediction files"):
        evaluate(EvaluateConfig(data=tmp_path, benchmark="real", predictions=tmp_path))
    with pytest.raises(ValueError, match="give one"):
        evaluate(
            EvaluateConfig(
                data=tmp_path, benchmark="occ3d", predictions=tmp_path, write_predictions=tmp_path
            )
        )


def test_protocol_notes_are_printed_without_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["evaluate", "--benchmark", "occ3d", "--protocol-notes"])
    main()
    assert capsys.readouterr().out.splitlines() == ["occ3d", *PROTOCOLS["occ3d"].notes]
    monkeypatch.setattr("sys.argv", ["evaluate", "--benchmark", "real", "--protocol-notes"])
    with pytest.raises(SystemExit, match="--protocol-notes knows surroundocc, "):
        main()


def test_scores_are_json_whatever_they_are():
    text = to_json({"nan": math.nan, "far": math.inf, "array": np.float32(0.5), "n": np.int64(3)})
    assert json.loads(text, parse_constant=_no_constant) == {
        "nan": None,
        "far": None,
        "array": 0.5,
        "n": 3,
    }
    assert NUSCENES.absent == "left_out"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
