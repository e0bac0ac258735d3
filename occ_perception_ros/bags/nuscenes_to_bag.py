"""Writes scenes of a nuScenes data root as ROS 2 bags, without ROS."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import tyro
import yaml
from tqdm import tqdm

from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NuScenes
from occ_core.datasets.recordings import CameraImage
from occ_core.geometry.poses import quaternion_from_rotation
from occ_perception_ros.bags import nuscenes_messages as messages
from occ_perception_ros.bags.nuscenes_events import (
    BASE_LINK,
    LIDAR_TOP,
    BagEvent,
    BagScene,
    TopicMessages,
    frame_id,
)
from occ_perception_ros.bags.writer import BagWriter, Storage, qos_profile
from occ_perception_ros.can.rules import ContextRules
from occ_perception_ros.can.rules_file import load_rules

CALIBRATION_FILE = "calibration.yaml"
MAX_WORKERS = 8
_BATCH = 16
"""Number of events that a thread makes at once: most are small, and to hand each over costs more
than to make it."""
EVENTS_AHEAD = 4 * _BATCH
"""Largest number of events that are made before they are written; half are images or sweeps."""

LOGGER = logging.getLogger(__name__)

MadeEvent = TopicMessages | FileNotFoundError | ValueError
"""The messages of an event, or why its file cannot be used."""

_CALIBRATION_COMMENT = """\
# Mountings of the sensors on the vehicle, as base_link_from_sensor in metres.
# Axes of base_link: x forward, y left, z up.
"""


class NoRecordingError(ValueError):
    """Scenes of which no image and no sweep can be read."""


@dataclass(frozen=True, slots=True)
class ConversionReport:
    """Result of a conversion."""

    bag: Path
    messages: dict[str, int]
    """Number of messages by topic."""
    skipped: dict[str, list[str]]
    """Why files were skipped, by channel: each is missing or damaged."""


def convert_scene(
    nuscenes: NuScenes,
    scene_name: str,
    bag: Path,
    storage: Storage = "mcap",
    raw_images: bool = False,
) -> ConversionReport:
    """Writes one scene as a new bag, see ``convert_scenes``."""
    return convert_scenes(nuscenes, [scene_name], bag, storage, raw_images)


def convert_scenes(
    nuscenes: NuScenes,
    scene_names: Sequence[str],
    bag: Path,
    storage: Storage = "mcap",
    raw_images: bool = False,
    can_rules: ContextRules | None = None,
) -> ConversionReport:
    """Writes consecutive scenes of one log as a new bag, with ``calibration.yaml`` in its folder.

    All images and sweeps of the scenes are written, not only those of keyframes. Missing or damaged
    files are skipped with a warning. Messages are in the order of their stamps, and bag time is the
    header's time.

    Args:
        nuscenes: the data set.
        scene_names: names of the scenes.
        bag: folder of the new bag.
        storage: ``"mcap"`` or ``"sqlite3"``.
        raw_images: also write the decoded images, as ``bgr8`` on ``<camera>/image_rect``.
        can_rules: rules for weather and region from the CAN bus; None: from the tables.

    Raises:
        FileExistsError: ``bag`` exists.
        NoRecordingError: not one image or sweep of the scenes can be read; there is no bag then.
        ValueError: a scene does not exist or is empty, or the scenes overlap in time, belong to
            several logs, or differ in their calibration.
    """
    if not scene_names:
        raise ValueError("a bag needs at least one scene, got none")
    scenes = [BagScene(nuscenes, name, can_rules) for name in scene_names]
    scenes.sort(key=lambda scene: scene.begin_ns)
    _check_consecutive(scenes)
    mountings = _mountings(scenes)
    names = ", ".join(scene.name for scene in scenes)
    recordings = [recording for scene in scenes for recording in scene.recordings]
    if not any(recording.path.is_file() for recording in recordings):
        raise NoRecordingError(
            f"none of the {len(recordings)} files of {names} exists, such as {recordings[0].path}; "
            f"extract the archives of samples and sweeps into {nuscenes.root}"
        )
    keyframes = [scene.keyframes[0] for scene in scenes]
    custom_data = {
        "scene": names,
        "description": ", then ".join(dict.fromkeys(first.description for first in keyframes)),
        "location": keyframes[0].location,
    }
    events = [_static_transforms(mountings, scenes[0].begin_ns)]
    events += [event for scene in scenes for event in scene.events(raw_images)]
    with BagWriter(bag, storage, custom_data) as writer:
        _declare_topics(writer, raw_images)
        skipped = _write_events(writer, events, scenes[0].name)
        _check_recordings(writer.counts, skipped, names)
        calibration = writer.unfinished_path / CALIBRATION_FILE
        calibration.write_text(calibration_yaml(mountings), encoding="utf-8")
    for channel, reasons in skipped.items():
        text = "%s, %s: %d messages skipped, the first because: %s"
        LOGGER.warning(text, names, channel, len(reasons), reasons[0])
    return ConversionReport(bag, writer.counts, skipped)


def _check_recordings(counts: dict[str, int], skipped: dict[str, list[str]], names: str) -> None:
    """Warns of a bag without sweeps or images, and refuses one without both."""
    images = sum(number for topic, number in counts.items() if "/image_rect" in topic)
    if not counts[f"/{LIDAR_TOP}"] and not images:
        reasons = "; ".join(f"{channel}: {texts[0]}" for channel, texts in skipped.items())
        raise NoRecordingError(f"no image and no sweep of {names} can be read: {reasons}")
    if not counts[f"/{LIDAR_TOP}"]:
        LOGGER.warning("%s: the bag has no LiDAR sweep, which starts every answer", names)
    if not images:
        LOGGER.warning("%s: the bag has no image", names)


def calibration_yaml(base_link_from_sensor: dict[str, np.ndarray]) -> str:
    """The calibration file, see ``load_calibration``, for graphs without /tf_static.

    Args:
        base_link_from_sensor: pose ``[4, 4]`` of each sensor, by TF frame.
    """
    frames = {}
    for name, pose in base_link_from_sensor.items():
        w, x, y, z = quaternion_from_rotation(pose[:3, :3]).tolist()
        frames[name] = {
            "parent": BASE_LINK,
            "translation": pose[:3, 3].tolist(),
            "rotation_xyzw": [x, y, z, w],
        }
    # One line for each vector.
    text = yaml.safe_dump({"frames": frames}, sort_keys=False, default_flow_style=None, width=200)
    return _CALIBRATION_COMMENT + text


def _check_consecutive(scenes: Sequence[BagScene]) -> None:
    for before, after in pairwise(scenes):
        if before.log != after.log:
            raise ValueError(
                f"{before.name} belongs to log {before.log}, but {after.name} to log {after.log}; "
                "all scenes of a bag must belong to one log"
            )
        if after.begin_ns <= before.end_ns:
            raise ValueError(
                f"{before.name} and {after.name} overlap in time; the scenes of a bag must be "
                "consecutive"
            )


def _mountings(scenes: Sequence[BagScene]) -> dict[str, np.ndarray]:
    """``base_link_from_sensor`` of every sensor, by TF frame."""
    found: dict[str, np.ndarray] = {}
    for scene in scenes:
        for recording in scene.recordings:
            pose = (
                recording.ego_from_camera
                if isinstance(recording, CameraImage)
                else recording.ego_from_lidar
            )
            known = found.setdefault(frame_id(recording.channel), pose)
            # Alone, allclose takes ten times as long, for each of thousands of files.
            if not (np.array_equal(known, pose) or np.allclose(known, pose, atol=1e-9)):
                raise ValueError(
                    f"{scene.name}: {recording.channel} has two calibrations, but /tf_static can "
                    "have only one in a bag"
                )
    return found


def _static_transforms(mountings: dict[str, np.ndarray], stamp_ns: int) -> BagEvent:
    transforms = [
        messages.transform(pose, stamp_ns, BASE_LINK, name) for name, pose in mountings.items()
    ]
    written: TopicMessages = [("/tf_static", messages.transforms(transforms))]
    return BagEvent(stamp_ns, 0, "tf_static", lambda: written)


def _declare_topics(writer: BagWriter, raw_images: bool) -> None:
    latched = qos_profile(1, latched=True)
    writer.add_topic("/tf_static", "tf2_msgs/msg/TFMessage", latched)
    writer.add_topic("/tf", "tf2_msgs/msg/TFMessage", qos_profile(100))
    writer.add_topic("/odom", "nav_msgs/msg/Odometry", qos_profile(10))
    writer.add_topic("/can/weather", "std_msgs/msg/String", latched)
    writer.add_topic("/can/region", "std_msgs/msg/String", latched)
    for channel in NUSCENES_CAMERAS:
        camera, qos = frame_id(channel), qos_profile(10)
        compressed = "sensor_msgs/msg/CompressedImage"
        writer.add_topic(f"/{camera}/image_rect_compressed", compressed, qos)
        writer.add_topic(f"/{camera}/camera_info", "sensor_msgs/msg/CameraInfo", qos)
        if raw_images:
            writer.add_topic(f"/{camera}/image_rect", "sensor_msgs/msg/Image", qos)
    writer.add_topic(f"/{LIDAR_TOP}", "sensor_msgs/msg/PointCloud2", qos_profile(10))
    writer.add_topic("/annotations", "visualization_msgs/msg/MarkerArray", qos_profile(10))


def _write_events(
    writer: BagWriter, events: Sequence[BagEvent], title: str
) -> dict[str, list[str]]:
    """Writes the events in order; returns why files were skipped, by channel."""
    skipped: dict[str, list[str]] = defaultdict(list)
    ordered = sorted(events, key=lambda event: (event.stamp_ns, event.order))
    for event, made in tqdm(
        _made_ahead(ordered), desc=title, unit=" events", total=len(ordered), disable=None
    ):
        if isinstance(made, Exception):
            skipped[event.channel].append(str(made))
            continue
        for topic, message in made:
            writer.write(topic, message, event.stamp_ns)
    return dict(skipped)


def _made_ahead(events: Sequence[BagEvent]) -> Iterator[tuple[BagEvent, MadeEvent]]:
    """The events in their order, each with its messages, or with why its file cannot be used.

    Files are read and checked in threads, but only a few before they are written, so that memory
    does not depend on the length of the scene.
    """
    workers = min(os.cpu_count() or 1, MAX_WORKERS)
    ahead: deque[Future[list[tuple[BagEvent, MadeEvent]]]] = deque()
    with ThreadPoolExecutor(workers) as executor:
        try:
            for begin in range(0, len(events), _BATCH):
                ahead.append(executor.submit(_make, events[begin : begin + _BATCH]))
                if len(ahead) * _BATCH >= EVENTS_AHEAD:
                    yield from ahead.popleft().result()
            for batch in ahead:
                yield from batch.result()
        finally:
            executor.shutdown(cancel_futures=True)


def _make(events: Sequence[BagEvent]) -> list[tuple[BagEvent, MadeEvent]]:
    """Each event with its messages, or with the error that its file causes."""
    made: list[tuple[BagEvent, MadeEvent]] = []
    for event in events:
        try:
            made.append((event, event.make()))
        except (FileNotFoundError, ValueError) as error:
            made.append((event, error))
    return made


def main() -> None:
    """Runs the command ``nuscenes_to_bag``."""
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
    can_rules: Path | None = None,
) -> None:
    """Writes scenes of a nuScenes data root as ROS 2 bags. ROS need not be installed.

    Args:
        root: The data root: the folder with samples/, sweeps/ and v1.0-*/.
        out: Folder of the new bag. With several scenes, the folder for their bags, which are named
            after the scenes.
        scene: Names of the scenes, e.g. scene-0061; by default all, of which those without any file
            are left out, as of archives that are not there.
        version: Folder of the tables, e.g. v1.0-mini; by default the only v1.0-* folder.
        storage: Storage plugin of the bag.
        raw_images: Also write decoded images (bgr8) on <camera>/image_rect. They are large.
        one_bag: Write all scenes into one bag; they must be consecutive scenes of one log.
        can_rules: YAML file of rules that make weather and region of the CAN bus expansion, as for
            can_context; what they leave unknown comes from the tables, as everything by default.
    """
    rules = None if can_rules is None else load_rules(can_rules)
    nuscenes = NuScenes(root, version)
    # The tables stay to the end, and in a whole data set they are millions of objects.
    gc.freeze()
    names = list(scene) or [record["name"] for record in nuscenes.scenes]
    bags = {out: names} if one_bag or len(names) == 1 else {out / name: [name] for name in names}
    without_files = 0
    for bag, scenes in bags.items():
        try:
            report = convert_scenes(nuscenes, scenes, bag, storage, raw_images, rules)
        except NoRecordingError as error:
            without_files += 1
            if scene or without_files == len(bags):
                raise
            LOGGER.warning("%s", error)
            continue
        print(
            f"{bag}: {sum(report.messages.values())} messages on {len(report.messages)} topics of "
            f"{', '.join(scenes)}"
        )


if __name__ == "__main__":
    main()
