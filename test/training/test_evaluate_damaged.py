"""``evaluate --damaged``: one damaged file in a folder, for every benchmark without a protocol."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_layouts import write_kitti_scan

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.evaluate import EvaluateConfig, evaluate

SCAN = np.array([[10.0, 2.0, -1.0, 0.5], [4.0, -3.0, 1.0, 1.0]], dtype=np.float32)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A model of 2 m voxels and images of 32 x 64 pixels."""
    torch.manual_seed(0)
    grid = SURROUNDOCC_GRID.coarser(4)
    model = replace(debug(), grid=grid, image_size=(32, 64), volume_blocks=(0,))
    save_checkpoint(tmp_path / "model.safetensors", build_model(model), {})
    return tmp_path / "model.safetensors"


@pytest.fixture
def town(box_town: Path, tmp_path: Path) -> Path:
    """Six keyframes in three drives."""
    return Path(shutil.copytree(box_town, tmp_path / "town"))


@pytest.mark.parametrize(
    ("benchmark", "damaged"),
    [
        ("surroundocc", "nuscenes_occ/samples/*.npy"),
        ("surroundocc", "nuscenes_occ/masks/*.npz"),
        ("surroundocc", "samples/LIDAR_TOP/*"),
        ("surroundocc", "samples/CAM_BACK/*"),
        ("keyframe", "samples/LIDAR_TOP/*"),
        ("real", "samples/LIDAR_TOP/*"),
        ("real", "lidarseg/*/*.bin"),
        ("preprocessing", "samples/CAM_FRONT/*"),
    ],
)
def test_a_damaged_keyframe_stops_the_run_or_is_left_out_and_counted(
    checkpoint: Path, town: Path, benchmark: Any, damaged: str
) -> None:
    """Of six keyframes five are scored."""
    path = first(town, damaged)
    cut(path)
    config = EvaluateConfig(
        data=town, checkpoint=checkpoint, benchmark=benchmark, rendered=False, sweeps=0
    )
    with pytest.raises(ValueError, match=re.escape(path.name)):
        evaluate(config)
    with pytest.warns(UserWarning, match=f"is left out: .*{re.escape(path.name)}"):
        scores = evaluate(replace(config, damaged="skip"))
    assert (scores["frames"], scores["skipped"]) == (5, 1)


def test_a_missing_label_is_counted_too_and_nothing_left_is_an_error(
    checkpoint: Path, town: Path
) -> None:
    config = EvaluateConfig(
        data=town, checkpoint=checkpoint, rendered=False, sweeps=0, damaged="skip"
    )
    first(town, "nuscenes_occ/samples/*").unlink()
    with pytest.warns(UserWarning, match="has no occupancy labels"):
        assert evaluate(config)["skipped"] == 1
    for path in town.glob("nuscenes_occ/samples/*"):
        path.unlink()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="none of the 6 samples"):
        evaluate(config)


def kitti(root: Path) -> Path:
    """Two sequences of three scans with classes for their two points."""
    for sequence in ("00", "08"):
        for number in range(3):
            folder = write_kitti_scan(root, number, SCAN, sequence)
            (folder / "labels").mkdir(exist_ok=True)
            np.array([10, 40], np.uint32).tofile(folder / "labels" / f"{number:06d}.label")
    return root


@pytest.mark.parametrize(
    ("break_it", "ending", "skipped"),
    [
        (cut, "velodyne/000000.bin", 2),
        (cut, "labels/000000.label", 1),
        (Path.unlink, "labels/000000.label", 1),
        (cut, "image_2/000000.png", 1),
    ],
)
def test_a_damaged_scan_of_a_sequence_is_counted(
    checkpoint: Path, tmp_path: Path, break_it: Callable[[Path], None], ending: str, skipped: int
) -> None:
    """Scans 0 and 2 of two sequences are scored; the points of scan 0 are also joined to scan 2."""
    root = kitti(tmp_path / "kitti")
    config = EvaluateConfig(data=root, checkpoint=checkpoint, benchmark="real")
    assert evaluate(config)["frames"] == 4
    break_it(root / "sequences" / "08" / ending)
    with pytest.raises((FileNotFoundError, ValueError), match=Path(ending).name):
        evaluate(config)
    with pytest.warns(UserWarning, match="is left out"):
        scores = evaluate(replace(config, damaged="skip"))
    assert (scores["frames"], scores["skipped"]) == (4 - skipped, skipped)


def test_a_sequence_without_images_is_for_models_without_cameras(
    checkpoint: Path, tmp_path: Path
) -> None:
    root = kitti(tmp_path / "kitti")
    shutil.rmtree(root / "sequences" / "08" / "image_2")
    config = EvaluateConfig(data=root, checkpoint=checkpoint, benchmark="real")
    with pytest.raises(FileNotFoundError, match=r"08/image_2 holds no images .*without cameras"):
        evaluate(config)
    blind = replace(debug(), grid=SURROUNDOCC_GRID.coarser(4), volume_blocks=(0,), camera=False)
    save_checkpoint(checkpoint, build_model(blind), {})
    with pytest.warns(UserWarning, match="image_2 is masked"):
        assert evaluate(config)["frames"] == 4
