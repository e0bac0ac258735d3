"""The drive context (weather, region) from topics that may be absent, stale or wrong. No rclpy import."""

from __future__ import annotations

from dataclasses import dataclass

from occ_core.taxonomy import REGIONS, WEATHERS
from occ_core.types import UNKNOWN, DriveContext

NS = 1_000_000_000
_LABELS = {"weather": WEATHERS, "region": REGIONS}


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """What to take where the topics say nothing."""

    default_weather: str = UNKNOWN
    """Taken while no weather is known."""
    default_region: str = UNKNOWN
    """Taken while no region is known."""
    max_age_s: float = 30.0
    """A value older than this is no longer believed; measured between sensor stamps, since a String has none of its own."""

    def __post_init__(self) -> None:
        problems = []
        if self.default_weather not in WEATHERS:
            problems.append(f"default_weather must be one of {list(WEATHERS)}, got '{self.default_weather}'")
        if self.default_region not in REGIONS:
            problems.append(f"default_region must be one of {list(REGIONS)}, got '{self.default_region}'")
        if self.max_age_s <= 0:
            problems.append(f"max_age_s must be positive, got {self.max_age_s}")
        if problems:
            raise ValueError("; ".join(problems))


class ContextCache:
    """Remembers the last weather and region and when they came."""

    def __init__(self, config: ContextConfig) -> None:
        self._config = config
        self._values: dict[str, tuple[str, int | None]] = {}
        """Topic -> label and sensor time at which it came; None: before any sensor, or before a jump in time."""

    def set(self, topic: str, label: str, now_ns: int | None) -> None:
        """Stores a label of ``"weather"`` or ``"region"`` that came at sensor time ``now_ns``.

        Raises:
            ValueError: the label is none of the taxonomy's; the old one stays.
        """
        name = label.strip().lower()
        if name not in _LABELS[topic]:
            raise ValueError(f"{topic} '{label}' is unknown; expected one of {list(_LABELS[topic])}")
        self._values[topic] = (name, now_ns)

    def restart(self) -> None:
        """Time jumped: the labels stay (a latched one never comes again), their age starts anew."""
        self._values = {topic: (label, None) for topic, (label, _) in self._values.items()}

    def at(self, stamp_ns: int) -> DriveContext:
        """The context for a frame of that stamp."""
        return DriveContext(
            weather=self._value("weather", stamp_ns) or self._config.default_weather,
            region=self._value("region", stamp_ns) or self._config.default_region,
        )

    def stale(self, stamp_ns: int) -> list[str]:
        """The topics that have come, but too long ago."""
        return [topic for topic in self._values if self._value(topic, stamp_ns) is None]

    def _value(self, topic: str, stamp_ns: int) -> str | None:
        label, came_ns = self._values.get(topic, (None, None))
        if label is not None and came_ns is None:
            self._values[topic] = (label, stamp_ns)  # its age counts from the first frame on
            return label
        if label is None or came_ns is None or abs(stamp_ns - came_ns) > self._config.max_age_s * NS:
            return None
        return label
