"""What can be wrong with a bag, and with one message in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from occ_perception_ros.bags.encoded_image import encoded_size

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Rule:
    """How bad a finding is, and what to do about it."""

    severity: Severity
    cure: str


_CONVERT = "convert again with nuscenes_to_bag, or mend the recorder"

RULES: dict[str, Rule] = {
    "unreadable": Rule(
        "error", "copy or record the bag again; a cut-off MCAP can be rescued with `mcap recover`"
    ),
    "no-metadata": Rule("error", "rebuild metadata.yaml with `ros2 bag reindex`"),
    "not-ros2-encoding": Rule(
        "error", "a ROS 2 player needs CDR: convert the data set again with nuscenes_to_bag"
    ),
    "ros1-bag": Rule(
        "error", "convert it with `rosbags-convert`, or the data set again with nuscenes_to_bag"
    ),
    "corrupt-message": Rule(
        "error", "record again; the publisher and the bag disagree about the message type"
    ),
    "empty-topic": Rule("warning", "check that its publisher ran while the bag was recorded"),
    "no-image": Rule("error", "record the cameras (sensor_msgs/CompressedImage or Image)"),
    "no-camera-info": Rule(
        "error", "record the camera's camera_info; without intrinsics it stays masked"
    ),
    "no-lidar": Rule(
        "error",
        "record the LiDAR (sensor_msgs/PointCloud2); every output is anchored on its sweeps",
    ),
    "no-tf": Rule(
        "error",
        "record /tf and /tf_static, or give the node a calibration_file and an odometry topic",
    ),
    "no-ego-motion": Rule(
        "warning",
        "record /tf (map or odom -> base_link) or odometry; without it nothing is ego-compensated",
    ),
    "frame-unconnected": Rule(
        "error", "publish the missing transform on /tf_static, or give the node a calibration_file"
    ),
    "tf-static-volatile": Rule(
        "error", "record /tf_static with transient-local QoS; late subscribers get nothing now"
    ),
    "static-in-tf": Rule("warning", "publish fixed sensor mountings once, on /tf_static"),
    "tf-sparse": Rule(
        "warning", "write the ego pose at every sensor stamp; it is interpolated over long gaps now"
    ),
    "zero-stamp": Rule(
        "error", "set header.stamp to the sensor's time; unstamped messages cannot be synchronised"
    ),
    "empty-frame": Rule("error", "set header.frame_id to the sensor's TF frame"),
    "stamp-apart": Rule(
        "error",
        "keep the sensor's time in header.stamp and write it as bag time; do not stamp with now()",
    ),
    "late": Rule(
        "warning",
        "write each message at its own stamp; raise the collector's timeout if it is the sensor's "
        "latency",
    ),
    "burst": Rule("warning", "write each message at its own stamp, not in bursts"),
    "out-of-order": Rule("error", "write each topic in the order of its stamps"),
    "duplicate-stamp": Rule(
        "warning", "each measurement needs its own stamp; the newest one wins now"
    ),
    "keyframes-only": Rule(
        "warning", "write all LiDAR sweeps (20 Hz in nuScenes); the model accumulates ten of them"
    ),
    "zero-intrinsics": Rule(
        "error", "calibrate the camera and fill CameraInfo.k; it stays masked now"
    ),
    "bad-rectification": Rule(
        "error", "CameraInfo.r must be a rotation: the identity for rectified images"
    ),
    "bad-projection": Rule(
        "warning", "CameraInfo.p must begin with a camera matrix: [K | 0] for rectified images"
    ),
    "no-distortion-model": Rule(
        "warning", "name the distortion model: plumb_bob with five zeros for rectified images"
    ),
    "size-mismatch": Rule("error", "CameraInfo must tell the size of the images that it goes with"),
    "corrupt-image": Rule("error", "record again; the camera is masked for this frame now"),
    "image-encoding": Rule(
        "error", "publish rgb8, bgr8, rgba8, bgra8, mono8 or 8UC3; the camera stays masked now"
    ),
    "image-truncated": Rule(
        "error", "Image.data must hold height * step bytes, and step at least a row of pixels"
    ),
    "cloud-layout": Rule(
        "error", "publish x, y, z and intensity as little-endian float32 fields inside point_step"
    ),
    "cloud-without-intensity": Rule(
        "warning", "publish the field intensity (0..255); 0 is taken now"
    ),
    "cloud-truncated": Rule(
        "error",
        "PointCloud2.data must hold height * row_step bytes, and row_step width * point_step",
    ),
    "cloud-empty": Rule("warning", "an empty cloud counts as a missing sweep; check the driver"),
    "no-odometry": Rule("info", "CAN-style odometry is optional: ego motion is taken from TF"),
    "no-weather": Rule("info", "the weather is taken as unknown; publish it as std_msgs/String"),
    "no-region": Rule("info", "the region is taken as unknown; publish it as std_msgs/String"),
    "unknown-context": Rule(
        "warning",
        "publish a name of occ_core.taxonomy, or words that say as much; this one is ignored",
    ),
}

IMAGE_CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1, "8UC3": 3}
"""Encodings that the node reads, and bytes a pixel."""

_FLOAT32 = 7
_FIELD_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 8: 8}

Fault = tuple[str, str]
"""A key of ``RULES`` and what was found."""


def camera_info_faults(message: Any) -> Iterator[Fault]:
    """What is wrong with a CameraInfo (of ROS 2, or of ROS 1 with its capital letters)."""
    k, r, p = (np.reshape(_either_case(message, name), (3, -1)) for name in "krp")
    if k[0, 0] <= 0 or k[1, 1] <= 0 or k[2, 2] <= 0:
        yield "zero-intrinsics", f"K = {k.reshape(-1).tolist()} has no focal length"
    if not np.allclose(r @ r.T, np.eye(3), atol=1e-3) or np.linalg.det(r) < 0:
        rank = int(np.linalg.matrix_rank(r))
        yield "bad-rectification", f"R = {r.reshape(-1).tolist()} is not a rotation (rank {rank})"
    if p[0, 0] <= 0 or p[1, 1] <= 0:
        yield "bad-projection", f"P = {p.reshape(-1).tolist()} has no focal length"
    if not message.distortion_model:
        yield "no-distortion-model", "distortion_model is empty"


def image_faults(message: Any) -> Iterator[Fault]:
    """What is wrong with an Image."""
    channels = IMAGE_CHANNELS.get(message.encoding)
    if channels is None:
        yield (
            "image-encoding",
            f"encoding {message.encoding!r} is none of {', '.join(IMAGE_CHANNELS)}",
        )
        channels = 1
    if message.step < message.width * channels or len(message.data) < message.height * message.step:
        yield (
            "image-truncated",
            f"{message.width}x{message.height} {message.encoding} with step {message.step} holds "
            f"{len(message.data)} bytes",
        )


def compressed_image_size(message: Any) -> tuple[int, int]:
    """(H, W) of a CompressedImage.

    Raises:
        ValueError: neither JPEG nor PNG, or cut off.
    """
    return encoded_size(message.data.tobytes())


def cloud_faults(message: Any) -> Iterator[Fault]:
    """What is wrong with a PointCloud2."""
    fields = {field.name: field for field in message.fields}
    described = (
        ", ".join(
            f"{field.name}: type {field.datatype} at {field.offset}" for field in message.fields
        )
        or "none"
    )
    if message.is_bigendian:
        yield "cloud-layout", "the data is big-endian"
    if missing := [name for name in "xyz" if name not in fields]:
        yield "cloud-layout", f"fields {', '.join(missing)} are missing; it has {described}"
    elif wrong := [name for name in "xyz" if fields[name].datatype != _FLOAT32]:
        yield "cloud-layout", f"fields {', '.join(wrong)} are not float32; it has {described}"
    if outside := [
        field.name
        for field in message.fields
        if field.offset + _FIELD_BYTES.get(field.datatype, 1) * max(field.count, 1)
        > message.point_step
    ]:
        yield (
            "cloud-layout",
            f"fields {', '.join(outside)} reach beyond point_step {message.point_step}; it has "
            f"{described}",
        )
    if "intensity" not in fields:
        yield "cloud-without-intensity", f"it has {described}"
    if message.width * message.height == 0:
        yield "cloud-empty", f"{message.width}x{message.height} points"
    if (
        message.row_step < message.width * message.point_step
        or len(message.data) < message.height * message.row_step
    ):
        yield (
            "cloud-truncated",
            f"{message.width}x{message.height} points of {message.point_step} bytes in rows of "
            f"{message.row_step} "
            f"hold {len(message.data)} bytes",
        )


def _either_case(message: Any, name: str) -> np.ndarray:
    return np.asarray(
        getattr(message, name) if hasattr(message, name) else getattr(message, name.upper()),
        np.float64,
    )
