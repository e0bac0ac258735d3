"""How well sky and points that are no surface are found without labels: ``training.evaluate
--benchmark preprocessing``.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, CameraView, Keyframe
from occ_core.datasets.surroundocc import mask_path, read_sky
from occ_core.geometry.points import is_return, project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.preprocessing.lidar_filter import surface_points
from occ_core.preprocessing.sky import sky_masks
from training.figures.keyframe import write_picture

SKY_TINT = (255, 0, 255)


def score_preprocessing(
    root: Path, keyframes: list[Keyframe], pictures: Path | None = None
) -> dict[str, Any]:
    """Shares, per weather and over all.

    ``sky_recall`` and ``sky_false_positive``: of sky pixels and of others, those called sky.
    ``noise_recall`` and ``surface_loss``: of noise and of surface returns, those that the LiDAR
    filter removes.

    Scores need what generated towns know: ``sky`` in the masks, and lidarseg. Where a data root has
    neither, as real ones, the pictures alone are made. A drive's noise are returns without a class,
    the ego vehicle's own left out.
    """
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((4, 2)))
    for index, keyframe in enumerate(tqdm(keyframes, desc="evaluate", unit="frame", leave=False)):
        channels = [channel for channel in NUSCENES_CAMERAS if channel in keyframe.cameras]
        views = [keyframe.cameras[channel] for channel in channels]
        images, intrinsics = zip(*(view.read() for view in views), strict=True)
        points = keyframe.lidar.read()
        is_surface = surface_points(points, keyframe.context)
        surface_pixels = [
            project_points(
                matrix, transform_points(_camera_from_lidar(view, keyframe), points[is_surface])
            )[0]
            for view, matrix in zip(views, intrinsics, strict=True)
        ]
        poses = [view.world_from_camera for view in views]
        sky = sky_masks(images, intrinsics, poses, surface_pixels)
        if pictures is not None:
            write_picture(_picture(views, images, sky), pictures / f"{index:04d}.png")
        truth = read_sky(mask_path(root, keyframe.lidar.path))
        if truth is None:
            continue
        for found, channel in zip(sky, channels, strict=True):
            _count(
                counts[keyframe.context.weather], 0, found, truth[NUSCENES_CAMERAS.index(channel)]
            )
        candidates = is_return(points[:, :4].T)
        noise = keyframe.read_lidarseg() == 0
        _count(counts[keyframe.context.weather], 2, ~is_surface[candidates], noise[candidates])
    if not counts:
        return {"frames": len(keyframes)}
    counts["all"] = np.sum(list(counts.values()), axis=0)
    names = ("sky_recall", "sky_false_positive", "noise_recall", "surface_loss")
    return {
        weather: {
            name: hits / total if total else None
            for name, (hits, total) in zip(names, rows.tolist(), strict=True)
        }
        for weather, rows in counts.items()
    } | {"frames": len(keyframes)}


def _camera_from_lidar(view: CameraView, keyframe: Keyframe) -> np.ndarray:
    camera_from_lidar: np.ndarray = (
        invert_pose(view.world_from_camera) @ keyframe.lidar.world_from_lidar
    )
    return camera_from_lidar


def _count(rows: np.ndarray, first: int, found: np.ndarray, truth: np.ndarray) -> None:
    rows[first] += (found & truth).sum(), truth.sum()
    rows[first + 1] += (found & ~truth).sum(), (~truth).sum()


def _picture(
    views: list[CameraView], images: tuple[np.ndarray, ...], sky: list[np.ndarray]
) -> np.ndarray:
    """Images in two rows, as wide as 640 pixels each, the sky tinted."""
    tiles = []
    for view, image, mask in zip(views, images, sky, strict=True):
        tinted = image.copy()
        tinted[mask] = (image[mask] + np.array(SKY_TINT)) // 2
        tile = cv2.resize(
            tinted,
            (640, round(640 * image.shape[0] / image.shape[1])),
            interpolation=cv2.INTER_AREA,
        )
        tiles.append(
            cv2.putText(
                tile,
                view.channel,
                (8, 20),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.6,
                (255, 255, 255),
                1,
                cv2.LINE_AA,
            )
        )
    half = (len(tiles) + 1) // 2
    tiles += [np.zeros_like(tiles[0])] * (2 * half - len(tiles))
    return np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half:])])
