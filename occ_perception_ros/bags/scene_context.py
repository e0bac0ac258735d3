"""Weather and region over a nuScenes scene: from its tables, or by rules from its CAN bus."""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path

from occ_core.taxonomy import UNKNOWN, DriveContext
from occ_perception_ros.can.estimator import ContextEstimator, weather_label
from occ_perception_ros.can.nuscenes import nuscenes_signals
from occ_perception_ros.can.rules import ContextRules


class SceneContext:
    """Weather and region at any time of a scene.

    What the rules leave unknown is that of the tables: rain and night each by themselves, and the
    region.

    Args:
        tables: weather and region by the tables, which hold for the whole scene.
        root: data root of nuScenes.
        scene_name: such as ``scene-0061``.
        rules: rules for the signals of the CAN bus expansion; None: the tables alone.

    Raises:
        ValueError: a file of the CAN bus is malformed.
    """

    def __init__(
        self, tables: DriveContext, root: Path, scene_name: str, rules: ContextRules | None
    ) -> None:
        self._tables = tables
        self._stamps_ns: list[int] = []
        self._contexts: list[DriveContext] = []
        if rules is None:
            return
        estimator = ContextEstimator(rules)
        for stamp_ns, values in nuscenes_signals(root, scene_name, rules.signals):
            estimator.update(stamp_ns, values)
            self._stamps_ns.append(stamp_ns)
            self._contexts.append(self._merged(estimator))

    def at(self, stamp_ns: int) -> DriveContext:
        """Weather and region at the stamp: those of the last message of the CAN bus before it."""
        after = bisect_right(self._stamps_ns, stamp_ns)
        return self._contexts[after - 1] if after else self._tables

    def _merged(self, estimator: ContextEstimator) -> DriveContext:
        rain, night = estimator.rain, estimator.night
        if self._tables.weather != UNKNOWN:
            rain = "rain" in self._tables.weather if rain is None else rain
            night = "night" in self._tables.weather if night is None else night
        region = estimator.region
        return DriveContext(
            weather=weather_label(rain, night),
            region=self._tables.region if region == UNKNOWN else region,
        )
