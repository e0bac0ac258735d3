"""A nuScenes data root small enough to work out by hand."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Tables = dict[str, list[dict[str, Any]]]

IMAGE_SIZE = (36, 64)
NO_ROTATION = [1.0, 0.0, 0.0, 0.0]
# Looking along ego x: camera z forward = ego x, camera x right = ego -y, camera y down = ego -z.
FORWARD_CAMERA = [0.5, -0.5, 0.5, -0.5]
# LiDAR y (forward) = ego x, LiDAR x (right) = ego -y.
QUARTER_TURN = [2**-0.5, 0.0, 0.0, -(2**-0.5)]
CAMERAS = (
    "CAM_FRONT_LEFT",
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_BACK_LEFT",
    "CAM_BACK",
    "CAM_BACK_RIGHT",
)
LIDAR = "LIDAR_TOP"
CATEGORIES = ("noise", "vehicle.car", "flat.driveable_surface", "static_object.bicycle_rack")

# One scene: keyframe, sweep, sweep, keyframe, sweep, at 0, 0.2, 0.4, 0.5, 0.6 s. The ego vehicle
# drives east at 10 m/s.
STAMPS_US = {"key0": 0, "sweep1": 200_000, "sweep2": 400_000, "key3": 500_000, "sweep4": 600_000}
SPEED_MPS = 10.0
CAR_SPEED_MPS = 4.0
CAMERA_LEAD_S = 0.1  # the cameras were ahead of the LiDAR
POINTS = np.array(
    [
        [0.0, 20.0, -1.0, 7.0, 3.0],  # 20 m ahead
        [5.0, 0.0, 1.0, 9.0, 4.0],  # 5 m to the right
        [0.0, 0.0, 0.0, 0.0, 0.0],  # drop-out
        [0.3, 1.0, -0.5, 50.0, 0.0],  # on the ego vehicle's bonnet
    ],
    dtype=np.float32,
)


def write_tiny_nuscenes(root: Path) -> Path:
    """Writes the data root; its car is 20 m ahead of the LiDAR in the first keyframe."""
    tables = _scene_and_sensors()
    for name, stamp_us in STAMPS_US.items():
        _add_recordings(tables, root, name, stamp_us)
        if name.startswith("key"):
            tables["sample"].append({"token": name, "timestamp": stamp_us, "scene_token": "scene"})
            _add_labels(tables, root, name, stamp_us)
    _add_bicycle_rack(tables)
    folder = root / "v1.0-mini"
    folder.mkdir()
    for table, records in tables.items():
        (folder / f"{table}.json").write_text(json.dumps(records))
    return root


def _scene_and_sensors() -> Tables:
    """All tables, with what is the same at every time."""
    scene = {
        "token": "scene",
        "log_token": "log",
        "name": "scene-0061",
        "description": "Night, wait, rain, parked cars",
    }
    cameras = [
        {
            "token": f"calibrated {camera}",
            "sensor_token": camera,
            "translation": [1.5, 0.0, 1.5],
            "rotation": FORWARD_CAMERA,
            "camera_intrinsic": [[50.0, 0.0, 31.5], [0.0, 50.0, 17.5], [0.0, 0.0, 1.0]],
        }
        for camera in CAMERAS
    ]
    lidar = {
        "token": f"calibrated {LIDAR}",
        "sensor_token": LIDAR,
        "translation": [1.0, 0.0, 1.8],
        "rotation": QUARTER_TURN,
        "camera_intrinsic": [],
    }
    return {
        "log": [{"token": "log", "location": "boston-seaport"}],
        "scene": [scene],
        "category": [
            {"token": f"category{i}", "name": name, "index": i} for i, name in enumerate(CATEGORIES)
        ],
        "sensor": [
            *({"token": name, "channel": name, "modality": "camera"} for name in CAMERAS),
            {"token": LIDAR, "channel": LIDAR, "modality": "lidar"},
        ],
        "calibrated_sensor": [*cameras, lidar],
        "sample": [],
        "sample_data": [],
        "ego_pose": [],
        "instance": [
            {"token": "car", "category_token": "category1"},
            {"token": "rack", "category_token": "category3"},
        ],
        "sample_annotation": [],
        "lidarseg": [],
    }


def _add_recordings(tables: Tables, root: Path, name: str, stamp_us: int) -> None:
    """The sweep at a time, and the images of all cameras if it is a keyframe's."""
    is_key = name.startswith("key")
    for channel in (LIDAR, *(CAMERAS if is_key else ())):
        is_camera = channel != LIDAR
        seconds = stamp_us * 1e-6 + (CAMERA_LEAD_S if is_camera else 0.0)
        token = f"{name} {channel}"
        folder, suffix = "samples" if is_key else "sweeps", ".jpg" if is_camera else ".pcd.bin"
        filename = f"{folder}/{channel}/{name}{suffix}"
        path = root / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_camera:
            picture = np.zeros((*IMAGE_SIZE, 3), dtype=np.uint8)
            picture[:, :, 2] = 200  # red, in OpenCV's order
            cv2.imwrite(str(path), picture)
        else:
            POINTS.tofile(path)
        position = [1000.0 + SPEED_MPS * seconds, 500.0, 0.0]
        tables["ego_pose"].append(
            {"token": token, "translation": position, "rotation": NO_ROTATION}
        )
        tables["sample_data"].append(
            {
                "token": token,
                "sample_token": name if is_key else ("key0" if stamp_us < 450_000 else "key3"),
                "ego_pose_token": token,
                "filename": filename,
                "is_key_frame": is_key,
                "calibrated_sensor_token": f"calibrated {channel}",
                "timestamp": round(seconds * 1e6),
                "height": IMAGE_SIZE[0] if is_camera else 0,
                "width": IMAGE_SIZE[1] if is_camera else 0,
            }
        )


def _add_labels(tables: Tables, root: Path, name: str, stamp_us: int) -> None:
    """The point labels and the car's box of a keyframe.

    World x of the LiDAR is 1001 at 0 s, so the car stands at LiDAR y = 20, z = -1.
    """
    np.array([1, 2, 0, 0], dtype=np.uint8).tofile(root / f"{name}.bin")
    tables["lidarseg"].append(
        {"token": name, "sample_data_token": f"{name} {LIDAR}", "filename": f"{name}.bin"}
    )
    tables["sample_annotation"].append(
        {
            "token": f"{name} car",
            "sample_token": name,
            "instance_token": "car",
            "num_lidar_pts": 1,
            "translation": [1021.0 + CAR_SPEED_MPS * stamp_us * 1e-6, 500.0, 0.8],
            "size": [2.0, 4.0, 1.5],
            "rotation": NO_ROTATION,
            "prev": "" if name == "key0" else "key0 car",
            "next": "key3 car" if name == "key0" else "",
        }
    )


def _add_bicycle_rack(tables: Tables) -> None:
    """A box of a category that is noise."""
    tables["sample_annotation"].append(
        {
            "token": "rack",
            "sample_token": "key0",
            "instance_token": "rack",
            "num_lidar_pts": 0,
            "translation": [1001, 490, 0.5],
            "size": [1, 2, 1],
            "rotation": NO_ROTATION,
            "prev": "",
            "next": "",
        }
    )
