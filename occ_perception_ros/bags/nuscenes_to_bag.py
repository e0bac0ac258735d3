"""Writes scenes of a nuScenes data root as bags that any ROS 2 player plays; no ROS installation is
needed.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import tyro
from tqdm import tqdm

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, CameraView, Keyframe, LidarSweep, NuScenes
from occ_core.geometry.images import scale_intrinsics
from occ_core.geometry.poses import quaternion_from_rotation
from occ_perception_ros.bags import nuscenes_messages as messages
from occ_perception_ros.bags.ego_motion import Twists
from occ_perception_ros.bags.encoded_image import encoded_size
from occ_perception_ros.bags.writer import BagWriter, Storage, qos_profile

MAP, BASE_LINK, LIDAR_TOP = "map", "base_link", "lidar_top"
CONTEXT_PERIOD_NS = 500_000_000
CALIBRATION_FILE = "calibration.yaml"

LOGGER = logging.getLogger(__name__)

Written = list[tuple[str, object]]
"""Topics and messages of one instant."""


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """What became of a scene, or of several."""

    bag: Path
    messages: dict[str, int]
    """Per topic."""
    skipped: dict[str, list[str]]
    """Per channel, why each of its files that are missing or damaged could not be written."""


@dataclass(frozen=True, slots=True)
class _Event:
    stamp_ns: int
    order: int
    """Among events of one stamp: transforms come before the data that needs them."""
    channel: str
    make: Callable[[], Written]
    """Reads the sensor's file only when its turn comes."""


def convert_scene(
    nuscenes: NuScenes,
    scene_name: str,
    bag: Path,
    storage: Storage = "mcap",
    raw_images: bool = False,
) -> ConversionReport:
    """Writes one scene as a new bag: see ``convert_scenes``."""
    return convert_scenes(nuscenes, [scene_name], bag, storage, raw_images)


def convert_scenes(
    nuscenes: NuScenes,
    scene_names: Sequence[str],
    bag: Path,
    storage: Storage = "mcap",
    raw_images: bool = False,
) -> ConversionReport:
    """Writes scenes of one log, one after the other in time, as a new bag, with
    ``calibration.yaml`` in the bag's folder.

    Every image and sweep of the scenes is written, not only the keyframes; files that are missing
    or damaged are skipped with a warning. Bag time is header time, and messages are in its order.

    Args:
        raw_images: also write the decoded images, as ``bgr8`` on ``<camera>/image_rect``.

    Raises:
        FileExistsError: ``bag`` exists.
        ValueError: no such scene, or one without data; scenes that overlap, of several logs, or of
            differing calibration.
    """
    if not scene_names:
        raise ValueError("a bag is made of one scene or more, got none")
    scenes = sorted(
        (_Scene(nuscenes, name) for name in scene_names), key=lambda scene: scene.begin_ns
    )
    for before, after in pairwise(scenes):
        if before.log != after.log:
            raise ValueError(
                f"{before.name} is of the log {before.log}, {after.name} of {after.log}; give "
                "scenes of one log"
            )
        if after.begin_ns <= before.end_ns:
            raise ValueError(
                f"{before.name} and {after.name} overlap in time; one bag takes scenes that follow "
                "one another"
            )
    mountings = _mountings(
        [(scene.name, recording) for scene in scenes for recording in scene.recordings]
    )
    edges = [
        messages.transform(pose, scenes[0].begin_ns, BASE_LINK, frame_id)
        for frame_id, pose in mountings.items()
    ]
    tf_static: Written = [("/tf_static", messages.transforms(edges))]
    events = [_Event(scenes[0].begin_ns, 0, "tf_static", lambda: tf_static)]
    events += [event for scene in scenes for event in scene.events(raw_images)]
    names, firsts = (
        ", ".join(scene.name for scene in scenes),
        [scene.keyframes[0] for scene in scenes],
    )
    descriptions = ", then ".join(dict.fromkeys(first.description for first in firsts))
    skipped: dict[str, list[str]] = defaultdict(list)
    with BagWriter(
        bag, storage, {"scene": names, "description": descriptions, "location": firsts[0].location}
    ) as writer:
        _declare_topics(writer, raw_images)
        ordered = sorted(events, key=lambda event: (event.stamp_ns, event.order))
        for event in tqdm(ordered, desc=scenes[0].name, unit=" events", disable=None):
            try:
                written = event.make()
            except (FileNotFoundError, ValueError) as error:
                skipped[event.channel].append(str(error))
                continue
            for topic, message in written:
                writer.write(topic, message, event.stamp_ns)
        (writer.unfinished_path / CALIBRATION_FILE).write_text(
            calibration_yaml(mountings), encoding="utf-8"
        )
    for channel, reasons in skipped.items():
        LOGGER.warning(
            "%s, %s: %d messages skipped, the first because: %s",
            names,
            channel,
            len(reasons),
            reasons[0],
        )
    return ConversionReport(bag, writer.counts, dict(skipped))


def calibration_yaml(base_link_from_sensor: dict[str, np.ndarray]) -> str:
    """The sensors' mountings as text, for graphs without TF.

    ``frames: {<frame_id>: {parent: base_link, translation: [x, y, z], rotation_xyzw: [x, y, z,
    w]}}`` in metres.
    """
    lines = [
        "# Where the sensors sit on the vehicle: base_link_from_sensor; base_link: x forward, y "
        "left, z up.",
        "frames:",
    ]
    for frame_id, pose in base_link_from_sensor.items():
        w, x, y, z = quaternion_from_rotation(pose[:3, :3]).tolist()
        lines += [
            f"  {frame_id}:",
            f"    parent: {BASE_LINK}",
            f"    translation: {pose[:3, 3].tolist()}",
            f"    rotation_xyzw: {[x, y, z, w]}",
        ]
    return "\n".join(lines) + "\n"


def _frame_id(channel: str) -> str:
    return channel.lower()


class _Scene:
    """What a scene holds, and what of it is written."""

    def __init__(self, nuscenes: NuScenes, name: str) -> None:
        self.name, self.log = name, nuscenes.log_name(name)
        self.keyframes = nuscenes.keyframes([name], sweeps=0)
        if not self.keyframes:
            raise ValueError(f"{name} has no keyframe; take all tables from one download")
        self._views = [
            view for channel in NUSCENES_CAMERAS for view in nuscenes.camera_views(name, channel)
        ]
        self._sweeps = nuscenes.lidar_sweeps(name)
        self.recordings: list[CameraView | LidarSweep] = [*self._sweeps, *self._views]
        self.begin_ns, self.end_ns = (
            limit(one.stamp_ns for one in self.recordings) for limit in (min, max)
        )
        self._twists = Twists.of_scene(nuscenes.root, name, self.recordings)

    def events(self, raw_images: bool) -> Iterator[_Event]:
        """All but the mountings."""
        yield from _context_events(self.begin_ns, self.end_ns, self.keyframes[0])
        yield from _pose_events(self.recordings, self._twists)
        yield from (_camera_event(view, raw_images) for view in self._views)
        yield from (_sweep_event(sweep) for sweep in self._sweeps)
        yield from (_annotation_event(keyframe) for keyframe in self.keyframes)


def _mountings(recordings: list[tuple[str, CameraView | LidarSweep]]) -> dict[str, np.ndarray]:
    """``base_link_from_sensor`` of every sensor by frame; with each recording goes the name of its
    scene.
    """
    found: dict[str, np.ndarray] = {}
    for scene_name, recording in recordings:
        pose = (
            recording.ego_from_camera
            if isinstance(recording, CameraView)
            else recording.ego_from_lidar
        )
        known = found.setdefault(_frame_id(recording.channel), pose)
        if not np.allclose(known, pose, atol=1e-9):
            raise ValueError(
                f"{scene_name}: {recording.channel} has two calibrations; /tf_static can hold only "
                "one a bag"
            )
    return found


def _declare_topics(writer: BagWriter, raw_images: bool) -> None:
    latched = qos_profile(1, latched=True)
    writer.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", latched)
    writer.add_topic("/tf", "tf2_msgs/msg/TFMessage", qos_profile(100))
    writer.add_topic("/odom", "nav_msgs/msg/Odometry", qos_profile(10))
    writer.add_topic("/can/weather", "std_msgs/msg/String", latched)
    writer.add_topic("/can/region", "std_msgs/msg/String", latched)
    for channel in NUSCENES_CAMERAS:
        camera = _frame_id(channel)
        writer.add_topic(
            f"/{camera}/image_rect_compressed", "sensor_msgs/msg/CompressedImage", qos_profile(10)
        )
        writer.add_topic(f"/{camera}/camera_info", "sensor_msgs/msg/CameraInfo", qos_profile(10))
        if raw_images:
            writer.add_topic(f"/{camera}/image_rect", "sensor_msgs/msg/Image", qos_profile(10))
    writer.add_topic(f"/{LIDAR_TOP}", "sensor_msgs/msg/PointCloud2", qos_profile(10))
    writer.add_topic("/annotations", "visualization_msgs/msg/MarkerArray", qos_profile(10))


def _context_events(begin_ns: int, end_ns: int, keyframe: Keyframe) -> Iterator[_Event]:
    """Weather and region at the scene's start and twice a second."""
    context: Written = [
        ("/can/weather", messages.string(keyframe.context.weather)),
        ("/can/region", messages.string(keyframe.context.region)),
    ]
    for stamp_ns in range(begin_ns, end_ns + 1, CONTEXT_PERIOD_NS):
        yield _Event(stamp_ns, 1, "context", lambda: context)


def _pose_events(recordings: list[CameraView | LidarSweep], twists: Twists) -> Iterator[_Event]:
    """Ego pose and odometry at every sensor stamp."""
    poses = {recording.stamp_ns: recording.world_from_ego for recording in recordings}
    for stamp_ns, world_from_ego in poses.items():
        linear, angular = twists.at(stamp_ns)
        edge = messages.transform(world_from_ego, stamp_ns, MAP, BASE_LINK)
        written: Written = [
            ("/tf", messages.transforms([edge])),
            ("/odom", messages.odometry(world_from_ego, linear, angular, stamp_ns, MAP, BASE_LINK)),
        ]
        yield _Event(stamp_ns, 2, "ego", lambda written=written: written)  # type: ignore[misc]


def _camera_event(view: CameraView, raw_images: bool) -> _Event:
    frame_id = _frame_id(view.channel)

    def make() -> Written:
        jpeg = view.path.read_bytes()
        try:
            size = encoded_size(jpeg)
        except ValueError as error:
            raise ValueError(f"{view.path}: {error}") from error
        intrinsics = scale_intrinsics(view.intrinsics, view.size, size)
        written: Written = [
            (
                f"/{frame_id}/camera_info",
                messages.camera_info(intrinsics, size, view.stamp_ns, frame_id),
            ),
            (
                f"/{frame_id}/image_rect_compressed",
                messages.compressed_image(jpeg, view.stamp_ns, frame_id),
            ),
        ]
        if raw_images:
            image_bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            if image_bgr is None:
                raise ValueError(f"{view.path} cannot be decoded; extract the file again")
            written.append(
                (f"/{frame_id}/image_rect", messages.raw_image(image_bgr, view.stamp_ns, frame_id))
            )
        return written

    return _Event(view.stamp_ns, 3, view.channel, make)


def _sweep_event(sweep: LidarSweep) -> _Event:
    def make() -> Written:
        return [(f"/{LIDAR_TOP}", messages.point_cloud(sweep.read(), sweep.stamp_ns, LIDAR_TOP))]

    return _Event(sweep.stamp_ns, 4, sweep.channel, make)


def _annotation_event(keyframe: Keyframe) -> _Event:
    stamp_ns = keyframe.stamp_ns
    return _Event(
        stamp_ns,
        5,
        "annotations",
        lambda: [("/annotations", messages.box_markers(keyframe.boxes, stamp_ns, LIDAR_TOP))],
    )


def main() -> None:
    """Console entry point ``nuscenes_to_bag``."""
    logging.basicConfig(format="%(levelname)s: %(message)s")
    try:
        tyro.cli(_run, prog="nuscenes_to_bag")
    except (ValueError, LookupError, OSError) as error:
        sys.exit(f"nuscenes_to_bag: {error}")


def _run(
    root: tyro.conf.Positional[Path],
    out: tyro.conf.Positional[Path],
    scene: tuple[str, ...] = (),
    version: str | None = None,
    storage: Storage = "mcap",
    raw_images: bool = False,
    one_bag: bool = False,
) -> None:
    """Writes scenes of a nuScenes data root as bags that any ROS 2 player plays; no ROS
    installation is needed.

    Args:
        root: The data root: the folder that holds samples/, sweeps/ and v1.0-*/.
        out: The new bag's folder. With several scenes: the folder for the bags, each named after
            its scene.
        scene: Names of the scenes to convert, e.g. scene-0061; all where none is named.
        version: The folder of tables, e.g. v1.0-mini; the only v1.0-* folder where none is named.
        storage: The bag's storage plugin.
        raw_images: Also write decoded images (bgr8) on <camera>/image_rect. Large.
        one_bag: All scenes into one bag: scenes of one log that follow one another.
    """
    nuscenes = NuScenes(root, version)
    names = list(scene) or [record["name"] for record in nuscenes.scenes]
    bags = {out: names} if one_bag or len(names) == 1 else {out / name: [name] for name in names}
    for bag, scenes in bags.items():
        report = convert_scenes(nuscenes, scenes, bag, storage, raw_images)
        print(
            f"{bag}: {sum(report.messages.values())} messages on {len(report.messages)} topics of "
            f"{', '.join(scenes)}"
        )


if __name__ == "__main__":
    main()
