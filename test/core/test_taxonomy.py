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

# The class of the challenge (1..16, 0 for none) at each raw index of nuScenes-lidarseg.
# fmt: off
CHALLENGE = [
    0, 0, 7, 7, 7, 0, 7, 0, 0, 1, 0, 0, 8, 0, 2, 3,
    3, 4, 5, 0, 0, 6, 9, 10, 11, 12, 13, 14, 15, 0, 16, 0,
]
# fmt: on


def test_every_class_has_its_own_name_and_colour():
    assert len(CLASS_NAMES) == len(PALETTE) == NUM_CLASSES == 17
    assert len(set(CLASS_NAMES)) == len(set(PALETTE)) == NUM_CLASSES
    assert CLASS_NAMES[EMPTY] == "empty" and IGNORE not in range(NUM_CLASSES)
    assert all(CLASS_NAMES[index] == name for name, index in CLASS_ID.items())


def test_lidarseg_categories_in_index_order():
    assert list(LIDARSEG_CATEGORIES.values()) == CHALLENGE
    assert set(LIDARSEG_CATEGORIES.values()) == set(range(17))


@pytest.mark.parametrize(
    ("category", "name"),
    [
        ("vehicle.car", "car"),
        ("vehicle.bus.bendy", "bus"),
        ("movable_object.trafficcone", "traffic_cone"),
        ("human.pedestrian.police_officer", "pedestrian"),
        ("flat.other", "other_flat"),
        ("static.vegetation", "vegetation"),
    ],
)
def test_categories_by_name(category: str, name: str):
    assert CLASS_NAMES[LIDARSEG_CATEGORIES[category]] == name


@pytest.mark.parametrize(
    ("description", "weather"),
    [
        ("Parked truck, construction, intersection, turn left, following a van", "clear"),
        ("Rain, parked cars", "rain"),
        ("Night, big street", "night"),
        ("Night, after rain, wet road", "rain at night"),
        ("", "clear"),
    ],
)
def test_weather_from_description(description: str, weather: str):
    assert weather_from_description(description) == weather and weather in WEATHERS


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("singapore-onenorth", "singapore-onenorth"),
        (" Boston-Seaport ", "boston-seaport"),
        ("las-vegas", "unknown"),
        ("", "unknown"),
    ],
)
def test_region_from_location(location: str, region: str):
    assert region_from_location(location) == region and region in REGIONS
