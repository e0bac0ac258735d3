"""Frames of real and generated drives, as samples of the quantities that are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from occ_core.datasets.nuscenes import Keyframe, NuScenes
from occ_core.datasets.semantic_kitti import SemanticKittiFrames
from training.realism_parts.image_statistics import image_samples
from training.realism_parts.lidar_statistics import Samples, lidar_samples

_DAY = "clear"
"""Real frames are of clear days, so only such drives are compared with them."""


def nuscenes_drives(root: Path, *, only_clear: bool = True) -> list[Samples]:
    """Samples of each drive of a folder in nuScenes layout.

    Args:
        root: the folder.
        only_clear: leaves out drives in rain or at night.

    Raises:
        FileNotFoundError, ValueError: see ``NuScenes``; or no drive is left.
    """
    nuscenes = NuScenes(root)
    drives: dict[str, list[Samples]] = {}
    for keyframe in nuscenes.keyframes(sweeps=0):
        if keyframe.context.weather == _DAY or not only_clear:
            drives.setdefault(keyframe.scene_name, []).extend(_keyframe_samples(keyframe))
    if not drives:
        raise ValueError(f"{root} holds no drive in clear weather, which is needed to compare")
    return [pooled(frames) for frames in drives.values()]


def semantic_kitti_drives(root: Path) -> list[Samples]:
    """Samples of each sequence of a SemanticKITTI folder.

    Raises:
        FileNotFoundError, ValueError: see ``SemanticKittiFrames``.
    """
    frames = SemanticKittiFrames(root, history_s=0.0)
    drives: dict[Path, list[Samples]] = {}
    for index, (sequence, scan) in enumerate(frames.scans):
        _, labelled = frames[index]
        # as the classes, with the recording car's own returns, which ``Frame`` leaves out
        points = np.column_stack([labelled.xyz_m, sequence.read_scan(scan)[:, 3]])
        drive = drives.setdefault(sequence.folder, [])
        drive.append(lidar_samples(points, labelled.classes))
        image = cv2.imread(str(sequence.folder / "image_2" / f"{sequence.names[scan]}.png"))
        if image is not None:
            drive.append(image_samples(image[..., ::-1]))
    return [pooled(samples) for samples in drives.values()]


def pooled(parts: Iterable[Samples]) -> Samples:
    """All samples of each quantity together."""
    lists: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, values in part.items():
            lists.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in lists.items()}


def _keyframe_samples(keyframe: Keyframe) -> Sequence[Samples]:
    points = keyframe.lidar.read()
    has_classes = (keyframe.source.folder / "lidarseg.json").is_file()
    classes = keyframe.read_lidarseg() if has_classes else None
    pictures = [image_samples(view.read()[0]) for view in keyframe.cameras.values()]
    return [lidar_samples(points, classes), *pictures]
