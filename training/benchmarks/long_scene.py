"""A nuScenes scene of usual length, whose pictures and sweeps are as large as real ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS
from occ_perception_ros.sync_config import NUSCENES_OFFSETS_S

NAME = "scene-0001"
SWEEP_HZ, IMAGE_HZ, KEYFRAME_HZ = 20, 12, 2
POINTS = 34_720
IMAGE_SIZE = (900, 1600)
START_US = 1_600_000_000_000_000
SPEED_M_S = 8.0
LIDAR = "LIDAR_TOP"
NO_TURN = [1.0, 0.0, 0.0, 0.0]


def write_long_scene(root: Path, seconds: int = 20) -> str:
    """Writes a scene in the layout of nuScenes and returns its name.

    There are 20 sweeps and 6 x 12 images a second. A few pictures and sweeps serve for all of them,
    each under a name of its own.
    """
    random = np.random.default_rng(0)
    tables: dict[str, list[dict[str, Any]]] = {
        "sensor": [_sensor(channel) for channel in (LIDAR, *NUSCENES_CAMERAS)],
        "calibrated_sensor": [_mounting(channel) for channel in (LIDAR, *NUSCENES_CAMERAS)],
        "category": [{"token": "car", "name": "vehicle.car", "description": "", "index": 17}],
        "instance": [{"token": "car-1", "category_token": "car"}],
        "log": [{"token": "log", "location": "boston-seaport"}],
        "scene": [{"token": NAME, "log_token": "log", "name": NAME, "description": "Rain"}],
        "sample": [
            {"token": f"sample-{number}", "timestamp": _stamp_us(number / 2), "scene_token": NAME}
            for number in range(seconds * KEYFRAME_HZ)
        ],
        "sample_annotation": [],
        "sample_data": [],
        "ego_pose": [],
    }
    sweeps = [_sweep(random).tobytes() for _ in range(4)]
    for number in range(seconds * SWEEP_HZ):
        _add(
            root, tables, LIDAR, number / SWEEP_HZ, number % (SWEEP_HZ // KEYFRAME_HZ) == 0, sweeps
        )
    pictures = [_picture(random) for _ in NUSCENES_CAMERAS]
    for channel, offset_s in zip(NUSCENES_CAMERAS, NUSCENES_OFFSETS_S, strict=True):
        for number in range(seconds * IMAGE_HZ):
            is_key = number % (IMAGE_HZ // KEYFRAME_HZ) == 0
            _add(root, tables, channel, number / IMAGE_HZ + offset_s, is_key, pictures)
    folder = root / "v1.0-mini"
    folder.mkdir()
    for name, records in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(records))
    return NAME


def _add(
    root: Path,
    tables: dict[str, list[dict[str, Any]]],
    channel: str,
    time_s: float,
    is_key: bool,
    contents: list[bytes],
) -> None:
    """Adds one file, and its records."""
    stamp_us = _stamp_us(time_s)
    ending = "pcd.bin" if channel == LIDAR else "jpg"
    folder = f"{'samples' if is_key else 'sweeps'}/{channel}"
    filename = f"{folder}/{channel}__{stamp_us}.{ending}"
    token, number = f"{channel}-{stamp_us}", len(tables["sample_data"])
    original = root / f"{channel}-{number % len(contents)}"
    (root / folder).mkdir(parents=True, exist_ok=True)
    if not original.exists():
        original.write_bytes(contents[number % len(contents)])
    os.link(original, root / filename)
    height, width = (0, 0) if channel == LIDAR else IMAGE_SIZE
    tables["sample_data"].append(
        {
            "token": token,
            "sample_token": f"sample-{max(0, int(time_s * KEYFRAME_HZ))}",
            "ego_pose_token": token,
            "calibrated_sensor_token": channel,
            "timestamp": stamp_us,
            "is_key_frame": is_key,
            "height": height,
            "width": width,
            "filename": filename,
        }
    )
    tables["ego_pose"].append(
        {
            "token": token,
            "timestamp": stamp_us,
            "translation": [SPEED_M_S * time_s, 0.0, 0.0],
            "rotation": NO_TURN,
        }
    )


def _sensor(channel: str) -> dict[str, Any]:
    modality = "lidar" if channel == LIDAR else "camera"
    return {"token": channel, "channel": channel, "modality": modality}


def _mounting(channel: str) -> dict[str, Any]:
    intrinsics = [[1260.0, 0.0, 800.0], [0.0, 1260.0, 450.0], [0.0, 0.0, 1.0]]
    return {
        "token": channel,
        "sensor_token": channel,
        "camera_intrinsic": [] if channel == LIDAR else intrinsics,
        "translation": [1.0, 0.0, 1.5],
        "rotation": NO_TURN,
    }


def _picture(random: np.random.Generator) -> bytes:
    """Shapes with grain, as a JPEG of about 130 kB, as nuScenes' are."""
    shapes = random.integers(0, 256, (40, 70, 3), dtype=np.uint8)
    image = cv2.resize(shapes, IMAGE_SIZE[::-1], interpolation=cv2.INTER_CUBIC).astype(np.int16)
    image += random.integers(-6, 7, image.shape, dtype=np.int16)
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=60, colorsubsampling="420"))


def _sweep(random: np.random.Generator) -> np.ndarray:
    """x, y, z, intensity and ring, float32 ``[POINTS, 5]``, in the order of their firing."""
    ring = np.arange(POINTS) % 32
    azimuth, distance = np.linspace(0, 2 * np.pi, POINTS), random.uniform(4, 60, POINTS)
    columns = [distance * np.cos(azimuth), distance * np.sin(azimuth), ring / 16 - 1.5]
    return np.column_stack([*columns, random.integers(0, 256, POINTS), ring]).astype(np.float32)


def _stamp_us(time_s: float) -> int:
    return START_US + round(time_s * 1e6)
