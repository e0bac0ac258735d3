"""Pictures of keyframes: the cameras' images, the prediction and the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from occ_core.labels.benchmarks import GridFrame
from occ_core.labels.label_set import LabelSet
from occ_core.labels.sets import NUSCENES
from occ_core.types import Frame
from occ_core.voxel_grid import VoxelGrid
from training.figures.page import (
    CAPTION_PX,
    FONT,
    GAP_PX,
    PAGE_RGB,
    TEXT_RGB,
    captioned,
    column,
    row,
)
from training.figures.voxel_render import (
    BACKGROUND_RGB,
    EGO_RGB,
    VoxelScene,
    ego_car,
    viewpoint_above,
    viewpoint_behind,
)

CAMERA_CAPTIONS = ("front left", "front", "front right", "back left", "back", "back right")
"""Two rows of three, in the order of nuScenes' rig."""

OUTLINE_RGB = (160, 166, 176)
CAMERA_WIDTH_PX = 328
ABOVE_PX = 400
BEHIND_PX = 504
LEGEND_COLUMN_PX = 190


def keyframe_picture(
    images: Sequence[np.ndarray | None],
    prediction: np.ndarray,
    truth: np.ndarray | None,
    grid: VoxelGrid,
    title: str = "",
    label_set: LabelSet = NUSCENES,
    grid_frame: GridFrame = "lidar",
) -> np.ndarray:
    """The six images, the prediction and the truth from above and from behind, and a legend.

    Args:
        images: six RGB images, uint8 ``[H, W, 3]``, in the order of ``CAMERA_CAPTIONS``, or the
            front camera's alone; None for a missing camera.
        prediction: class ids, uint8 ``[X, Y, Z]``.
        truth: likewise; None leaves it out.
        grid: the grid of both.
        title: a line at the top; the empty string leaves it out.
        label_set: meaning and colours of the class ids.
        grid_frame: the frame in which the grid is fixed.

    Returns:
        RGB, uint8 ``[h, w, 3]``. Its size depends only on whether there are a truth and a title.

    Raises:
        ValueError: there are neither six images nor one, or the labels do not fit the grid.
    """
    if len(images) == 1:
        images = [images[0] if caption == "front" else None for caption in CAMERA_CAPTIONS]
    if len(images) != len(CAMERA_CAPTIONS):
        raise ValueError(
            f"a keyframe has {len(CAMERA_CAPTIONS)} images ({', '.join(CAMERA_CAPTIONS)}), got "
            f"{len(images)}"
        )
    ego = ego_car(grid_frame)
    scenes = {"Prediction": VoxelScene(prediction, grid, ego, label_set)}
    if truth is not None:
        scenes["Truth"] = VoxelScene(truth, grid, ego, label_set)
    from_above, from_behind = (
        view(grid, grid_frame) for view in (viewpoint_above, viewpoint_behind)
    )
    above = [
        captioned(scene.render(from_above, ABOVE_PX, ABOVE_PX), f"{name}, from above")
        for name, scene in scenes.items()
    ]
    first_row = row([_cameras(images, above[0].shape[0]), *above])
    width = (first_row.shape[1] - GAP_PX * (len(scenes) - 1)) // len(scenes)
    behind = [
        captioned(scene.render(from_behind, BEHIND_PX, width), f"{name}, from behind")
        for name, scene in scenes.items()
    ]
    rows = [first_row, row(behind)]
    if title:
        rows.insert(0, captioned(np.empty((0, first_row.shape[1], 3), dtype=np.uint8), title))
    rows.append(_legend(first_row.shape[1], label_set))
    return column(rows)


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Writes an RGB picture, uint8 ``[h, w, 3]``, in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def write_frame_picture(
    folder: Path,
    index: int,
    frame: Frame,
    prediction: np.ndarray,
    truth: np.ndarray | None,
    grid: VoxelGrid,
    label_set: LabelSet = NUSCENES,
    grid_frame: GridFrame = "lidar",
) -> None:
    """Writes ``keyframe_picture`` of a frame of batch 1 to ``folder/INDEX.png``, its drive context
    as the title.

    Args:
        frame: six cameras in the order of ``CAMERA_CAPTIONS``, or the front camera alone; masked
            ones are drawn as missing.
        prediction: class ids, uint8 ``[X, Y, Z]``.
        truth: likewise; None leaves it out.
        grid: the grid of both.
        label_set: meaning and colours of the class ids.
        grid_frame: the frame in which the grid is fixed.
    """
    images = [
        image.permute(1, 2, 0).numpy() if visible else None
        for image, visible in zip(frame.images[0], frame.camera_mask[0], strict=True)
    ]
    context = frame.context[0]
    title = f"{context.region}, {context.weather}"
    picture = keyframe_picture(images, prediction, truth, grid, title, label_set, grid_frame)
    write_picture(picture, folder / f"{index:04d}.png")


def animation(
    pictures: Sequence[np.ndarray], path: Path, width: int = 1200, frame_ms: int = 500
) -> None:
    """Writes pictures as an animated WebP that repeats forever.

    Args:
        pictures: RGB, uint8 ``[h, w, 3]``, all of the same size.
        path: the file, with the suffix ``.webp``.
        width: width of the animation in pixels, to which the pictures are scaled.
        frame_ms: time for which each is shown; nuScenes' keyframes are 500 ms apart.

    Raises:
        ValueError: there are no pictures, or the suffix is another one.
    """
    if not pictures:
        raise ValueError("animation needs at least one picture, got none")
    if path.suffix != ".webp":
        raise ValueError(f"animation writes .webp, got {path.name}")
    size = (width, round(pictures[0].shape[0] * width / pictures[0].shape[1]))
    frames = [
        Image.fromarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        for picture in pictures
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = frames
    first.save(
        path, save_all=True, append_images=others, duration=frame_ms, loop=0, quality=70, method=3
    )


def _cameras(images: Sequence[np.ndarray | None], height: int) -> np.ndarray:
    """Two rows of three images, centred in ``height`` rows of pixels."""
    present = [image for image in images if image is not None]
    aspect = present[0].shape[0] / present[0].shape[1] if present else 9 / 16
    room = (height - GAP_PX) // 2 - CAPTION_PX
    width = min(CAMERA_WIDTH_PX, int(room / aspect))
    size = (round(aspect * width), width)
    panels = []
    for image, caption in zip(images, CAMERA_CAPTIONS, strict=True):
        if image is None:
            panel = np.full((*size, 3), BACKGROUND_RGB, dtype=np.uint8)
            panels.append(captioned(panel, f"{caption}: no image"))
        else:
            panel = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
            panels.append(captioned(panel, caption))
    block = column([row(panels[:3]), row(panels[3:])], margin=0)
    top = (height - block.shape[0]) // 2
    bottom = height - block.shape[0] - top
    return cv2.copyMakeBorder(block, top, bottom, 0, 0, cv2.BORDER_CONSTANT, value=PAGE_RGB)


def _legend(width: int, label_set: LabelSet) -> np.ndarray:
    """Every class, and the ego vehicle, next to a square of its colour."""
    entries = [
        (label_set.names[label].replace("_", " "), label_set.palette[label])
        for label in label_set.occupied
    ]
    entries.append(("ego vehicle", EGO_RGB))
    columns = width // LEGEND_COLUMN_PX
    height = math.ceil(len(entries) / columns) * CAPTION_PX
    legend = Image.new("RGB", (width, height), PAGE_RGB)
    draw = ImageDraw.Draw(legend)
    for i, (text, colour) in enumerate(entries):
        x, y = 2 + i % columns * width // columns, (i // columns + 0.5) * CAPTION_PX
        draw.rectangle((x, y - 8, x + 16, y + 8), fill=colour, outline=OUTLINE_RGB)
        draw.text((x + 24, y), text, fill=TEXT_RGB, font=FONT, anchor="lm")
    return np.asarray(legend)
