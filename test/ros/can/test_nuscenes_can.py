"""Weather and region from nuScenes' CAN bus expansion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_core.datasets.nuscenes import NuScenes
from occ_core.types import DriveContext
from occ_perception_ros.bags.nuscenes_to_bag import convert_scenes
from occ_perception_ros.bags.reader import BagReader
from occ_perception_ros.bags.scene_context import SceneContext
from occ_perception_ros.can.nuscenes import nuscenes_signals
from occ_perception_ros.can.rules import Area, ContextRules, Evidence, FactRule, RegionRule

LIGHT = "zoe_veh_info.left_solar"
NIGHT = FactRule(
    evidence=(Evidence(signal=LIGHT, starts_at=2, ends_at=10),),
    debounce_start_s=0.2,
    debounce_end_s=0.2,
)
SCENE = "scene-0001"
Records = list[dict[str, Any]]


def write(root: Path, message: str, records: object) -> None:
    (root / "can_bus").mkdir(parents=True, exist_ok=True)
    (root / "can_bus" / f"{SCENE}_{message}.json").write_text(json.dumps(records))


def solar(*values: object) -> Records:
    """One record each tenth of a second."""
    return [{"utime": 100_000 * n, "left_solar": value} for n, value in enumerate(values)]


def test_numbers_and_entries_of_lists_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path, "zoe_veh_info", solar(3, 4))
    write(tmp_path, "pose", [{"utime": 50_000, "pos": [1.0, 2.5, 0.0]}])
    signals = [LIGHT, "pose.pos.1", "pose.pos.7", "vehicle_monitor.throttle"]
    found = [
        (stamp_ns, {name: value.number for name, value in values.items()})
        for stamp_ns, values in nuscenes_signals(tmp_path, SCENE, signals)
    ]
    assert found == [(0, {LIGHT: 3}), (50_000_000, {"pose.pos.1": 2.5}), (100_000_000, {LIGHT: 4})]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "zoe_veh_info", solar(None, True, "3", [3], {}, float("nan"), 10**400))
    assert all(not values for _, values in nuscenes_signals(tmp_path, SCENE, [LIGHT]))


@pytest.mark.parametrize("content", ["", "{}x", "[1]", '[{"left_solar": 1}]', '[{"utime": "x"}]'])
def test_a_malformed_file_is_named(content: str, tmp_path: Path) -> None:
    write(tmp_path, "zoe_veh_info", [])
    path = tmp_path / "can_bus" / f"{SCENE}_zoe_veh_info.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=path.name):
        nuscenes_signals(tmp_path, SCENE, [LIGHT])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["utime", "left_solar", "pos"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(content=JSON)
def test_any_json_is_read_or_refused(content: object, tmp_path_factory: Any) -> None:
    root = tmp_path_factory.mktemp("root")
    write(root, "zoe_veh_info", content)
    try:
        nuscenes_signals(root, SCENE, [LIGHT, "zoe_veh_info.pos.0"])
    except ValueError as error:
        assert "zoe_veh_info.json" in str(error)


def test_tables_hold_where_the_rules_say_nothing(tmp_path: Path) -> None:
    tables = DriveContext(weather="rain", region="boston-seaport")
    # day until 1 s, dark then; 0.2 s of debouncing
    write(tmp_path, "zoe_veh_info", solar(*[50] * 10, *[0] * 10))
    scene = SceneContext(tables, tmp_path, SCENE, ContextRules(night=NIGHT))
    assert scene.at(-1) == scene.at(0) == scene.at(1_199_999_999) == tables
    assert scene.at(1_200_000_000).weather == "rain at night"
    assert scene.at(10**18).region == "boston-seaport"
    assert SceneContext(tables, tmp_path, SCENE, None).at(10**18) == tables
    unknown = SceneContext(DriveContext(), tmp_path, SCENE, ContextRules(night=NIGHT))
    assert (unknown.at(0).weather, unknown.at(10**18).weather) == ("unknown", "night")


def test_the_region_may_come_from_the_pose(tmp_path: Path) -> None:
    write(tmp_path, "pose", [{"utime": 0, "pos": [600.0, 1600.0, 0.0]}])
    area = Area(region="singapore-queenstown", low=(0, 1500), high=(700, 2000))
    rules = ContextRules(region=RegionRule(position=("pose.pos.0", "pose.pos.1"), areas=(area,)))
    scene = SceneContext(DriveContext(), tmp_path, SCENE, rules)
    assert scene.at(0).region == "singapore-queenstown"


def test_a_bag_has_what_the_rules_decide(
    small_nuscenes: Callable[..., Any], tmp_path: Path
) -> None:
    drive = small_nuscenes()
    nuscenes = NuScenes(drive.root)
    first_us = nuscenes.keyframes([SCENE], sweeps=0)[0].stamp_ns // 1000
    records = [{"utime": first_us + 10_000 * n, "left_solar": 50} for n in range(-50, 200)]
    write(drive.root, "zoe_veh_info", records)
    by_tables = nuscenes.keyframes([SCENE], sweeps=0)[0].context
    assert by_tables.weather == "rain at night"
    convert_scenes(nuscenes, [SCENE], tmp_path / "bag", can_rules=ContextRules(night=NIGHT))
    with BagReader(tmp_path / "bag") as bag:
        texts = {bag.decode(m).data for m in bag.messages(["/can/weather"])}
        regions = {bag.decode(m).data for m in bag.messages(["/can/region"])}
    assert texts == {"rain"} and regions == {by_tables.region}
