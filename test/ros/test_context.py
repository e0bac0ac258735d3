"""Weather and region: absent, stale, wrong, over a jump in time."""

from __future__ import annotations

import pytest

from occ_core.taxonomy import REGIONS
from occ_core.types import DriveContext
from occ_perception_ros.context import (
    ContextCache,
    ContextConfig,
    region_from_text,
    weather_from_text,
)

NS = 10**9


def test_defaults_hold_until_the_first_message() -> None:
    cache = ContextCache(ContextConfig(default_weather="rain"))
    assert cache.at(5 * NS) == DriveContext("rain", "unknown")
    assert cache.stale(5 * NS) == []  # a topic without messages is not stale
    cache.set("weather", " Night ", 5 * NS)
    cache.set("region", "boston-seaport", 5 * NS)
    assert cache.at(6 * NS) == DriveContext("night", "boston-seaport")


def test_a_value_that_is_too_old_is_replaced_by_the_default() -> None:
    cache = ContextCache(ContextConfig(max_age_s=10.0))
    cache.set("weather", "rain", 5 * NS)
    assert cache.at(15 * NS).weather == "rain"
    assert cache.at(16 * NS).weather == "unknown"
    assert cache.stale(16 * NS) == ["weather"]


def test_sources_of_weather_and_region() -> None:
    cache = ContextCache(ContextConfig(max_age_s=10.0))
    cache.set("weather", "rain", 5 * NS)
    assert cache.sources(6 * NS) == {
        "weather": "topic",
        "region": "default: no message on the topic",
    }
    stale = "default: the message on the topic is older than 10 s"
    assert cache.sources(16 * NS)["weather"] == stale


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("unknown", "unknown"),
        *((weather, weather) for weather in ("clear", "rain", "night", "rain at night")),
        ("Raining", "rain"),
        (" light DRIZZLE, wet road ", "rain"),
        ("thunderstorm", "rain"),
        ("night-time", "night"),
        ("Night, rain, parked cars", "rain at night"),
        ("dark and pouring", "rain at night"),
        ("sunny", "clear"),
        ("overcast", "clear"),
        ("no rain", "clear"),
        ("it has stopped raining, night", "night"),
        ("rain stopped", "clear"),
        ("no longer raining", "clear"),
        ("dark clouds, sunny spells", "clear"),
    ],
)
def test_words_for_the_weather(text: str, label: str) -> None:
    assert weather_from_text(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("unknown", "unknown"),
        *((region, region) for region in REGIONS[1:]),
        ("Boston", "boston-seaport"),
        ("USA", "boston-seaport"),
        ("Singapore, Holland Village", "singapore-hollandvillage"),
        ("singapore_queenstown", "singapore-queenstown"),
        ("one-north", "singapore-onenorth"),
        ("Singapore", "singapore-onenorth"),
    ],
)
def test_words_for_the_region(text: str, label: str) -> None:
    assert region_from_text(text) == label


NO_WEATHER = (
    "",
    "snow",
    "rain and fog",
    "not sure",
    "not clear",
    "train",
    "Sunday",
    "hazy sun",
    "icy road, clear",
    "is_raining: false",
    "Rain: no, night: yes",
    "0 % chance of rain",
    "not at night",
)
NO_REGION = (
    "",
    "bus",
    "Aachen",
    "Boston or Singapore",
    "not Boston",
    "South America",
    "Rotterdam, Holland",
    "stone north",
)


@pytest.mark.parametrize("text", NO_WEATHER)
def test_texts_without_a_known_weather_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"weather '{text}' is unknown"):
        weather_from_text(text)


@pytest.mark.parametrize("text", NO_REGION)
def test_texts_without_a_known_region_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"region '{text}' is unknown"):
        region_from_text(text)


def test_a_label_from_before_the_sensor_data_ages_from_the_first_frame() -> None:
    cache = ContextCache(ContextConfig(max_age_s=10.0))
    cache.set("weather", "rain", None)
    assert [cache.at(second * NS).weather for second in (100, 110, 111)] == [
        "rain",
        "rain",
        "unknown",
    ]


def test_a_latched_label_survives_a_jump_back() -> None:
    cache = ContextCache(ContextConfig(max_age_s=10.0))
    cache.set("weather", "rain", 500 * NS)
    cache.restart()
    assert cache.at(5 * NS).weather == "rain"


def test_an_unknown_label_is_refused_and_the_old_one_stays() -> None:
    cache = ContextCache(ContextConfig())
    cache.set("weather", "rain", NS)
    with pytest.raises(ValueError, match="weather 'hail' is unknown; expected one of"):
        cache.set("weather", "hail", NS)
    assert cache.at(NS).weather == "rain"


def test_wrong_defaults_are_listed_in_one_error() -> None:
    with pytest.raises(
        ValueError,
        match="default_weather must be one of .*; default_region must be one of .*; max_age_s",
    ):
        ContextConfig(default_weather="hail", default_region="mars", max_age_s=0.0)


def test_a_long_text_is_refused_without_being_repeated() -> None:
    cache = ContextCache(ContextConfig())
    cache.set("weather", "rain", NS)
    with pytest.raises(ValueError, match=r"^weather must be a few words, got a text of \d+ "):
        cache.set("weather", "rain " * 1_000_000, NS)
    assert cache.at(NS).weather == "rain"
    with pytest.raises(ValueError, match="max_age_s"):
        ContextConfig(max_age_s=float("nan"))
