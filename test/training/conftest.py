from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.learning.config import TrainConfig
from training.recipes import debug
from training.world.box_world import box_drive
from training.world.nuscenes import tables
from training.world.nuscenes.scene_options import SceneOptions
from training.world.nuscenes.writer import SceneWriter


@pytest.fixture(scope="session")
def box_town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nuScenes data root with labels: three drives of two keyframes past a car and a wall, at
    different speeds.
    """
    root = tmp_path_factory.mktemp("box_town")
    options = SceneOptions(version="v1.0-town", keyframes=2, image_size=(64, 192))
    parts = []
    for index in range(3):
        drive = box_drive(
            speed_mps=2.0 + 3.0 * index, name=f"scene-box-{index}", duration_s=options.end_s
        )
        parts.append(root / f"part{index}.json")
        tables.write_json(parts[-1], SceneWriter(root, drive, 0, index, options).write())
    tables.assemble(root, options.version, parts)
    return root


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings write a blank picture: drawing it takes longer than everything else."""
    blank = np.zeros((8, 8, 3), np.uint8)
    monkeypatch.setattr("training.train.keyframe_picture", lambda *_, **__: blank)


@pytest.fixture
def smallest(box_town: Path, tmp_path: Path, blank_pictures: None) -> TrainConfig:
    """Two steps of a training that takes 35 ms a step: voxels of 2 m, images of 32 x 64 pixels."""
    model = replace(
        debug().model,
        grid=SURROUNDOCC_GRID.coarser(4),
        image_size=(32, 64),
        lidar_voxel_m=2.0,
        volume_blocks=(0,),
    )
    return replace(
        debug(),
        model=model,
        data=box_town,
        out=tmp_path / "run",
        steps=2,
        epoch_steps=2,
        warmup_steps=1,
        learning_rate=3e-3,
        sweeps=0,
        augment=None,
        validation_frames=1,
        device="cpu",
    )
