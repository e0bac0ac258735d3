"""The data that ``bag_check`` collects from the messages of each topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from occ_perception_ros.bags.reader import BagTopic

CLOUD = "sensor_msgs/msg/PointCloud2"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TF = "tf2_msgs/msg/TFMessage"
ODOMETRY = "nav_msgs/msg/Odometry"
STRING = "std_msgs/msg/String"
CHECKED_TYPES = (CLOUD, IMAGE, COMPRESSED, CAMERA_INFO, TF, ODOMETRY, STRING)
"""Types that the node may need."""


@dataclass
class TopicData:
    """The data of one topic."""

    topic: BagTopic
    frame_ids: set[str] = field(default_factory=set)
    bag_ns: list[int] = field(default_factory=list)
    """Bag time of each message with a header."""
    header_ns: list[int] = field(default_factory=list)
    """Header stamp of the same messages."""
    sizes: set[tuple[int, int]] = field(default_factory=set)
    """Sizes ``(height, width)`` of images and camera_info."""
    texts: set[str] = field(default_factory=set)
    """Contents of strings."""

    def has_type(self, *message_types: str) -> bool:
        """Whether its messages have one of the types."""
        return self.topic.message_type in message_types

    def add_header(self, header: Any, bag_ns: int) -> None:
        """Adds the header of one message."""
        self.bag_ns.append(bag_ns)
        self.header_ns.append(nanoseconds(header.stamp))
        self.frame_ids.add(header.frame_id)


Topics = dict[str, TopicData]
"""Data by topic name."""


def has_messages(topics: Topics, message_type: str) -> bool:
    """Whether any topic of this type has a message."""
    return any(data.has_type(message_type) and data.topic.count for data in topics.values())


def nanoseconds(stamp: Any) -> int:
    """A builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)
