"""Parameters of the node that contradict one another."""

from __future__ import annotations

import pytest

from occ_perception_ros.node_config import NodeConfig
from occ_perception_ros.ranges import ConfigError
from occ_perception_ros.synchronizer import SyncConfig


def test_markers_must_outlive_the_time_between_two_frames() -> None:
    reason = r"marker_lifetime_s must be 0 or longer than sync.frame_period_s \(2.0\).*got 1.5"
    with pytest.raises(ConfigError, match=reason):
        NodeConfig(marker_lifetime_s=1.5, sync=SyncConfig(frame_period_s=2.0))
    for lifetime_s in (0.0, 2.5):  # for ever, and longer than a period
        NodeConfig(marker_lifetime_s=lifetime_s, sync=SyncConfig(frame_period_s=2.0))
