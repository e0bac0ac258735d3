"""``config/nav2_costmap.yaml`` against the node's topics, and against the parameters that Nav2
documents. Nav2 itself is not run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from nav_msgs.msg import OccupancyGrid
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import PointCloud2

from occ_core.voxel_grid import SURROUNDOCC_GRID
from occ_perception_ros.node import OccupancyNode

COSTMAP = {
    "global_frame": str,
    "robot_base_frame": str,
    "rolling_window": bool,
    "width": int,
    "height": int,
    "resolution": float,
    "update_frequency": float,
    "publish_frequency": float,
    "transform_tolerance": float,
    "track_unknown_space": bool,
    "trinary_costmap": bool,
    "lethal_cost_threshold": int,
    "unknown_cost_value": int,
    "plugins": list,
}
"""https://docs.nav2.org/configuration/packages/configuring-costmaps.html"""
OBSTACLES = {
    "enabled": bool,
    "footprint_clearing_enabled": bool,
    "min_obstacle_height": float,
    "max_obstacle_height": float,
    "combination_method": int,
    "observation_sources": str,
    "tf_filter_tolerance": float,
}
LAYERS: dict[str, dict[str, type]] = {
    "nav2_costmap_2d::StaticLayer": {
        "enabled": bool,
        "subscribe_to_updates": bool,
        "map_subscribe_transient_local": bool,
        "map_topic": str,
        "footprint_clearing_enabled": bool,
        "restore_cleared_footprint": bool,
    },
    "nav2_costmap_2d::ObstacleLayer": OBSTACLES,
    "nav2_costmap_2d::VoxelLayer": {
        **OBSTACLES,
        "z_voxels": int,
        "origin_z": float,
        "z_resolution": float,
        "unknown_threshold": int,
        "mark_threshold": int,
        "publish_voxel_map": bool,
    },
    "nav2_costmap_2d::InflationLayer": {
        "enabled": bool,
        "inflation_radius": float,
        "cost_scaling_factor": float,
        "inflate_unknown": bool,
        "inflate_around_unknown": bool,
    },
}
"""By plugin: the pages below https://docs.nav2.org/configuration/packages/costmap-plugins/"""
SOURCE = {
    "topic": str,
    "sensor_frame": str,
    "observation_persistence": float,
    "expected_update_rate": float,
    "data_type": str,
    "min_obstacle_height": float,
    "max_obstacle_height": float,
    "inf_is_valid": bool,
    "marking": bool,
    "clearing": bool,
    "obstacle_max_range": float,
    "obstacle_min_range": float,
    "raytrace_max_range": float,
    "raytrace_min_range": float,
}
"""One of an obstacle or voxel layer's ``observation_sources``."""
MAX_Z_VOXELS = 16
"""Nav2 keeps a column of voxels in one integer."""


class IdleEngine:
    """The node needs an engine to start, not to be looked at."""

    def step(self, frame: Any) -> Any:
        raise NotImplementedError

    def reset(self, reason: str) -> None: ...


@pytest.fixture
def content(repository: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((repository / "config/nav2_costmap.yaml").read_text())
    return loaded


@pytest.fixture
def costmap(content: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = content["local_costmap"]["local_costmap"]["ros__parameters"]
    return values


@pytest.fixture
def node(content: dict[str, Any], tmp_path: Path) -> Iterator[OccupancyNode]:
    """The node with the file's own parameters for it."""
    (tmp_path / "calibration.yaml").write_text("frames: {}\n")
    given = {
        "calibration_file": str(tmp_path / "calibration.yaml"),
        **content["/occupancy_node"]["ros__parameters"],
    }
    context = rclpy.Context()
    rclpy.init(context=context)
    made = OccupancyNode(
        lambda config: (IdleEngine(), (64, 64)),
        context=context,
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
    )
    yield made
    made.stop()
    made.destroy_node()
    rclpy.shutdown(context=context)


def mistakes(values: dict[str, Any], known: dict[str, type], where: str = "") -> list[str]:
    """Parameters that Nav2 does not document, or whose type is another one: Nav2 ignores the former
    and ends with the latter, also with a whole number for a float.
    """
    return [
        f"{where}{name}: {value!r}"
        for name, value in values.items()
        if type(value) is not known.get(name)
    ]


def test_every_parameter_is_one_of_nav2s_and_of_its_type(costmap: dict[str, Any]) -> None:
    layers = {name: costmap.pop(name) for name in costmap["plugins"]}
    found = mistakes(costmap, COSTMAP)
    for name, layer in layers.items():
        known = LAYERS[layer.pop("plugin")]
        for source in layer.get("observation_sources", "").split():
            found += mistakes(layer.pop(source), SOURCE, f"{name}.{source}.")
        found += mistakes(layer, known, f"{name}.")
    assert not found


def test_mistakes_are_noticed() -> None:
    values = {"width": 60.0, "hight": 60, "resolution": 0.5, "rolling_window": "true"}
    assert mistakes(values, COSTMAP, "local.") == [
        "local.width: 60.0",
        "local.hight: 60",
        "local.rolling_window: 'true'",
    ]


def test_topics_are_the_nodes_with_the_durability_that_the_layer_asks_for(
    costmap: dict[str, Any], node: OccupancyNode
) -> None:
    published = {end.topic_name: end for end in node.publishers}
    drivable = costmap["drivable_layer"]
    grid = published[drivable["map_topic"]]
    assert grid.msg_type is OccupancyGrid and drivable["map_subscribe_transient_local"]
    assert grid.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    source = costmap["voxel_layer"]["obstacles"]
    cloud = published[source["topic"]]
    assert (cloud.msg_type, source["data_type"]) == (PointCloud2, "PointCloud2")


def test_geometry_fits_the_grid_and_the_node(costmap: dict[str, Any], node: OccupancyNode) -> None:
    size = SURROUNDOCC_GRID.voxel_size_m
    voxels = costmap["voxel_layer"]
    assert costmap["resolution"] == voxels["z_resolution"] == size
    assert voxels["z_voxels"] == SURROUNDOCC_GRID.shape[2] <= MAX_Z_VOXELS
    # the grid's bottom, 5 m below a LiDAR at 1.8 m
    assert voxels["origin_z"] == pytest.approx(SURROUNDOCC_GRID.min_m[2] + 1.8)
    assert voxels["max_obstacle_height"] == node.config.vehicle_height_m
    reach = voxels["obstacles"]["obstacle_max_range"]
    assert costmap["rolling_window"] and reach < SURROUNDOCC_GRID.range_m[3]
