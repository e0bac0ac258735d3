"""The thirteen nuScenes v1.0 tables and ``lidarseg``: record fields, shared tables, and writing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from occ_core.files import write_atomically
from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.world.sensors.rig import CAMERAS, LIDAR, Rig

Record = dict[str, Any]
Records = dict[str, list[Record]]

DRIVE_TABLES = (
    "scene",
    "sample",
    "sample_data",
    "ego_pose",
    "calibrated_sensor",
    "sample_annotation",
    "instance",
    "log",
    "map",
    "lidarseg",
)
"""Tables with records of their own for every scene; the others are the same for all scenes."""

ATTRIBUTES = (
    "vehicle.moving",
    "vehicle.stopped",
    "vehicle.parked",
    "cycle.with_rider",
    "cycle.without_rider",
    "pedestrian.sitting_lying_down",
    "pedestrian.standing",
    "pedestrian.moving",
)
VISIBILITIES = {"1": (0, 40), "2": (40, 60), "3": (60, 80), "4": (80, 100)}
"""Token -> percentage of an object that is visible in the six cameras."""


def token(*parts: object) -> str:
    """A token of 32 hexadecimal digits that depends on ``parts`` only."""
    return hashlib.md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def visibility_token(fraction: float) -> str:
    """The visibility of an object of which the cameras see ``fraction`` (0..1)."""
    return next(
        name for name, (_, upper) in VISIBILITIES.items() if fraction * 100 <= upper or name == "4"
    )


def sensor_token(channel: str) -> str:
    """Token of the sensor of this channel."""
    return token("sensor", channel)


def category_token(name: str) -> str:
    """Token of an object category."""
    return token("category", name)


def attribute_token(name: str) -> str:
    """Token of an attribute."""
    return token("attribute", name)


def pose_fields(a_from_b: np.ndarray) -> Record:
    """``translation`` and ``rotation`` (w, x, y, z) of a pose [4, 4]."""
    x, y, z, w = Rotation.from_matrix(a_from_b[:3, :3]).as_quat()
    sign = 1.0 if w >= 0 else -1.0
    return {
        "translation": [round(float(c), 6) for c in a_from_b[:3, 3]],
        "rotation": [float(sign * c) for c in (w, x, y, z)],
    }


def common_tables() -> Records:
    """Tables that do not depend on the scenes."""
    channels = [(camera.channel, "camera") for camera in CAMERAS] + [(LIDAR.channel, "lidar")]
    return {
        "sensor": [
            {"token": sensor_token(name), "channel": name, "modality": modality}
            for name, modality in channels
        ],
        "category": [
            {"token": category_token(name), "name": name, "description": "", "index": index}
            for index, name in enumerate(LIDARSEG_CATEGORIES)
        ],
        "attribute": [
            {"token": attribute_token(name), "name": name, "description": ""} for name in ATTRIBUTES
        ],
        "visibility": [
            {
                "token": name,
                "level": f"v{low}-{high}",
                "description": f"visibility of whole object is between {low} and {high}%",
            }
            for name, (low, high) in VISIBILITIES.items()
        ],
    }


def calibration(rig: Rig, log_token: str, size: tuple[int, int]) -> list[Record]:
    """The ``calibrated_sensor`` records of one log, for images of ``size`` (height, width)."""
    mounts = [
        (camera.channel, camera.ego_from_camera, camera.intrinsics(size).tolist())
        for camera in rig.cameras
    ]
    mounts.append((rig.lidar.channel, rig.lidar.ego_from_lidar, []))
    return [
        {
            "token": token(log_token, "calibrated_sensor", channel),
            "sensor_token": sensor_token(channel),
            **pose_fields(pose),
            "camera_intrinsic": intrinsics,
        }
        for channel, pose, intrinsics in mounts
    ]


def link(records: Sequence[Record]) -> None:
    """Sets ``prev`` and ``next`` of records in time order."""
    for before, after in zip(records, records[1:], strict=False):
        before["next"], after["prev"] = after["token"], before["token"]


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file atomically."""
    write_atomically(path, json.dumps(content))


def assemble(root: Path, version: str, parts: Sequence[Path]) -> None:
    """Joins the records of all scenes into ``root/version/<table>.json``.

    Raises:
        ValueError: two scenes have the same name.
    """
    tables: Records = {name: [] for name in DRIVE_TABLES}
    for part in parts:
        for name, records in json.loads(part.read_text()).items():
            tables[name].extend(records)
    names = [scene["name"] for scene in tables["scene"]]
    if len(set(names)) != len(names):
        raise ValueError(
            f"drives share a name, so their files overwrite each other: {sorted(names)}"
        )
    for name, records in (tables | common_tables()).items():
        write_json(root / version / f"{name}.json", records)
