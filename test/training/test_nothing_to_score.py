"""A run without a single score is an error, not a table of zeros and nulls."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from official_layouts import (
    KITTI_SHAPE,
    random_labels,
    write_kitti_scan,
    write_kitti_voxels,
    write_occ3d,
    write_surroundocc,
)
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug, for_benchmark
from occ_core.datasets.prediction_files import PredictionFiles
from occ_core.labels.benchmarks import BENCHMARKS
from training.evaluate import EvaluateConfig, evaluate, main
from training.score_labels import ScoreConfig, score_labels

SCAN = np.array([[10.0, 2.0, -1.0, 0.5]], dtype=np.float32)
NOTHING = "nothing to score: in the labels of {} samples of .* no occupied voxel counts"


def checkpoint(path: Path, name: str, ratio: int) -> Path:
    """A model of a benchmark's classes whose voxels are ``ratio`` times as large."""
    torch.manual_seed(0)
    benchmark = BENCHMARKS[name]
    config = replace(
        for_benchmark(debug(), benchmark),
        grid=benchmark.grid.coarser(ratio),
        image_size=(32, 64),
        volume_blocks=(1,),
    )
    save_checkpoint(path / "model.safetensors", build_model(config), {})
    return path / "model.safetensors"


def files_of(name: str, samples: tuple[str, ...], folder: Path) -> Path:
    """Predictions of nothing but empty space."""
    benchmark = BENCHMARKS[name]
    ids = np.full(benchmark.grid.shape, benchmark.labels.empty, dtype=np.uint8)
    for sample in samples:
        PredictionFiles(folder, benchmark).write(sample, ids)
    return folder


def test_labels_without_a_row(tmp_path: Path) -> None:
    root = write_tiny_nuscenes(tmp_path / "data")
    for token in ("key0", "key3"):
        path = root / "nuscenes_occ" / "samples" / f"{token}.pcd.bin.npy"
        write_surroundocc(path, np.zeros((200, 200, 16), np.uint8))
    model = checkpoint(tmp_path, "surroundocc", 4)
    by_model = EvaluateConfig(data=root, checkpoint=model, rendered=False)
    files = files_of("surroundocc", ("key0", "key3"), tmp_path / "files")
    for config in (by_model, replace(by_model, predictions=files)):
        with pytest.raises(ValueError, match=NOTHING.format(2)):
            evaluate(config)


def test_a_camera_mask_that_nothing_lies_in(tmp_path: Path) -> None:
    root = write_tiny_nuscenes(tmp_path / "data")
    labels = random_labels((200, 200, 16), 18, empty=17, ignored=False)
    nowhere = np.zeros(labels.shape, bool)
    for token in ("key0", "key3"):
        path = root / "gts" / "scene-0061" / token / "labels.npz"
        write_occ3d(path, labels, nowhere, nowhere)
    files = files_of("occ3d", ("key0", "key3"), tmp_path / "files")
    with pytest.raises(ValueError, match=NOTHING.format(2)):
        evaluate(EvaluateConfig(data=root, benchmark="occ3d", predictions=files))


def test_hidden_labels_of_semantic_kitti_are_predicted_but_not_scored(tmp_path: Path) -> None:
    folder = write_kitti_scan(tmp_path / "data", 0, SCAN, "11")
    nothing = np.zeros(KITTI_SHAPE, bool)
    write_kitti_voxels(folder, 0, np.zeros(KITTI_SHAPE, np.uint8), nothing, SCAN)
    config = EvaluateConfig(
        data=tmp_path / "data",
        benchmark="semantic_kitti",
        split="test",
        checkpoint=checkpoint(tmp_path, "semantic_kitti", 8),
    )
    writing = replace(config, write_predictions=tmp_path / "files")
    for engine in (None, "local"):
        with pytest.warns(UserWarning, match="predictions without scores"):
            scores = evaluate(replace(writing, engine=engine))
        assert scores == {"benchmark": "semantic_kitti", "frames": 1, "skipped": 0}
        (path,) = (tmp_path / "files").rglob("*.label")
        path.unlink()
        shutil.rmtree(tmp_path / "files")
    with pytest.raises(ValueError, match=NOTHING.format(1)):
        evaluate(config)


def test_occ3d_without_labels_gives_a_submission_and_no_scores(tmp_path: Path) -> None:
    """Its server scores nuScenes' test split, whose labels nobody has; labels of some keyframes
    alone are labels that are missing.
    """
    root = write_tiny_nuscenes(tmp_path / "data")
    config = EvaluateConfig(
        data=root,
        benchmark="occ3d",
        checkpoint=checkpoint(tmp_path, "occ3d", 4),
        write_predictions=tmp_path / "files",
    )
    with pytest.warns(UserWarning, match="predictions without scores"):
        scores = evaluate(config)
    assert scores == {"benchmark": "occ3d", "frames": 2, "skipped": 0}
    assert {path.name for path in (tmp_path / "files").iterdir()} == {"key0.npz", "key3.npz"}
    with pytest.raises(FileNotFoundError, match="labels.npz is missing"):
        evaluate(replace(config, write_predictions=None))
    seen = np.ones((200, 200, 16), bool)
    path = root / "gts" / "scene-0061" / "key0" / "labels.npz"
    write_occ3d(path, random_labels(seen.shape, 18, 17, ignored=False), seen, seen)
    with pytest.raises(FileNotFoundError, match="key3/labels.npz is missing"):
        evaluate(config)


def test_points_without_a_class(tmp_path: Path) -> None:
    """Raw id 0: no point has a class."""
    folder = write_kitti_scan(tmp_path / "data", 0, SCAN)
    (folder / "labels").mkdir()
    np.zeros(1, np.uint32).tofile(folder / "labels" / "000000.label")
    model = checkpoint(tmp_path, "surroundocc", 4)
    config = EvaluateConfig(data=tmp_path / "data", checkpoint=model, benchmark="real")
    with pytest.raises(ValueError, match="nothing to score: of 1 scans of .* has a class"):
        evaluate(config)


def test_made_labels_of_which_nothing_is_valid(tmp_path: Path) -> None:
    labels = random_labels(KITTI_SHAPE, 20)
    for root, truth in (("made", labels), ("truth", np.full(KITTI_SHAPE, 255, np.uint8))):
        folder = write_kitti_scan(tmp_path / root, 0, SCAN)
        write_kitti_voxels(folder, 0, truth, np.zeros(KITTI_SHAPE, bool), SCAN)
    with pytest.raises(ValueError, match="nothing to score: in 1 keyframes of .*made"):
        score_labels(ScoreConfig(tmp_path / "made", tmp_path / "truth", "semantic_kitti"))


def test_rays_a_second_are_printed_beside_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two keyframes, each seen from the two places of the LiDAR: 4 * 14,040 rays."""
    root = write_tiny_nuscenes(tmp_path / "data")
    seen = np.ones((200, 200, 16), bool)
    for token in ("key0", "key3"):
        path = root / "gts" / "scene-0061" / token / "labels.npz"
        write_occ3d(path, random_labels(seen.shape, 18, 17, ignored=False), seen, seen)
    files = files_of("occ3d", ("key0", "key3"), tmp_path / "files")
    arguments = ["--benchmark", "occ3d", "--data", str(root), "--predictions", str(files)]
    monkeypatch.setattr("sys.argv", ["evaluate", *arguments])
    main()
    printed = capsys.readouterr()
    assert "RayIoU: 56,160 rays, " in printed.err and " rays/s" in printed.err
    assert "rays/s" not in printed.out
