"""The events of a nuScenes scene: which messages are written at which time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, Keyframe, NuScenes
from occ_core.datasets.recordings import CameraImage, LidarSweep
from occ_core.taxonomy import DriveContext
from occ_perception_ros.bags import nuscenes_messages as messages
from occ_perception_ros.bags.ego_motion import EgoMotion
from occ_perception_ros.bags.scene_context import SceneContext
from occ_perception_ros.can.rules import ContextRules
from occ_perception_ros.image_files import checked_image_size, decode_image_file

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
        can_rules: rules for weather and region from the CAN bus, see ``SceneContext``.

    Raises:
        ValueError: the scene does not exist or has no keyframe.
    """

    def __init__(
        self, nuscenes: NuScenes, name: str, can_rules: ContextRules | None = None
    ) -> None:
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
        self._context = SceneContext(self.keyframes[0].context, nuscenes.root, name, can_rules)

    def events(self, raw_images: bool) -> Iterator[BagEvent]:
        """All events except the static transforms."""
        yield from self._context_events()
        yield from self._pose_events()
        yield from (_image_event(image, raw_images) for image in self._images)
        yield from (_sweep_event(sweep) for sweep in self._sweeps)
        yield from (_annotation_event(keyframe) for keyframe in self.keyframes)

    def _context_events(self) -> Iterator[BagEvent]:
        """Weather and region, at the start of the scene and twice a second."""
        for stamp_ns in range(self.begin_ns, self.end_ns + 1, CONTEXT_PERIOD_NS):
            yield _context_event(stamp_ns, self._context.at(stamp_ns))

    def _pose_events(self) -> Iterator[BagEvent]:
        """Ego pose and odometry at every sensor stamp."""
        poses = {recording.stamp_ns: recording.world_from_ego for recording in self.recordings}
        for stamp_ns, pose in poses.items():
            yield _pose_event(stamp_ns, pose, self._motion)


def frame_id(channel: str) -> str:
    """TF frame of a sensor; also the name of a camera in topics."""
    return channel.lower()


def _context_event(stamp_ns: int, context: DriveContext) -> BagEvent:
    written: TopicMessages = [
        ("/can/weather", messages.string(context.weather)),
        ("/can/region", messages.string(context.region)),
    ]
    return BagEvent(stamp_ns, 1, "context", lambda: written)


def _pose_event(stamp_ns: int, world_from_ego: np.ndarray, motion: EgoMotion) -> BagEvent:
    def make() -> TopicMessages:
        transform = messages.transform(world_from_ego, stamp_ns, MAP, BASE_LINK)
        odometry = messages.odometry(world_from_ego, *motion.at(stamp_ns), stamp_ns, MAP, BASE_LINK)
        return [("/tf", messages.transforms([transform])), ("/odom", odometry)]

    return BagEvent(stamp_ns, 2, "ego", make)


def _image_event(image: CameraImage, raw_images: bool) -> BagEvent:
    camera, stamp_ns = frame_id(image.channel), image.stamp_ns

    def make() -> TopicMessages:
        encoded = _file_bytes(image.path)
        try:
            size = checked_image_size(encoded)
        except ValueError as error:
            raise ValueError(f"{image.path}: {error}") from error
        intrinsics = image.scaled_intrinsics(size, size)
        info = messages.camera_info(intrinsics, size, stamp_ns, camera)
        compressed = messages.compressed_image(encoded, stamp_ns, camera)
        written: TopicMessages = [
            (f"/{camera}/camera_info", info),
            (f"/{camera}/image_rect_compressed", compressed),
        ]
        if raw_images:
            image_bgr = decode_image_file(encoded)[:, :, ::-1]
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


def _file_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing; extract the nuScenes archive that holds it"
        ) from None
