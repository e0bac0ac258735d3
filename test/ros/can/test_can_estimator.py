"""Weather and region over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_core.taxonomy import REGIONS, WEATHERS
from occ_perception_ros.can import CanContext, CanFrame, ContextEstimator, ContextRules, SignalValue
from occ_perception_ros.can.estimator import Debounced, weather_label
from occ_perception_ros.can.rules import Area, Evidence, FactRule, FixRule, RegionRule

NS = 10**9
BOSTON, SINGAPORE = "boston-seaport", "singapore-onenorth"
RAIN = FactRule(
    evidence=(
        Evidence(signal="Sensor.rain", starts_at=2, ends_at=1),
        Evidence(signal="Wiper.state", starts_on=("Fast",), ends_on=("Off",)),
    ),
    decide="any",
    debounce_start_s=3,
    debounce_end_s=10,
    stale_after_s=5,
)
NIGHT = FactRule(
    evidence=(
        Evidence(signal="Sensor.light", starts_at=30, ends_at=200),
        Evidence(signal="Lights.state", starts_on=(1,), ends_on=(0,)),
    ),
    debounce_start_s=2,
    debounce_end_s=2,
    stale_after_s=5,
)
REGION = RegionRule(
    position=("Gnss.x", "Gnss.y"),
    fix=FixRule(signal="Gnss.fix", values=("Fix",)),
    areas=(
        Area(region=BOSTON, low=(0, 0), high=(10, 10)),
        Area(region=SINGAPORE, low=(5, 5), high=(20, 20)),
    ),
    country="Gnss.country",
    countries={"US": BOSTON, 702: SINGAPORE},
    debounce_s=4,
    stale_after_s=6,
)
SILENT: Mapping[str, SignalValue] = {}


def number(value: float) -> SignalValue:
    return SignalValue(value)


class Drive:
    """Feeds an estimator in seconds."""

    def __init__(self, **rules: FactRule | RegionRule) -> None:
        self.estimator = ContextEstimator(ContextRules(**rules))

    def at(self, time_s: float, **values: SignalValue) -> ContextEstimator:
        """Takes values; the first underscore of a name stands for a dot."""
        named = {name.replace("_", ".", 1): value for name, value in values.items()}
        self.estimator.update(round(time_s * NS), named)
        return self.estimator


@pytest.mark.parametrize(
    ("rain", "night", "weather"),
    [
        (True, True, "rain at night"),
        (True, False, "rain"),
        (True, None, "rain"),
        (False, True, "night"),
        (None, True, "night"),
        (False, False, "clear"),
        (False, None, "unknown"),
        (None, False, "unknown"),
        (None, None, "unknown"),
    ],
)
def test_two_facts_make_the_weather(rain: bool | None, night: bool | None, weather: str) -> None:
    assert weather_label(rain, night) == weather


def test_the_first_decision_counts_at_once_and_changes_must_last() -> None:
    drive = Drive(rain=RAIN)
    assert drive.at(0, Sensor_rain=number(0)).rain is False
    assert drive.at(1, Sensor_rain=number(5)).rain is False
    assert drive.at(3.9, Sensor_rain=number(5)).rain is False  # for 2.9 s of 3
    assert drive.at(4, Sensor_rain=number(5)).rain is True
    assert drive.at(5, Sensor_rain=number(0)).rain is True
    assert drive.at(9, Sensor_rain=number(5)).rain is True  # interrupted: the 10 s start again
    assert drive.at(10, Sensor_rain=number(0)).rain is True
    drive.at(15, Sensor_rain=number(0))
    assert drive.at(19.9, Sensor_rain=number(0)).rain is True
    assert drive.at(20, Sensor_rain=number(0)).rain is False


def test_between_the_thresholds_nothing_changes() -> None:
    drive = Drive(rain=RAIN)
    assert drive.at(0, Sensor_rain=number(1.5)).rain is None
    assert drive.at(1, Sensor_rain=number(2)).rain is True
    for time_s in range(2, 60, 2):
        assert drive.at(time_s, Sensor_rain=number(1.01)).rain is True


def test_any_evidence_of_rain_is_enough() -> None:
    drive = Drive(rain=RAIN)
    wipes = SignalValue(3, "Fast")
    assert drive.at(0, Sensor_rain=number(0), Wiper_state=wipes).rain is True
    washing = Drive(rain=RAIN)  # 2 s are below the 3 s of debounce_start_s
    washing.at(0, Sensor_rain=number(0), Wiper_state=SignalValue(0, "Off"))
    washing.at(10, Sensor_rain=number(0), Wiper_state=wipes)
    assert washing.at(12, Sensor_rain=number(0), Wiper_state=SignalValue(0, "Off")).rain is False
    assert washing.at(14, Sensor_rain=number(0)).rain is False


def test_the_next_evidence_decides_where_the_first_is_stale() -> None:
    drive = Drive(night=NIGHT)
    assert drive.at(0, Sensor_light=number(1000), Lights_state=number(1)).night is False
    # the light sensor is silent from 0 s on, and says nothing after 5 s; 2 s of debouncing
    assert drive.at(4, Lights_state=number(1)).night is False
    assert drive.at(5.5, Lights_state=number(1)).night is False
    assert drive.at(7.5, Lights_state=number(1)).night is True


@pytest.mark.parametrize(("when_stale", "after"), [("unknown", None), ("keep", True)])
def test_silence_is_unknown_or_keeps_the_decision(when_stale: str, after: bool | None) -> None:
    drive = Drive(rain=replace(RAIN, when_stale=when_stale))
    assert drive.at(0, Sensor_rain=number(5)).rain is True
    assert drive.at(5).rain is True
    assert drive.at(5.1).rain is after
    assert drive.at(1000).rain is after
    assert drive.at(1001, Sensor_rain=number(0)).rain is (after is not None)


def test_a_value_that_says_nothing_ages_like_silence() -> None:
    drive = Drive(rain=RAIN)
    drive.at(0, Sensor_rain=number(5))
    for time_s in range(1, 6):
        assert drive.at(time_s, Sensor_rain=SignalValue(255, "NotAvailable")).rain is True
    assert drive.at(5.1, Sensor_rain=SignalValue(255, "NotAvailable")).rain is None


def test_region_by_area_then_country() -> None:
    fix, boston = SignalValue(3, "Fix"), {"Gnss_x": number(1), "Gnss_y": number(1)}
    drive = Drive(region=REGION)
    assert drive.at(0).region == "unknown"
    assert drive.at(1, Gnss_country=SignalValue(840, "US")).region == BOSTON
    singapore = {"Gnss_x": number(15), "Gnss_y": number(15), "Gnss_fix": fix}
    assert drive.at(2, **singapore).region == BOSTON  # 4 s of debouncing
    assert drive.at(6, **singapore).region == SINGAPORE
    assert drive.at(7, **boston, Gnss_fix=SignalValue(0, "None")).region == SINGAPORE
    overlap = {"Gnss_x": number(7), "Gnss_y": number(7), "Gnss_fix": fix}
    assert Drive(region=REGION).at(0, **overlap).region == BOSTON  # the first area
    elsewhere = {"Gnss_x": number(99), "Gnss_y": number(7), "Gnss_fix": fix}
    assert Drive(region=REGION).at(0, **elsewhere).region == "unknown"
    country = number(702)
    assert Drive(region=REGION).at(0, **elsewhere, Gnss_country=country).region == SINGAPORE


def test_a_tunnel_keeps_the_region() -> None:
    drive = Drive(region=REGION)
    position = {"Gnss_x": number(1), "Gnss_y": number(1), "Gnss_fix": SignalValue(3, "Fix")}
    drive.at(0, **position)
    assert drive.at(600).region == BOSTON
    unknown = Drive(region=replace(REGION, when_stale="unknown"))
    unknown.at(0, **position)
    assert unknown.at(600).region == "unknown"


def test_a_jump_back_in_time_starts_again() -> None:
    drive = Drive(rain=RAIN)
    drive.at(100, Sensor_rain=number(5))
    assert drive.at(99.5).rain is True  # late by less than a second
    assert drive.at(50).rain is None
    assert drive.at(50, Sensor_rain=number(0)).rain is False


def test_values_are_shown_while_they_are_fresh() -> None:
    drive = Drive(rain=RAIN)
    estimator = drive.at(0, Sensor_rain=number(2.5))
    assert estimator.values() == {"Sensor.rain": "2.5", "Wiper.state": "stale"}
    assert estimator.unknown() == ""
    assert drive.at(6).values() == {"Sensor.rain": "stale", "Wiper.state": "stale"}
    assert estimator.unknown() == "rain is unknown without Sensor.rain or Wiper.state"


def test_a_drive_by_the_example(context: CanContext, drive: list[CanFrame]) -> None:
    seen = {}
    for frame in drive:
        context.add(frame)
        seen.setdefault(
            (context.weather, context.region), (frame.stamp_ns - drive[0].stamp_ns) / NS
        )
    # rain from 10 s on and 8 s of debouncing; dark from 20 s on and 20 s of it
    assert seen == {
        ("clear", "unknown"): 0,
        ("clear", "boston-seaport"): 0,
        ("rain", "boston-seaport"): 18,
        ("rain at night", "boston-seaport"): 40,
    }
    assert context.counts["decoded"] == len(drive)


def test_other_traffic_lets_signals_become_stale(
    context: CanContext, drive: list[CanFrame]
) -> None:
    context.add(drive[0])
    last = CanFrame(drive[0].stamp_ns, 5, b"")
    for second in range(7):  # stale after 5 s
        context.add(replace(last, stamp_ns=last.stamp_ns + second * NS))
    assert context.weather == "unknown"


def test_a_flood_changes_nothing(
    context: CanContext, drive: list[CanFrame], frame_of: Callable[..., CanFrame]
) -> None:
    for frame in drive[:20]:
        context.add(frame)
    before = context.weather, context.region
    # 20,000 frames in a fifth of a second, each with other data
    for step in range(20_000):
        data = bytes([step % 251, step % 256, step // 256, 0])
        stamp_ns = drive[20].stamp_ns + step * 10_000
        context.add(CanFrame(stamp_ns, 769 if step % 2 else step % 2048, data))
    assert (context.weather, context.region) == before


STEPS = st.lists(
    st.tuples(st.integers(0, 4 * NS), st.sampled_from([True, False, None])), max_size=60
)


@given(steps=STEPS, wait_s=st.floats(0, 5), keep=st.booleans())
def test_a_known_decision_changes_only_after_it_has_lasted(
    steps: list[tuple[int, bool | None]], wait_s: float, keep: bool
) -> None:
    state, now_ns = Debounced[bool](), 0
    said: list[tuple[int, bool | None]] = []
    for step_ns, decided in steps:
        now_ns += step_ns
        said.append((now_ns, decided))
        before = state.value
        state.step(decided, now_ns, wait_s, keep)
        if before is not None and state.value not in (before, None):
            # how many of the last steps said the same
            run = len(list(takewhile(lambda each: each[1] is state.value, reversed(said))))
            assert run and now_ns - said[-run][0] >= wait_s * NS
        assert keep or decided is not None or state.value is None


VALUES = st.dictionaries(
    st.sampled_from([*ContextRules(rain=RAIN, night=NIGHT, region=REGION).signals, "A.b"]),
    st.builds(
        SignalValue,
        number=st.floats(allow_nan=False),
        name=st.sampled_from(["", "Fast", "Off", "Fix", "US", "NotAvailable"]),
    ),
    max_size=5,
)


@given(updates=st.lists(st.tuples(st.integers(0, 2**63 - 1), VALUES), max_size=30))
def test_any_values_at_any_time_give_labels(
    updates: list[tuple[int, dict[str, SignalValue]]],
) -> None:
    estimator = ContextEstimator(ContextRules(rain=RAIN, night=NIGHT, region=REGION))
    for stamp_ns, values in updates:
        estimator.update(stamp_ns, values)
        estimator.advance(stamp_ns)
        assert estimator.weather in WEATHERS and estimator.region in REGIONS
