"""Pictures of GaussRender's cameras: ``python -m training.virtual_views CHECKPOINT ... --data D``.

``frusta.png`` shows the cameras of each strategy in a town. ``views.png`` shows truth and
predictions, semantics and depth, through one camera of each strategy; with checkpoints of two
stages of a training, floaters can be seen to vanish.
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
from occ_core.datasets.keyframe_labels import keyframe_benchmark
from occ_core.head import dense_logits
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.rendering.bev_cameras import bev_camera
from occ_core.rendering.cameras import Cameras, frame_cameras
from occ_core.rendering.semantics import SemanticImage, render
from occ_core.rendering.virtual_cameras import (
    STRATEGIES,
    Strategy,
    view_weights,
    virtual_camera,
    worst_location,
)
from occ_core.rendering.voxel_gaussians import predicted_gaussians, true_gaussians
from occ_core.taxonomy import IGNORE
from occ_core.types import Gaussians
from occ_core.voxel_grid import VoxelGrid
from training.figures.keyframe import write_picture
from training.figures.page import captioned, column, row
from training.figures.voxel_render import BACKGROUND_RGB, VoxelScene, viewpoint_above

TOWN_PX = 420
DRAWS = 12
"""Number of cameras drawn for each strategy."""
FRUSTUM_M = 12.0
"""Length of a frustum in the picture."""
SENSOR_RGB, VIRTUAL_RGB = (255, 255, 255), (255, 60, 60)


@dataclass(frozen=True, kw_only=True)
class ViewsConfig:
    """Which keyframe is shown, as which models predict it."""

    checkpoints: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """One or more checkpoints, to be compared with the truth and with one another."""
    data: Path
    """nuScenes data root with labels."""
    keyframe: int = 0
    """Index of the keyframe."""
    scale: float = 2.0
    """Size of the views, relative to the images of the first model."""
    seed: int = 0
    """Seed of the cameras' poses."""
    out: Path = Path("out/views")
    """Folder for the pictures."""

    def __post_init__(self) -> None:
        if not self.checkpoints or self.scale <= 0:
            raise ValueError("virtual_views needs at least one checkpoint and a positive scale")


def pictures(config: ViewsConfig) -> list[Path]:
    """Writes both pictures and returns their paths.

    Raises:
        CheckpointError: a checkpoint is missing or malformed.
        FileNotFoundError: the data or the keyframe's labels are missing.
    """
    scenes: dict[str, Gaussians] = {}
    for number, path in enumerate(config.checkpoints):
        model, description = load_checkpoint(path)
        shape = model.config
        frames = NuScenesFrames(
            config.data,
            None,
            None,
            shape.image_size,
            9,
            shape.grid,
            keyframe_benchmark(shape.labels.name),
        )
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
            worst = worst_location(errors[0], grid)
            label_set, classes = shape.labels, len(shape.labels.names)
            scenes["truth"] = true_gaussians(truth, classes, grid, empty=label_set.empty)
        if not shape.labels.same_ids(label_set):
            raise ValueError(
                f"'{path}' predicts the classes of '{shape.labels.name}', the first checkpoint "
                f"those of '{label_set.name}'; compare models of the same classes"
            )
        name = f"{number + 1}: {path.parent.name}, step {description['made_by'].get('step', '?')}"
        scenes[name] = predicted_gaussians(
            logits, shape.grid, ignored=labels == IGNORE, empty=label_set.empty
        )
    sensors = frame_cameras(first, 0, config.scale)
    drawn = {
        strategy: draw_cameras(strategy, sensors, grid, worst, config.seed)
        for strategy in STRATEGIES
    }
    written = {
        "frusta.png": town_with_frusta(truth, sensors, drawn, grid, label_set),
        "views.png": views(scenes, drawn, grid, label_set),
    }
    for name, picture in written.items():
        write_picture(picture, config.out / name)
    return [config.out / name for name in written]


def draw_cameras(
    strategy: Strategy, sensors: Cameras, grid: VoxelGrid, worst: Float[Tensor, " 3"], seed: int
) -> list[Cameras]:
    """Cameras as the loss draws them during training.

    Args:
        sensors: the vehicle's cameras.
        worst: position in metres in the grid frame at which ``dynamic`` looks.
    """
    random = np.random.default_rng(seed)
    weights = view_weights(sensors)
    return [virtual_camera(strategy, sensors, weights, grid, random, worst) for _ in range(DRAWS)]


def town_with_frusta(
    truth: UInt8[Tensor, "x y z"],
    sensors: Cameras,
    drawn: dict[Strategy, list[Cameras]],
    grid: VoxelGrid,
    label_set: LabelSet = NUSCENES,
) -> np.ndarray:
    """The town from above for every strategy: sensors are white, the drawn cameras red.

    Args:
        truth: class ids.
        sensors: the vehicle's cameras.
        drawn: cameras by strategy, of a single view each.
        grid: the grid of the truth.
        label_set: meaning and colours of the class ids.

    Returns:
        RGB, uint8 ``[h, w, 3]``.
    """
    scene = VoxelScene(truth.numpy(), grid, label_set=label_set)
    town = scene.render(viewpoint_above(grid), TOWN_PX, TOWN_PX)
    panels = []
    for strategy, cameras in drawn.items():
        picture = town.copy()
        for camera in cameras:
            _draw_frustum(picture, camera, 0, grid, VIRTUAL_RGB)
        for number in range(len(sensors.intrinsics)):
            _draw_frustum(picture, sensors, number, grid, SENSOR_RGB)
        panels.append(captioned(picture, f"{strategy}: {_height_and_pitch(cameras)}"))
    return column([row(panels[:3]), row(panels[3:])])


def _height_and_pitch(cameras: list[Cameras]) -> str:
    """Height above the LiDAR and pitch of the cameras, which a view from above does not show."""
    poses = torch.linalg.inv(torch.cat([camera.camera_from_grid for camera in cameras]))
    down = torch.rad2deg(torch.asin(-poses[:, 2, 2].clamp(-1, 1)))
    low, high = poses[:, 2, 3].min().item(), poses[:, 2, 3].max().item()
    return f"{low:+.1f} to {high:+.1f} m, {down.min():.0f} to {down.max():.0f} degrees down"


def _draw_frustum(
    picture: np.ndarray, camera: Cameras, number: int, grid: VoxelGrid, colour: tuple[int, int, int]
) -> None:
    height, width = camera.size
    edges = torch.tensor([[0.0, height / 2, 1.0], [width - 1.0, height / 2, 1.0]])
    rays = edges @ torch.linalg.inv(camera.intrinsics[number]).T * FRUSTUM_M  # [2, 3]
    in_camera = torch.cat([torch.zeros(1, 3), rays])
    pose = torch.linalg.inv(camera.camera_from_grid[number])
    corners = (in_camera @ pose[:3, :3].T + pose[:3, 3])[:, :2].numpy()
    low, high = np.array(grid.range_m[:2]), np.array(grid.range_m[3:5])
    x, y = ((corners - low) / (high - low)).T
    pixels = np.stack([x, 1 - y], axis=1) * picture.shape[0]  # rows count downwards, y upwards
    outline = pixels.round().astype(np.int32)
    cv2.polylines(picture, [outline], isClosed=True, color=colour, lineType=cv2.LINE_AA)


def views(
    scenes: dict[str, Gaussians],
    drawn: dict[Strategy, list[Cameras]],
    grid: VoxelGrid,
    label_set: LabelSet = NUSCENES,
) -> np.ndarray:
    """Semantics and depth of all scenes, in a row per strategy and one from above.

    Args:
        scenes: truth and predictions by name.
        drawn: cameras by strategy, of which the first is shown.
        grid: the grid of the scenes.
        label_set: meaning and colours of the class ids.

    Returns:
        RGB, uint8 ``[h, w, 3]``.
    """
    width = next(iter(drawn.values()))[0].size[1]
    above = bev_camera(grid, max(1, round(width / grid.shape[0])))
    x_min, _, z_min, x_max, _, z_max = grid.range_m
    rows = [
        _view_row(strategy, scenes, cameras[0], (x_max - x_min) / 2, label_set)
        for strategy, cameras in drawn.items()
    ]
    from_above = _view_row("from above", scenes, above, z_max - z_min + 2, label_set)
    return column([*rows, from_above])


def _view_row(
    title: str, scenes: dict[str, Gaussians], camera: Cameras, far_m: float, label_set: LabelSet
) -> np.ndarray:
    rendered = {name: render(scene, camera, label_set.empty) for name, scene in scenes.items()}
    return row(
        [
            captioned(_colours(view, label_set), f"{title}: {name}")
            for name, view in rendered.items()
        ]
        + [captioned(_depth(view, far_m), f"depth: {name}") for name, view in rendered.items()]
    )


def _colours(rendered: SemanticImage, label_set: LabelSet) -> np.ndarray:
    colours = list(label_set.palette)
    colours[label_set.empty] = BACKGROUND_RGB
    blended = torch.einsum("chw,ck->hwk", rendered.semantics, torch.tensor(colours).float())
    return blended.clamp(0, 255).to(torch.uint8).numpy()


def _depth(rendered: SemanticImage, far_m: float) -> np.ndarray:
    nearness = (1 - rendered.depth_m / far_m).clamp(0, 1)
    levels = (255 * nearness).to(torch.uint8).numpy()
    picture = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1].copy()
    picture[(rendered.depth_m <= 0).numpy()] = BACKGROUND_RGB
    return picture


def main() -> None:
    """Command line."""
    try:
        config = tyro.cli(ViewsConfig, prog="training.virtual_views", description=__doc__)
        print(*pictures(config), sep="\n")
    except (CheckpointError, FileNotFoundError, ValueError) as err:
        sys.exit(f"training.virtual_views: {err}")


if __name__ == "__main__":
    main()
