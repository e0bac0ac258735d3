"""Class ids, names and colours; drive weathers and regions.

One order inside the library: 0 empty, 1..16 the nuScenes-lidarseg classes, 255 ignore. Each
benchmark maps to it at its border.
"""

from __future__ import annotations

EMPTY = 0
IGNORE = 255

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
"""nuScenes category name -> class id in 1..16, or 0 where the benchmark has no class (noise). In
nuScenes-lidarseg's index order, but resolve raw ids through the ``category`` table: its documents
number some categories differently."""

NOISE_LABEL = 0
"""In SurroundOcc's files 0 means noise (-> ``IGNORE``), and voxels not listed are empty (->
``EMPTY``).
"""

WEATHERS: tuple[str, ...] = ("unknown", "clear", "rain", "night", "rain at night")
REGIONS: tuple[str, ...] = (
    "unknown",
    "boston-seaport",
    "singapore-onenorth",
    "singapore-queenstown",
    "singapore-hollandvillage",
)


def weather_from_description(description: str) -> str:
    """The weather that a nuScenes ``scene.description`` tells by its words "rain" and "night";
    "clear" without either.
    """
    text = description.lower()
    rain, night = "rain" in text, "night" in text
    return "rain at night" if rain and night else "rain" if rain else "night" if night else "clear"


def region_from_location(location: str) -> str:
    """The region of a nuScenes ``log.location``; "unknown" where it is none of ``REGIONS``."""
    text = location.strip().lower()
    return text if text in REGIONS else "unknown"
