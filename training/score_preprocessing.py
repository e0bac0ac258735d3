"""Scores of label-free preprocessing: ``python -m training.evaluate --benchmark preprocessing``."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe
from occ_core.datasets.recordings import CameraImage
from occ_core.datasets.samples import Damaged, IntactItems
from occ_core.datasets.surroundocc import mask_path, read_sky
from occ_core.geometry.points import is_return, project_points, transform_points
from occ_core.geometry.poses import invert_pose
from occ_core.preprocessing.lidar_filter import surface_points
from occ_core.preprocessing.sky import sky_masks
from training.figures.keyframe import write_picture

RATES = ("sky_recall", "sky_false_positive", "noise_recall", "surface_loss")
SKY_TINT = (255, 0, 255)
TILE_WIDTH_PX = 640


def score_preprocessing(
    root: Path, keyframes: list[Keyframe], pictures: Path | None = None, damaged: Damaged = "stop"
) -> dict[str, Any]:
    """Scores sky masks and the LiDAR filter, by weather and over all keyframes.

    The truth is that of generated towns: the sky in the masks, and lidarseg, where returns without
    a class are noise. The ego vehicle's own returns do not count. Without truth, as in real data,
    only the pictures are made.

    Args:
        root: nuScenes data root.
        keyframes: the keyframes to score.
        pictures: folder for one picture per keyframe.
        damaged: see ``IntactItems``.

    Returns:
        ``sky_recall`` and ``sky_false_positive``, the fractions of sky pixels and of the other
        pixels that are in the mask; ``noise_recall`` and ``surface_loss``, the fractions of noise
        and of surface returns that the filter removes; None where there is nothing to find. Each by
        weather, and under ``all``; ``frames`` and ``skipped`` are numbers of keyframes.
    """
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros((len(RATES), 2)))
    intact = IntactItems(partial(_read, root, keyframes), range(len(keyframes)), damaged)
    for index, recorded in tqdm(intact, desc="evaluate", unit="frame", leave=False):
        keyframe = keyframes[index]
        cameras, images, intrinsics, points, true_sky, classes = recorded
        is_surface = surface_points(points, keyframe.context)
        surface_pixels = [
            _project(points[is_surface], keyframe, camera, matrix)
            for camera, matrix in zip(cameras, intrinsics, strict=True)
        ]
        poses = [camera.world_from_camera for camera in cameras]
        sky = sky_masks(images, intrinsics, poses, surface_pixels)
        if pictures is not None:
            write_picture(_picture(cameras, images, sky), pictures / f"{index:04d}.png")
        if true_sky is None or classes is None:
            continue
        weather = counts[keyframe.context.weather]
        for mask, camera in zip(sky, cameras, strict=True):
            channel = NUSCENES_CAMERAS.index(camera.channel)
            weather[:2] += _hits_and_totals(mask, true_sky[channel])
        is_scored, is_noise = is_return(points[:, :4].T), classes == 0
        weather[2:] += _hits_and_totals(~is_surface[is_scored], is_noise[is_scored])
    skipped = len(intact.skipped)
    numbers = {"frames": len(keyframes) - skipped, "skipped": skipped}
    if not counts and pictures is None:
        raise ValueError(
            f"nothing to score: {root} has no true sky masks, which only generated towns have; "
            "give a folder by --pictures to look at the masks"
        )
    if not counts:
        return numbers
    return _rates(counts) | numbers


def _rates(counts: dict[str, np.ndarray]) -> dict[str, Any]:
    """Hits by totals, by weather and over all."""
    counts = {**counts, "all": np.sum(list(counts.values()), axis=0)}
    return {
        weather: {
            name: hits / total if total else None
            for name, (hits, total) in zip(RATES, rows.tolist(), strict=True)
        }
        for weather, rows in counts.items()
    }


class _Recorded(NamedTuple):
    """The sensors of a keyframe, and what is known of them."""

    cameras: list[CameraImage]
    images: tuple[np.ndarray, ...]
    intrinsics: tuple[np.ndarray, ...]
    points: np.ndarray
    sky: np.ndarray | None
    classes: np.ndarray | None


def _read(root: Path, keyframes: list[Keyframe], index: int) -> _Recorded:
    keyframe = keyframes[index]
    cameras = [
        keyframe.cameras[channel] for channel in NUSCENES_CAMERAS if channel in keyframe.cameras
    ]
    images, intrinsics = zip(*(camera.read() for camera in cameras), strict=True)
    sky = read_sky(mask_path(root, keyframe.lidar.path))
    classes = None if sky is None else keyframe.read_lidarseg()
    return _Recorded(cameras, images, intrinsics, keyframe.lidar.read(), sky, classes)


def _project(
    points: np.ndarray, keyframe: Keyframe, camera: CameraImage, intrinsics: np.ndarray
) -> np.ndarray:
    """Pixels ``[N, 2]`` of points in the LiDAR frame."""
    camera_from_lidar = invert_pose(camera.world_from_camera) @ keyframe.lidar.world_from_lidar
    pixels, _ = project_points(intrinsics, transform_points(camera_from_lidar, points))
    return pixels


def _hits_and_totals(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Rows (true positives, positives) and (false positives, negatives), int ``[2, 2]``."""
    return np.array(
        [[(found & truth).sum(), truth.sum()], [(found & ~truth).sum(), (~truth).sum()]]
    )


def _picture(
    cameras: list[CameraImage], images: tuple[np.ndarray, ...], sky: list[np.ndarray]
) -> np.ndarray:
    """The images in two rows, the sky tinted."""
    tiles = [
        _tile(camera.channel, image, mask)
        for camera, image, mask in zip(cameras, images, sky, strict=True)
    ]
    half = (len(tiles) + 1) // 2
    tiles += [np.zeros_like(tiles[0])] * (2 * half - len(tiles))
    return np.vstack([np.hstack(tiles[:half]), np.hstack(tiles[half:])])


def _tile(caption: str, image: np.ndarray, sky: np.ndarray) -> np.ndarray:
    tinted = image.copy()
    tinted[sky] = (image[sky] + np.array(SKY_TINT)) // 2
    size = (TILE_WIDTH_PX, round(TILE_WIDTH_PX * image.shape[0] / image.shape[1]))
    tile = cv2.resize(tinted, size, interpolation=cv2.INTER_AREA)
    font, white = cv2.FONT_HERSHEY_SIMPLEX, (255, 255, 255)
    return cv2.putText(tile, caption, (8, 20), font, 0.6, white, 1, cv2.LINE_AA)
