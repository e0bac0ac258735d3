import pytest

from occ_core.taxonomy import (
    CLASS_ID,
    CLASS_NAMES,
    EMPTY,
    IGNORE,
    LIDARSEG_CATEGORIES,
    NUM_CLASSES,
    PALETTE,
    REGIONS,
    WEATHERS,
    region_from_location,
    weather_from_description,
)

# nuScenes-lidarseg: raw index -> class of the challenge (1..16, 0 for none), in nuScenes' own
# numbering.
CHALLENGE = [
    0,
    0,
    7,
    7,
    7,
    0,
    7,
    0,
    0,
    1,
    0,
    0,
    8,
    0,
    2,
    3,
    3,
    4,
    5,
    0,
    0,
    6,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    0,
    16,
    0,
]


def test_one_name_and_colour_a_class():
    assert (
        NUM_CLASSES
        == len(CLASS_NAMES)
        == len(PALETTE)
        == len(set(CLASS_NAMES))
        == len(set(PALETTE))
        == 17
    )
    assert CLASS_NAMES[EMPTY] == "empty" and IGNORE not in range(NUM_CLASSES)
    assert all(CLASS_NAMES[index] == name for name, index in CLASS_ID.items())


def test_lidarseg_categories_in_index_order():
    assert list(LIDARSEG_CATEGORIES.values()) == CHALLENGE
    assert set(LIDARSEG_CATEGORIES.values()) == set(range(17))


@pytest.mark.parametrize(("category", "name"), [
    ("vehicle.car", "car"), ("vehicle.bus.bendy", "bus"), ("movable_object.trafficcone", "traffic_cone"),
    ("human.pedestrian.police_officer", "pedestrian"), ("flat.other", "other_flat"), ("static.vegetation", "vegetation"),
])  # fmt: skip
def test_categories_by_name(category, name):
    assert CLASS_NAMES[LIDARSEG_CATEGORIES[category]] == name


@pytest.mark.parametrize(("description", "weather"), [
    ("Parked truck, construction, intersection, turn left, following a van", "clear"),
    ("Rain, parked cars", "rain"), ("Night, big street", "night"), ("Night, after rain, wet road", "rain at night"),
    ("", "clear"),
])  # fmt: skip
def test_weather_from_description(description, weather):
    assert weather_from_description(description) == weather and weather in WEATHERS


@pytest.mark.parametrize(("location", "region"), [
    ("singapore-onenorth", "singapore-onenorth"), (" Boston-Seaport ", "boston-seaport"), ("las-vegas", "unknown"),
    ("", "unknown"),
])  # fmt: skip
def test_region_from_location(location, region):
    assert region_from_location(location) == region and region in REGIONS
