from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from occ_core.build import build_model
from occ_core.checkpoint import save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.rendering.cameras import frame_cameras
from occ_core.rendering.virtual_cameras import STRATEGIES
from training.virtual_views import (
    DRAWS,
    TOWN_PX,
    VIRTUAL_RGB,
    ViewsConfig,
    draws,
    pictures,
    town_with_frusta,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "run" / "model.safetensors"
    save_checkpoint(path, build_model(debug()), {"step": 7})
    return path


def test_both_pictures_are_written(checkpoint: Path, box_town: Path, tmp_path: Path):
    config = ViewsConfig(
        checkpoints=(checkpoint, checkpoint), data=box_town, scale=1.0, out=tmp_path / "views"
    )
    frusta, views = (np.asarray(Image.open(path)) for path in pictures(config))
    assert frusta.shape[1] > 3 * TOWN_PX
    # truth and two predictions, semantics and depth: six views of 192 pixels in a line
    assert views.shape[1] >= 6 * 192
    # seven lines, one of them a square from above
    assert views.shape[0] > 6 * 64 + 150


def test_drawn_cameras_stand_where_the_strategy_puts_them(box_town: Path):
    grid = debug().grid
    frame, labels = NuScenesFrames(box_town, None, None, debug().image_size, 0, grid)[0]
    sensors = frame_cameras(frame, 0)
    worst = torch.tensor([10.0, 20.0, 0.0])
    drawn = {one: draws(one, sensors, grid, worst, seed=0) for one in STRATEGIES}
    assert {len(cameras) for cameras in drawn.values()} == {DRAWS}
    poses = {
        one: torch.linalg.inv(torch.cat([camera.camera_from_grid for camera in drawn[one]]))
        for one in STRATEGIES
    }
    places = {one: pose[:, :3, 3] for one, pose in poses.items()}
    torch.testing.assert_close(
        places["lifted"], places["sensor"] + torch.tensor([0.0, 0.0, 2.0]), atol=1e-4, rtol=0
    )
    assert (places["dynamic"][:, :2] - worst[:2]).norm(
        dim=1
    ).max() < 26  # a quarter of the grid's 100 m, and one

    picture = town_with_frusta(labels, sensors, {**drawn, "sensor": drawn["random"]}, grid)
    red = (np.abs(picture.astype(int) - VIRTUAL_RGB).max(axis=2) < 40).sum()
    assert red > 200  # lines of a dozen triangles a panel


def test_nothing_to_look_at_is_refused(box_town: Path):
    with pytest.raises(ValueError, match="a checkpoint or more"):
        ViewsConfig(checkpoints=(), data=box_town)
