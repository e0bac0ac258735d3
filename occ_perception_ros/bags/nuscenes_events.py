"""The events of a nuScenes scene: which messages are written at which time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.recordings import CameraImage, LidarSweep
from occ_core.geometry.images import scale_intrinsics
from occ_perception_ros.bags import nuscenes_messages as messages
from occ_perception_ros.bags.ego_motion import EgoMotion
from occ_perception_ros.bags.message_checks import encoded_image_size

MAP, BASE_LINK, LIDAR_TOP = "map", "base_link", "lidar_top"
CONTEXT_PERIOD_NS = 500_000_000

TopicMessages = list[tuple[str, object]]
"""Topics and messages of one event."""


@dataclass(frozen=True, slots=True)
class BagEvent:
    """Messages that are written at one time."""

    stamp_ns: int
    order: int
    """Rank among events of the same stamp: transforms precede the data that need them."""
    channel: str
    """The nuScenes channel, for reports."""
    make: Callable[[], TopicMessages]
    """Creates the messages; a sensor's file is read only now."""


class BagScene:
    """One scene and its events.

    Args:
        nuscenes: the data set.
        name: name of the scene.

    Raises:
        ValueError: the scene does not exist or has no keyframe.
    """

    def __init__(self, nuscenes: NuScenes, name: str) -> None:
        self.name, self.log = name, nuscenes.log_name(name)
        self.keyframes = nuscenes.keyframes([name], sweeps=0)
        if not self.keyframes:
            raise ValueError(f"{name} has no keyframe; all tables must be of the same download")
        self._images = [
            image for channel in NUSCENES_CAMERAS for image in nuscenes.camera_images(name, channel)
        ]
        self._sweeps = nuscenes.lidar_sweeps(name)
        self.recordings: list[CameraImage | LidarSweep] = [*self._sweeps, *self._images]
        stamps_ns = [recording.stamp_ns for recording in self.recordings]
        self.begin_ns, self.end_ns = min(stamps_ns), max(stamps_ns)
        self._motion = EgoMotion.from_scene(nuscenes.root, name, self.recordings)

    def events(self, raw_images: bool) -> Iterator[BagEvent]:
        """All events except the static transforms."""
        yield from self._context_events()
        yield from self._pose_events()
        yield from (_image_event(image, raw_images) for image in self._images)
        yield from (_sweep_event(sweep) for sweep in self._sweeps)
        yield from (_annotation_event(keyframe) for keyframe in self.keyframes)

    def _context_events(self) -> Iterator[BagEvent]:
        """Weather and region, at the start of the scene and twice a second."""
        context = self.keyframes[0].context
        written: TopicMessages = [
            ("/can/weather", messages.string(context.weather)),
            ("/can/region", messages.string(context.region)),
        ]
        for stamp_ns in range(self.begin_ns, self.end_ns + 1, CONTEXT_PERIOD_NS):
            yield BagEvent(stamp_ns, 1, "context", lambda: written)

    def _pose_events(self) -> Iterator[BagEvent]:
        """Ego pose and odometry at every sensor stamp."""
        poses = {recording.stamp_ns: recording.world_from_ego for recording in self.recordings}
        for stamp_ns, pose in poses.items():
            yield _pose_event(stamp_ns, pose, *self._motion.at(stamp_ns))


def frame_id(channel: str) -> str:
    """TF frame of a sensor; also the name of a camera in topics."""
    return channel.lower()


def _pose_event(
    stamp_ns: int, world_from_ego: np.ndarray, linear_m_s: np.ndarray, angular_rad_s: np.ndarray
) -> BagEvent:
    transform = messages.transform(world_from_ego, stamp_ns, MAP, BASE_LINK)
    odometry = messages.odometry(
        world_from_ego, linear_m_s, angular_rad_s, stamp_ns, MAP, BASE_LINK
    )
    written = [("/tf", messages.transforms([transform])), ("/odom", odometry)]
    return BagEvent(stamp_ns, 2, "ego", lambda: written)


def _image_event(image: CameraImage, raw_images: bool) -> BagEvent:
    camera, stamp_ns = frame_id(image.channel), image.stamp_ns

    def make() -> TopicMessages:
        jpeg = image.path.read_bytes()
        try:
            size = encoded_image_size(jpeg)
        except ValueError as error:
            raise ValueError(f"{image.path}: {error}") from error
        intrinsics = scale_intrinsics(image.intrinsics, image.size, size)
        info = messages.camera_info(intrinsics, size, stamp_ns, camera)
        compressed = messages.compressed_image(jpeg, stamp_ns, camera)
        written: TopicMessages = [
            (f"/{camera}/camera_info", info),
            (f"/{camera}/image_rect_compressed", compressed),
        ]
        if raw_images:
            image_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if image_bgr is None:
                raise ValueError(f"{image.path} cannot be decoded; extract the file again")
            raw = messages.raw_image(image_bgr, stamp_ns, camera)
            written.append((f"/{camera}/image_rect", raw))
        return written

    return BagEvent(stamp_ns, 3, image.channel, make)


def _sweep_event(sweep: LidarSweep) -> BagEvent:
    def make() -> TopicMessages:
        return [(f"/{LIDAR_TOP}", messages.point_cloud(sweep.read(), sweep.stamp_ns, LIDAR_TOP))]

    return BagEvent(sweep.stamp_ns, 4, sweep.channel, make)


def _annotation_event(keyframe: Keyframe) -> BagEvent:
    def make() -> TopicMessages:
        boxes = messages.box_markers(keyframe.boxes, keyframe.stamp_ns, LIDAR_TOP)
        return [("/annotations", boxes)]

    return BagEvent(keyframe.stamp_ns, 5, "annotations", make)
