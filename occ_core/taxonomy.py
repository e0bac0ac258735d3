"""Class ids, names and colours; weathers and regions of a drive.

The ids are those of nuScenes-lidarseg, 0 for empty, by which models predict unless they are given
another label set (``labels.sets``); 255 marks voxels to ignore in every set.
"""

from __future__ import annotations

from dataclasses import dataclass

EMPTY = 0
"""Class id of free space."""
IGNORE = 255
"""Label of voxels that count in neither losses nor metrics."""

CLASS_NAMES: tuple[str, ...] = (
    "empty",
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
)
NUM_CLASSES = len(CLASS_NAMES)
CLASS_ID: dict[str, int] = {name: index for index, name in enumerate(CLASS_NAMES)}

PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),  # empty, never drawn
    (112, 128, 144),  # barrier
    (220, 20, 60),  # bicycle
    (255, 127, 80),  # bus
    (255, 158, 0),  # car
    (233, 150, 70),  # construction_vehicle
    (255, 61, 99),  # motorcycle
    (0, 0, 230),  # pedestrian
    (47, 79, 79),  # traffic_cone
    (255, 140, 0),  # trailer
    (255, 99, 71),  # truck
    (0, 207, 191),  # driveable_surface
    (175, 0, 75),  # other_flat
    (75, 0, 75),  # sidewalk
    (112, 180, 60),  # terrain
    (222, 184, 135),  # manmade
    (0, 175, 0),  # vegetation
)
"""RGB in 0..255, the colours of nuScenes-lidarseg."""

LIDARSEG_CATEGORIES: dict[str, int] = {
    "noise": 0,
    "animal": 0,
    "human.pedestrian.adult": 7,
    "human.pedestrian.child": 7,
    "human.pedestrian.construction_worker": 7,
    "human.pedestrian.personal_mobility": 0,
    "human.pedestrian.police_officer": 7,
    "human.pedestrian.stroller": 0,
    "human.pedestrian.wheelchair": 0,
    "movable_object.barrier": 1,
    "movable_object.debris": 0,
    "movable_object.pushable_pullable": 0,
    "movable_object.trafficcone": 8,
    "static_object.bicycle_rack": 0,
    "vehicle.bicycle": 2,
    "vehicle.bus.bendy": 3,
    "vehicle.bus.rigid": 3,
    "vehicle.car": 4,
    "vehicle.construction": 5,
    "vehicle.emergency.ambulance": 0,
    "vehicle.emergency.police": 0,
    "vehicle.motorcycle": 6,
    "vehicle.trailer": 9,
    "vehicle.truck": 10,
    "flat.driveable_surface": 11,
    "flat.other": 12,
    "flat.sidewalk": 13,
    "flat.terrain": 14,
    "static.manmade": 15,
    "static.other": 0,
    "static.vegetation": 16,
    "vehicle.ego": 0,
}
"""nuScenes category name -> class id in 1..16, or 0 for noise: no class of the benchmark.

The order is the index order of nuScenes-lidarseg. To resolve raw ids, use the ``category`` table of
the data: published lists number some categories differently.
"""

NOISE_LABEL = 0
"""Label of noise in SurroundOcc's files, read as ``IGNORE``; voxels that they do not list are
``EMPTY``.
"""

UNKNOWN = "unknown"
"""Weather or region of which nothing is known."""
WEATHERS: tuple[str, ...] = (UNKNOWN, "clear", "rain", "night", "rain at night")
"""Weathers that ``DriveContext`` may name."""
REGIONS: tuple[str, ...] = (
    UNKNOWN,
    "boston-seaport",
    "singapore-onenorth",
    "singapore-queenstown",
    "singapore-hollandvillage",
)
"""Regions that ``DriveContext`` may name: the places where nuScenes was recorded."""


@dataclass(frozen=True, slots=True)
class DriveContext:
    """What is known about the drive apart from its sensors; ``UNKNOWN`` where nothing is known.

    The values are those of ``WEATHERS`` and ``REGIONS``.
    """

    weather: str = UNKNOWN
    region: str = UNKNOWN


def weather_from_description(description: str) -> str:
    """The weather of a nuScenes scene, by the words "rain" and "night" in ``scene.description``;
    "clear" where neither occurs.
    """
    text = description.lower()
    rain, night = "rain" in text, "night" in text
    return "rain at night" if rain and night else "rain" if rain else "night" if night else "clear"


def region_from_location(location: str) -> str:
    """The region of a nuScenes ``log.location``; "unknown" for a location not in ``REGIONS``."""
    text = location.strip().lower()
    return text if text in REGIONS else UNKNOWN
