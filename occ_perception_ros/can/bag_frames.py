"""CAN frames that were recorded in a bag, as can_msgs/Frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rosbags.typesys import get_types_from_msg

from occ_perception_ros.bags.reader import BagError, BagReader
from occ_perception_ros.bags.writer import TYPESTORE
from occ_perception_ros.can.frame import CanFrame, frame_from_ros_message

FRAME_TYPE = "can_msgs/msg/Frame"
# Not among ROS 2's own types. A bag may lack the definition, as those of Humble do.
TYPESTORE.register(
    get_types_from_msg(
        "std_msgs/Header header\n"
        "uint32 id\n"
        "bool is_rtr\n"
        "bool is_extended\n"
        "bool is_error\n"
        "uint8 dlc\n"
        "uint8[8] data\n",
        FRAME_TYPE,
    )
)


def bag_frames(path: Path, topic: str | None = None) -> Iterator[CanFrame]:
    """The frames of a bag in the order of bag time, which is their stamp.

    Messages that cannot be decoded are left out.

    Args:
        path: a rosbag2 folder, an .mcap or a .db3 file.
        topic: the topic of the frames; None: the only one of their type.

    Raises:
        BagError: the bag cannot be read, or has no such topic, or several.
    """
    with BagReader(path) as bag:
        known = [name for name, each in bag.topics.items() if each.message_type == FRAME_TYPE]
        if topic is None and len(known) == 1:
            topic = known[0]
        if topic not in known:
            raise BagError(
                f"{path}: frames must be on one topic of {FRAME_TYPE}"
                + (f", not '{topic}'" if topic else "; choose it with --topic" if known else "")
                + f"; the bag has {known or 'none'}"
            )
        for message in bag.messages([topic]):
            try:
                decoded = bag.decode(message)
            except BagError:
                continue
            yield frame_from_ros_message(decoded, message.stamp_ns)
