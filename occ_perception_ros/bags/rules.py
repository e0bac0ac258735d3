"""The rules of ``bag_check``: everything that may be wrong with a bag, and how to fix it."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "info"]


class Rule(NamedTuple):
    """How severe a finding is, and what to do about it."""

    severity: Severity
    cure: str


_BAG: dict[str, Rule] = {
    "unreadable": Rule(
        "error", "copy or record the bag again; `mcap recover` rescues an MCAP that was cut off"
    ),
    "no-metadata": Rule("error", "rebuild metadata.yaml with `ros2 bag reindex`"),
    "not-ros2-encoding": Rule(
        "error", "ROS 2 players need CDR: convert the data set again with nuscenes_to_bag"
    ),
    "ros1-bag": Rule(
        "error", "convert it with `rosbags-convert`, or the data set again with nuscenes_to_bag"
    ),
    "corrupt-message": Rule(
        "error", "record the bag again; its message type differs from that of the publisher"
    ),
    "unreadable-topic": Rule(
        "warning", "nothing, unless the node needs this topic: the others are not affected"
    ),
    "unknown-type": Rule(
        "info",
        "nothing: the node does not use this topic, which is played where its type is installed",
    ),
    "unknown-sensor-type": Rule(
        "error", "record the topic with the message package of a ROS 2 distribution"
    ),
    "empty-topic": Rule("warning", "check that its publisher runs during the recording"),
    "no-image": Rule(
        "error", "record the cameras (sensor_msgs/CompressedImage or Image), or set cameras to []"
    ),
    "no-camera-info": Rule(
        "error", "record the camera's camera_info; the node masks a camera without intrinsics"
    ),
    "no-lidar": Rule(
        "error",
        "record the LiDAR (sensor_msgs/PointCloud2), or set lidar to false for cameras alone",
    ),
}

_TRANSFORMS: dict[str, Rule] = {
    "no-tf": Rule(
        "error",
        "record /tf and /tf_static, or give the node a calibration_file and an odometry topic",
    ),
    "no-ego-motion": Rule(
        "warning",
        "record /tf (map or odom -> base_link) or odometry; the ego motion is not compensated "
        "without it",
    ),
    "frame-unconnected": Rule(
        "error", "publish the missing transform on /tf_static, or give the node a calibration_file"
    ),
    "tf-static-volatile": Rule(
        "error", "record /tf_static with transient-local QoS; late subscribers do not receive it"
    ),
    "static-in-tf": Rule("warning", "publish fixed sensor mountings once, on /tf_static"),
    "tf-sparse": Rule(
        "warning", "write the ego pose at every sensor stamp; the node interpolates over long gaps"
    ),
    "no-odometry": Rule("info", "odometry is optional: the ego motion is taken from /tf"),
}

_STAMPS: dict[str, Rule] = {
    "zero-stamp": Rule(
        "error",
        "set header.stamp to the sensor's time; messages without stamps cannot be synchronised",
    ),
    "empty-frame": Rule("error", "set header.frame_id to the sensor's TF frame"),
    "stamp-apart": Rule(
        "error", "set header.stamp to the sensor's time, not to now(), and use it as bag time"
    ),
    "late": Rule(
        "warning",
        "write each message at its own stamp; if this is the sensor's latency, increase "
        "sync.timeout_s",
    ),
    "burst": Rule("warning", "write each message at its own stamp, not in bursts"),
    "out-of-order": Rule("error", "write each topic in the order of its stamps"),
    "duplicate-stamp": Rule(
        "warning", "give each measurement its own stamp; only the newest of equal stamps is used"
    ),
    "keyframes-only": Rule(
        "warning", "write all LiDAR sweeps (20 Hz in nuScenes); the model accumulates ten of them"
    ),
}

_CAMERAS: dict[str, Rule] = {
    "zero-intrinsics": Rule(
        "error", "calibrate the camera and fill CameraInfo.k; the node masks the camera"
    ),
    "bad-rectification": Rule(
        "error", "CameraInfo.r must be a rotation: the identity for rectified images"
    ),
    "bad-projection": Rule(
        "warning", "CameraInfo.p must begin with a camera matrix: [K | 0] for rectified images"
    ),
    "no-distortion-model": Rule(
        "warning", "set the distortion model: plumb_bob with five zeros for rectified images"
    ),
    "size-mismatch": Rule("error", "set the size in CameraInfo to that of the images"),
    "corrupt-image": Rule("error", "record the bag again; the node masks the camera in this frame"),
    "lens-distortion": Rule(
        "info",
        "nothing: the node removes it, but for topics with 'rect' in their name, whose images it "
        "takes as rectified; rectified_images settles it",
    ),
    "camera-info-unusable": Rule("error", "correct the camera_info; the node masks the camera"),
    "image-encoding": Rule(
        "error", "publish one of the encodings in the message; the node masks the camera"
    ),
    "image-truncated": Rule(
        "error", "Image.data must have height * step bytes, and step at least a row of pixels"
    ),
}

_CLOUDS: dict[str, Rule] = {
    "cloud-unusable": Rule(
        "error",
        "publish x, y, z and intensity as single little-endian floats within point_step, in "
        "height * row_step bytes, and row_step at least width * point_step",
    ),
    "cloud-without-intensity": Rule(
        "warning", "publish the field intensity (0..255); the node uses 0 without it"
    ),
    "intensity-unit": Rule(
        "warning", "set the node's parameter intensity_max to the sensor's largest intensity"
    ),
    "intensity-not-finite": Rule("info", "check the driver; the node takes such intensities as 0"),
    "cloud-empty": Rule("warning", "check the driver; an empty cloud counts as a missing sweep"),
}

_CONTEXT: dict[str, Rule] = {
    "no-weather": Rule("info", "publish the weather as std_msgs/String; it is unknown without it"),
    "no-region": Rule("info", "publish the region as std_msgs/String; it is unknown without it"),
    "unknown-context": Rule(
        "warning",
        "publish a name of occ_core.taxonomy, or plain words for it; this text is ignored",
    ),
}

RULES: dict[str, Rule] = {**_BAG, **_TRANSFORMS, **_STAMPS, **_CAMERAS, **_CLOUDS, **_CONTEXT}
"""All rules by the code of their findings."""
