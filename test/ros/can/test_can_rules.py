"""Rules: what one value says, and what is wrong with a file of rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros.can import CanContext, RulesError, SignalValue, load_rules
from occ_perception_ros.can.rules import Evidence, FactRule

MINIMAL = "dbc: x.dbc\nrain: {evidence: [{signal: A.b, starts_at: 2, ends_at: 1}]}\n"


def test_thresholds_have_hysteresis_in_either_direction() -> None:
    rain = Evidence(signal="A.b", starts_at=0.5, ends_at=0.2)
    night = Evidence(signal="A.b", starts_at=30, ends_at=200)
    for before in (None, False, True):
        assert rain.judge(SignalValue(0.5), before) is True
        assert rain.judge(SignalValue(0.2), before) is False
        assert rain.judge(SignalValue(0.3), before) is before
        assert night.judge(SignalValue(30), before) is True
        assert night.judge(SignalValue(200), before) is False
        assert night.judge(SignalValue(100), before) is before
        assert rain.judge(SignalValue(255, "NotAvailable"), before) is None


def test_values_are_compared_by_name_or_number() -> None:
    wiper = Evidence(signal="A.b", starts_on=("Fast", 2), ends_on=("Off",))
    assert wiper.judge(SignalValue(3, "Fast"), None) is True
    assert wiper.judge(SignalValue(2, "Slow"), None) is True
    assert wiper.judge(SignalValue(0, "Off"), True) is False
    assert wiper.judge(SignalValue(1, "Interval"), True) is None
    assert wiper.judge(SignalValue(7), False) is None


def test_the_first_or_any_evidence_decides() -> None:
    evidence = (Evidence(signal="A.b", starts_at=1, ends_at=0),)
    first = FactRule(evidence=evidence, decide="first")
    anyone = FactRule(evidence=evidence, decide="any")
    for judgements, by_first, by_any in [
        ([None, True], True, True),
        ([False, True], False, True),
        ([False, None], False, False),
        ([None, None], None, None),
    ]:
        assert first.decide_from(judgements) is by_first
        assert anyone.decide_from(judgements) is by_any


def test_the_example_is_complete_and_fits_its_dbc(rules_path: Path, dbc_path: Path) -> None:
    rules = load_rules(rules_path)
    assert rules.dbc == dbc_path
    assert rules.rain and rules.night and rules.region
    assert len(rules.signals) == 8  # rain, wiper, light, headlights, two of position, fix, country
    CanContext(rules)


WRONG_FILES = [
    ("{}", ["at least one of rain, night and region"]),
    ("[1]", ["the file must have some of ['dbc', 'rain', 'night', 'region'], got [1]"]),
    ("a: [", ["cannot be read"]),
    ("rain: !!python/object/apply:os.system [ls]", ["cannot be read"]),
    ("rain: {}", ["rain lacks ['evidence']"]),
    ("rain: {evidence: []}", ["rain: evidence must have at least one entry"]),
    ("rain: {evidence: 3}", ["rain.evidence must be a list, got 3"]),
    ("dbc: 3", ["dbc must be a path, got 3"]),
    ("snow: 1\nrain: {evidence: []}", ["unknown keys ['snow']"]),
    (
        "rain: {evidence: [{signal: A.b, starts_on: [On], ends_on: ['Off']}]}",
        ["rain.evidence[0]", "in quotes"],
    ),
    (
        "rain: {evidence: [{signal: A.b, starts_at: 1, ends_at: 1}]}",
        ["rain.evidence[0]", "two different finite numbers"],
    ),
    (
        "rain: {evidence: [{signal: A.b, starts_at: .nan, ends_at: 1}]}",
        ["two different finite numbers"],
    ),
    ("rain: {evidence: [{signal: A.b, starts_at: 1}]}", ["either starts_at and ends_at"]),
    (
        "rain: {evidence: [{signal: A.b, starts_at: 1, ends_at: 0, starts_on: [2]}]}",
        ["either starts_at and ends_at"],
    ),
    (
        "rain: {evidence: [{signal: A.b, starts_on: [2], ends_on: [2]}]}",
        ["['2'] is in starts_on and ends_on"],
    ),
    ("rain: {evidence: [{signal: A, starts_at: 1, ends_at: 0}]}", ["Message.Signal, got 'A'"]),
    (MINIMAL + "night: {evidence: [{signal: 3}]}", ["night.evidence[0]"]),
    (MINIMAL.replace("]}", "], debounce_end_s: -1}"), ["debounce_end_s must lie in"]),
    (MINIMAL.replace("]}", "], stale_after_s: .inf}"), ["stale_after_s must lie in"]),
    (MINIMAL.replace("]}", "], when_stale: guess}"), ["when_stale"]),
    (MINIMAL.replace("]}", "], decide: most}"), ["decide"]),
    ("region: {}", ["region needs position and areas"]),
    ("region: {position: [A.b, A.c]}", ["position and areas need one another"]),
    ("region: {country: A.b}", ["country and countries need one another"]),
    ("region: {country: A.b, countries: {US: mars}}", ["region 'mars' is unknown"]),
    ("region: {country: A.b, countries: {NO: unknown}}", ["in quotes"]),
    (
        "region: {position: [A.b, A.c], areas: [{region: unknown, low: [1, 1], high: [0, 2]}]}",
        ["region.areas[0]", "must be below high"],
    ),
    (
        "rain: {evidence: [{signal: A.b}]}\nnight: {light: 3}",  # both are reported
        ["rain.evidence[0]", "night has unknown keys ['light']"],
    ),
]


@pytest.mark.parametrize(("text", "reasons"), WRONG_FILES)
def test_a_wrong_file_is_described(text: str, reasons: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(RulesError) as raised:
        load_rules(path)
    for reason in (*reasons, "rules.yaml"):
        assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dbc: can_context.dbc", "dbc: gone.dbc", "gone.dbc does not exist"),
        ("RainLight.RainIntensity", "RainLight.Rain", "no signal 'Rain'"),
        ("Slow, Fast", "Slow, Faster", "no value named 'Faster'; it has Off, Interval, Slow"),
        ("UnitedStates:", "France:", "GnssStatus.CountryCode has no value named 'France'"),
    ],
)
def test_rules_that_do_not_fit_the_dbc_are_described(
    old: str, new: str, reason: str, rules_path: Path, dbc_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "can_context.dbc").write_bytes(dbc_path.read_bytes())
    (tmp_path / "rules.yaml").write_text(rules_path.read_text().replace(old, new))
    with pytest.raises(RulesError) as raised:
        CanContext.from_file(tmp_path / "rules.yaml")
    assert reason in str(raised.value)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "dbc",
                    "rain",
                    "night",
                    "region",
                    "evidence",
                    "signal",
                    "starts_at",
                    "ends_at",
                    "starts_on",
                    "ends_on",
                    "decide",
                    "areas",
                    "low",
                    "high",
                    "position",
                    "fix",
                    "values",
                    "country",
                    "countries",
                    "debounce_s",
                    "A.b",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(content=JSON_LIKE)
def test_any_yaml_is_read_or_refused(content: object, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(yaml.safe_dump(content))
    try:
        load_rules(path)
    except RulesError as error:
        assert "rules.yaml" in str(error)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_bytes(content)
    with pytest.raises(RulesError):
        load_rules(path)
