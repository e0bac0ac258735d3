"""What GaussRender looks at: ``python -m training.virtual_views CHECKPOINT ... --data D --out
DIR``.

``frusta.png``: where each strategy's cameras stand in a town. ``views.png``: truth and predictions,
semantics and depth, through one camera of every strategy; with checkpoints of two stages of a
training one sees floaters vanish.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import tyro
from jaxtyping import Float, UInt8
from torch import Tensor

from occ_core.checkpoint import CheckpointError, load_checkpoint
from occ_core.datasets.frames import NuScenesFrames
from occ_core.head import dense_logits
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.rendering.semantics import Rendered, render
from occ_core.rendering.virtual_cameras import (
    STRATEGIES,
    Strategy,
    camera_above,
    view_weights,
    virtual_camera,
    worst_place,
)
from occ_core.rendering.voxel_gaussians import predicted_gaussians, true_gaussians
from occ_core.taxonomy import EMPTY, IGNORE, NUM_CLASSES, PALETTE
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid
from training.figures import voxel_render
from training.figures.keyframe import captioned, column, row, write_picture
from training.figures.voxel_render import BACKGROUND, VoxelScene

TOWN_PX = 420
DRAWS = 12
"""Cameras shown of a strategy."""
REACH_M = 12.0
"""Length of a frustum as it is drawn."""
SENSOR_RGB, VIRTUAL_RGB = (255, 255, 255), (255, 60, 60)
COLOURS = torch.tensor(
    [BACKGROUND if number == EMPTY else colour for number, colour in enumerate(PALETTE)]
).float()


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Which keyframe is looked at, by which models."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more; the truth stands beside them."""
    data: Path
    """Labelled towns."""
    keyframe: int = 0
    scale: float = 2.0
    """Size of the views, in images of the first model."""
    seed: int = 0
    out: Path = Path("out/views")

    def __post_init__(self) -> None:
        if not self.checkpoints or self.scale <= 0:
            raise ValueError("virtual_views needs a checkpoint or more, and a positive scale")


def pictures(config: ViewsConfig) -> list[Path]:
    """Writes both pictures; their paths.

    Raises:
        CheckpointError, FileNotFoundError: a checkpoint, the data or their labels are missing.
    """
    scenes: dict[str, Gaussians] = {}
    for number, path in enumerate(config.checkpoints):
        model, description = load_checkpoint(path)
        shape = model.config
        frames = NuScenesFrames(config.data, None, None, shape.image_size, 9, shape.grid)
        frame, labels = frames[config.keyframe]
        if labels is None:
            raise FileNotFoundError(
                f"keyframe {config.keyframe} of '{config.data}' has no occupancy labels"
            )
        with torch.inference_mode():
            logits = dense_logits(model(frame).head, shape.cascade_ratio)[0]
        if number == 0:
            first, truth, grid = frame, labels, shape.grid
            errors = torch.nn.functional.cross_entropy(
                logits[None], labels[None].long(), reduction="none", ignore_index=IGNORE
            )
            worst = worst_place(errors[0], grid)
            scenes["truth"] = true_gaussians(truth, NUM_CLASSES, grid)
        name = f"{number + 1}: {path.parent.name}, step {description['made_by'].get('step', '?')}"
        scenes[name] = predicted_gaussians(logits, shape.grid, ignored=labels == IGNORE)
    sensors = frame_cameras(first, 0, config.scale)
    drawn = {one: draws(one, sensors, grid, worst, config.seed) for one in STRATEGIES}
    written = {
        "frusta.png": town_with_frusta(truth, sensors, drawn, grid),
        "views.png": views(scenes, drawn, grid),
    }
    for name, picture in written.items():
        write_picture(picture, config.out / name)
    return [config.out / name for name in written]


def draws(
    strategy: Strategy, sensors: Cameras, grid: VoxelGrid, worst: Float[Tensor, " 3"], seed: int
) -> list[Cameras]:
    """Cameras as the loss would draw them; ``dynamic`` looks at ``worst``."""
    random = np.random.default_rng(seed)
    weights = view_weights(sensors)
    return [virtual_camera(strategy, sensors, weights, grid, random, worst) for _ in range(DRAWS)]


def town_with_frusta(
    truth: UInt8[Tensor, "x y z"],
    sensors: Cameras,
    drawn: dict[Strategy, list[Cameras]],
    grid: VoxelGrid,
) -> np.ndarray:
    """The town from above, once a strategy, with the vehicle's cameras in white and those drawn in
    red.
    """
    town = VoxelScene(truth.numpy(), grid).render(voxel_render.camera_above(grid), TOWN_PX, TOWN_PX)
    panels = []
    for strategy, cameras in drawn.items():
        picture = town.copy()
        for camera in cameras:
            _draw_frustum(picture, camera, 0, grid, VIRTUAL_RGB)
        for number in range(len(sensors.intrinsics)):
            _draw_frustum(picture, sensors, number, grid, SENSOR_RGB)
        panels.append(captioned(picture, f"{strategy}: {_stance(cameras)}"))
    return column([row(panels[:3]), row(panels[3:])])


def _stance(cameras: list[Cameras]) -> str:
    """What a look from above does not show: how high over the LiDAR the cameras stand, and how far
    down they look.
    """
    poses = torch.linalg.inv(torch.cat([camera.camera_from_grid for camera in cameras]))
    down = torch.rad2deg(torch.asin(-poses[:, 2, 2].clamp(-1, 1)))
    low, high = poses[:, 2, 3].min().item(), poses[:, 2, 3].max().item()
    return f"{low:+.1f} to {high:+.1f} m, {down.min():.0f} to {down.max():.0f} degrees down"


def _draw_frustum(
    picture: np.ndarray, camera: Cameras, number: int, grid: VoxelGrid, colour: tuple[int, int, int]
) -> None:
    height, width = camera.size
    edges = torch.tensor([[0.0, height / 2, 1.0], [width - 1.0, height / 2, 1.0]])
    rays = (
        edges @ torch.linalg.inv(camera.intrinsics[number]).T * REACH_M
    )  # [2, 3], in the camera's frame
    in_camera = torch.cat([torch.zeros(1, 3), rays])
    pose = torch.linalg.inv(camera.camera_from_grid[number])
    corners = (in_camera @ pose[:3, :3].T + pose[:3, 3])[:, :2].numpy()
    low, high = np.array(grid.range_m[:2]), np.array(grid.range_m[3:5])
    share = (corners - low) / (high - low)
    pixels = np.stack([share[:, 0], 1 - share[:, 1]], axis=1) * picture.shape[0]  # y upwards
    cv2.polylines(
        picture,
        [pixels.round().astype(np.int32)],
        isClosed=True,
        color=colour,
        thickness=1,
        lineType=cv2.LINE_AA,
    )


def views(
    scenes: dict[str, Gaussians], drawn: dict[Strategy, list[Cameras]], grid: VoxelGrid
) -> np.ndarray:
    """A line a strategy: every scene's semantics, then every scene's depth, through the first
    camera drawn; then from above.
    """
    width = next(iter(drawn.values()))[0].size[1]
    above = camera_above(grid, max(1, round(width / grid.shape[0])))
    far_m = grid.range_m[3] - grid.range_m[0]
    lines = []
    for title, camera in [
        *((name, cameras[0]) for name, cameras in drawn.items()),
        ("from above", above),
    ]:
        rendered = {name: render(scene, camera) for name, scene in scenes.items()}
        limit_m = far_m / 2 if title != "from above" else grid.range_m[5] - grid.range_m[2] + 2
        semantics = [captioned(_colours(one), f"{title}: {name}") for name, one in rendered.items()]
        depth = [
            captioned(_depth(one, limit_m), f"depth: {name}") for name, one in rendered.items()
        ]
        lines.append(row(semantics + depth))
    return column(lines)


def _colours(rendered: Rendered) -> np.ndarray:
    blended = torch.einsum("chw,ck->hwk", rendered.semantics, COLOURS)
    return blended.clamp(0, 255).to(torch.uint8).numpy()


def _depth(rendered: Rendered, far_m: float) -> np.ndarray:
    level = (
        (255 * (1 - rendered.depth_m / far_m).clamp(0, 1)).to(torch.uint8).numpy()
    )  # near is bright
    picture = cv2.applyColorMap(level, cv2.COLORMAP_TURBO)[..., ::-1].copy()
    picture[(rendered.depth_m <= 0).numpy()] = BACKGROUND
    return picture


def main() -> None:
    """Command line."""
    try:
        for path in pictures(
            tyro.cli(ViewsConfig, prog="training.virtual_views", description=__doc__)
        ):
            print(path)
    except (CheckpointError, FileNotFoundError, ValueError) as err:
        sys.exit(f"training.virtual_views: {err}")


if __name__ == "__main__":
    main()
