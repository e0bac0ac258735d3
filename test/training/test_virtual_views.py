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
    draw_cameras,
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
    # Truth and two predictions, semantics and depth: six views of 192 pixels in a row.
    assert views.shape[1] >= 6 * 192
    # Seven rows, one of them with squares from above.
    assert views.shape[0] > 6 * 64 + 150


def test_drawn_cameras_stand_where_the_strategy_puts_them(box_town: Path):
    grid = debug().grid
    frame, labels = NuScenesFrames(box_town, None, None, debug().image_size, 0, grid)[0]
    sensors = frame_cameras(frame, 0)
    worst = torch.tensor([10.0, 20.0, 0.0])
    drawn = {name: draw_cameras(name, sensors, grid, worst, seed=0) for name in STRATEGIES}
    assert {len(cameras) for cameras in drawn.values()} == {DRAWS}
    positions = {
        name: torch.linalg.inv(torch.cat([camera.camera_from_grid for camera in cameras]))[:, :3, 3]
        for name, cameras in drawn.items()
    }
    lifted = positions["sensor"] + torch.tensor([0.0, 0.0, 2.0])
    torch.testing.assert_close(positions["lifted"], lifted, atol=1e-4, rtol=0)
    # A quarter of the grid's 100 m, and one.
    assert (positions["dynamic"][:, :2] - worst[:2]).norm(dim=1).max() < 26

    picture = town_with_frusta(labels, sensors, {**drawn, "sensor": drawn["random"]}, grid)
    red = (np.abs(picture.astype(int) - VIRTUAL_RGB).max(axis=2) < 40).sum()
    assert red > 200  # lines of a dozen triangles a panel


def test_nothing_to_look_at_is_refused(box_town: Path):
    with pytest.raises(ValueError, match="at least one checkpoint"):
        ViewsConfig(checkpoints=(), data=box_town)
