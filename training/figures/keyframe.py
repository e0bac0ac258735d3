"""One picture that shows a keyframe: what the cameras saw, what the model made of it, and the truth
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from occ_core.taxonomy import CLASS_NAMES, EMPTY, PALETTE
from occ_core.voxel_grid import VoxelGrid
from training.figures.voxel_render import (
    BACKGROUND,
    EGO_COLOUR,
    VoxelScene,
    camera_above,
    camera_behind,
)

CAMERA_CAPTIONS = ("front left", "front", "front right", "back left", "back", "back right")
"""In the order of nuScenes' rig: two rows of three."""

PAGE = (13, 14, 17)
TEXT = (232, 234, 238)
OUTLINE = (160, 166, 176)
GAP_PX = 8
CAPTION_PX = 26
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
) -> np.ndarray:
    """The six images, and the prediction and the truth from above and from behind the ego vehicle,
    with a legend.

    Args:
        images: six RGB images uint8 ``[H, W, 3]`` in the order of ``CAMERA_CAPTIONS``; ``None``
            where a camera is missing.
        prediction: class ids uint8 ``[X, Y, Z]``.
        truth: likewise, or ``None`` where there is none.
        grid: of both, fixed in nuScenes' LiDAR frame (+y forward).
        title: a line on top.

    Returns:
        uint8 ``[h, w, 3]`` RGB; the size depends only on whether there is a truth, a title.

    Raises:
        ValueError: not six images, or labels that do not fit the grid.
    """
    if len(images) != len(CAMERA_CAPTIONS):
        raise ValueError(
            f"a keyframe has {len(CAMERA_CAPTIONS)} images ({', '.join(CAMERA_CAPTIONS)}), got "
            f"{len(images)}"
        )
    named = [("Prediction", prediction)] + ([("Truth", truth)] if truth is not None else [])
    scenes = [(name, VoxelScene(labels, grid)) for name, labels in named]
    above = [
        captioned(s.render(camera_above(grid), ABOVE_PX, ABOVE_PX), f"{name}, from above")
        for name, s in scenes
    ]
    first_row = row([_cameras(images, above[0].shape[0]), *above])
    width = (first_row.shape[1] - GAP_PX * (len(scenes) - 1)) // len(scenes)
    behind = [
        captioned(s.render(camera_behind(grid), BEHIND_PX, width), f"{name}, from behind")
        for name, s in scenes
    ]
    rows = [first_row, row(behind)]
    if title:
        rows.insert(0, captioned(np.empty((0, first_row.shape[1], 3), dtype=np.uint8), title))
    rows.append(_legend(first_row.shape[1]))
    return column(rows)


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Writes a picture uint8 ``[h, w, 3]`` RGB as the kind of file that ``path`` names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def animation(
    pictures: Sequence[np.ndarray], path: Path, width: int = 1200, frame_ms: int = 500
) -> None:
    """Writes pictures as an animated WebP that repeats for ever.

    Args:
        pictures: uint8 ``[h, w, 3]`` RGB, all of one size.
        path: ending in ``.webp``.
        width: of the animation in pixels; the pictures are scaled to it.
        frame_ms: how long each is shown; nuScenes' keyframes are 500 ms apart.

    Raises:
        ValueError: no pictures, or another ending.
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
    frames[0].save(
        path,
        save_all=True,
        append_images=frames[1:],
        duration=frame_ms,
        loop=0,
        quality=70,
        method=3,
    )


def _cameras(images: Sequence[np.ndarray | None], height: int) -> np.ndarray:
    """Two rows of three images, centred in ``height`` rows."""
    known = [image for image in images if image is not None]
    aspect = known[0].shape[0] / known[0].shape[1] if known else 9 / 16
    room = (height - GAP_PX) // 2 - CAPTION_PX
    width = min(CAMERA_WIDTH_PX, int(room / aspect))
    size = (round(aspect * width), width)
    panels = []
    for image, caption in zip(images, CAMERA_CAPTIONS, strict=True):
        if image is None:
            panels.append(
                captioned(np.full((*size, 3), BACKGROUND, dtype=np.uint8), f"{caption}: no image")
            )
        else:
            panels.append(
                captioned(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), caption)
            )
    block = column([row(panels[:3]), row(panels[3:])], margin=0)
    top = (height - block.shape[0]) // 2
    return cv2.copyMakeBorder(
        block, top, height - block.shape[0] - top, 0, 0, cv2.BORDER_CONSTANT, value=PAGE
    )


def captioned(panel: np.ndarray, caption: str) -> np.ndarray:
    """The panel under a line of text."""
    line = Image.new("RGB", (panel.shape[1], CAPTION_PX), PAGE)
    ImageDraw.Draw(line).text(
        (2, CAPTION_PX / 2), caption, fill=TEXT, font=ImageFont.load_default(15), anchor="lm"
    )
    return np.concatenate([np.asarray(line), panel])


def _legend(width: int) -> np.ndarray:
    """Every class behind a square of its colour, and the ego vehicle."""
    entries = [
        (name.replace("_", " "), PALETTE[i]) for i, name in enumerate(CLASS_NAMES) if i != EMPTY
    ]
    entries.append(("ego vehicle", EGO_COLOUR))
    columns = width // LEGEND_COLUMN_PX
    legend = Image.new("RGB", (width, -(-len(entries) // columns) * CAPTION_PX), PAGE)
    draw = ImageDraw.Draw(legend)
    for i, (text, colour) in enumerate(entries):
        x, y = 2 + i % columns * width // columns, (i // columns + 0.5) * CAPTION_PX
        draw.rectangle((x, y - 8, x + 16, y + 8), fill=colour, outline=OUTLINE)
        draw.text((x + 24, y), text, fill=TEXT, font=ImageFont.load_default(15), anchor="lm")
    return np.asarray(legend)


def row(panels: list[np.ndarray]) -> np.ndarray:
    """Panels of one height side by side."""
    gap = np.full((panels[0].shape[0], GAP_PX, 3), PAGE, dtype=np.uint8)
    return np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)


def column(rows: list[np.ndarray], margin: int = GAP_PX) -> np.ndarray:
    """Rows below each other, each centred in the width of the widest."""
    width = max(one.shape[1] for one in rows)
    height = sum(one.shape[0] + GAP_PX for one in rows) - GAP_PX
    page = np.full((height + 2 * margin, width + 2 * margin, 3), PAGE, dtype=np.uint8)
    top = margin
    for one in rows:
        left = margin + (width - one.shape[1]) // 2
        page[top : top + one.shape[0], left : left + one.shape[1]] = one
        top += one.shape[0] + GAP_PX
    return page
