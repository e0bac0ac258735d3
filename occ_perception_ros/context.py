"""The drive context (weather, region) from topics that may be absent, stale or wrong.

No rclpy import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from occ_core.taxonomy import REGIONS, UNKNOWN, WEATHERS, DriveContext
from occ_perception_ros.ranges import range_problems, refuse

NS = 1_000_000_000
MAX_TEXT = 200
"""Longer texts are not looked at: they are no words for the weather, but may fill a log."""
_DRY = re.compile(
    r"\b(?:no rain|without rain|not raining|no longer raining|stopped raining"
    r"|rain (?:has )?stopped)\b"
)
_AMBIGUOUS = re.compile(
    r"\b(?:no|not|never|without|longer|stopped|yes|true|false|free|chance|percent)\b"
)
"""Words that may negate others; a text with one of them is not interpreted."""
_OTHER_WEATHER = re.compile(
    r"\b(?:snow|hail|sleet|fog|mist|haz[ey]|dust|sand|smok|ic[ey]|frost|blizzard)\w*"
)
_WEATHER_WORDS = {
    "rain": re.compile(
        r"\b(?:rain|raining|rainy|rains|rainfall|drizzl\w*|shower\w*|pouring|wet|storm\w*"
        r"|thunder\w*)\b"
    ),
    "night": re.compile(r"\b(?:night|nighttime|nocturnal|midnight|dark(?! cloud| sk)|darkness)\b"),
    "clear": re.compile(
        r"\b(?:clear|sun|sunny|sunshine|dry|day|daytime|daylight|cloud\w*|overcast|fine|fair"
        r"|bright)\b"
    ),
}
_REGION_WORDS = {
    "boston-seaport": re.compile(r"\b(?:boston|usa|united states)\b"),
    "singapore-queenstown": re.compile(r"\bqueens ?town\b"),
    "singapore-hollandvillage": re.compile(r"\bholland ?village\b"),
    "singapore-onenorth": re.compile(r"\bone ?north\b"),
}
_SINGAPORE = re.compile(r"\bsingapore\b")


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    """Default context, and how long a received one is valid."""

    default_weather: str = field(default=UNKNOWN, metadata={"dynamic": True})
    """Weather used while none is known."""
    default_region: str = field(default=UNKNOWN, metadata={"dynamic": True})
    """Region used while none is known."""
    max_age_s: float = field(default=30.0, metadata={"range": (0.01, 1e9), "dynamic": True})
    """An older value is replaced by the default; its age is measured between sensor stamps, since
    a String has no stamp."""

    def __post_init__(self) -> None:
        refuse(self.problems())

    def problems(self) -> list[str]:
        """What is wrong with the values, one text each."""
        problems = []
        if self.default_weather not in WEATHERS:
            problems.append(
                f"default_weather must be one of {list(WEATHERS)}, got '{self.default_weather}'"
            )
        if self.default_region not in REGIONS:
            problems.append(
                f"default_region must be one of {list(REGIONS)}, got '{self.default_region}'"
            )
        return problems + range_problems(self)


def weather_from_text(text: str) -> str:
    """The one of ``taxonomy.WEATHERS`` that a free text describes.

    Examples of texts: "Raining", "wet road, night-time", "no rain".

    Raises:
        ValueError: the text describes no weather, or none of these.
    """
    words = _normalised(text)
    if words == UNKNOWN:
        return UNKNOWN
    words = _DRY.sub("dry", words)
    found = {weather for weather, pattern in _WEATHER_WORDS.items() if pattern.search(words)}
    if not found or _OTHER_WEATHER.search(words) or _AMBIGUOUS.search(words):
        raise ValueError(
            f"weather '{text}' is unknown; expected one of {list(WEATHERS)}, or plain words for it"
        )
    if {"rain", "night"} <= found:
        return "rain at night"
    return "rain" if "rain" in found else "night" if "night" in found else "clear"


def region_from_text(text: str) -> str:
    """The one of ``taxonomy.REGIONS`` that a free text names.

    Examples of texts: "Boston", "Singapore, Holland Village", "USA".

    Raises:
        ValueError: the text names none of them, or more than one.
    """
    words = _normalised(text)
    if words == UNKNOWN:
        return UNKNOWN
    found = {region for region, pattern in _REGION_WORDS.items() if pattern.search(words)}
    in_singapore = _SINGAPORE.search(words) is not None
    if not found and in_singapore:
        return "singapore-onenorth"  # the largest part stands for the city
    contradictory = in_singapore and "boston-seaport" in found
    if len(found) != 1 or _AMBIGUOUS.search(words) or contradictory:
        raise ValueError(
            f"region '{text}' is unknown; expected one of {list(REGIONS)}, or plain words for it"
        )
    return found.pop()


def _normalised(text: str) -> str:
    """Words in lower case, separated by single spaces."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


FROM_TEXT = {"weather": weather_from_text, "region": region_from_text}
"""The interpretation of a String by topic."""


class ContextCache:
    """The last weather and region, and when they arrived."""

    def __init__(self, config: ContextConfig) -> None:
        self.config = config
        self._values: dict[str, tuple[str, int | None]] = {}
        """Label, and the sensor time of its arrival, by topic; None: before the first sensor data,
        or before a jump in time.
        """

    def set(self, topic: str, text: str, now_ns: int | None) -> None:
        """Stores a text of the topic ``"weather"`` or ``"region"``.

        Args:
            topic: name of the topic.
            text: content of the message.
            now_ns: current sensor time; None before the first sensor data.

        Raises:
            ValueError: the text has no label in the taxonomy; the previous label is kept.
        """
        if len(text) > MAX_TEXT:
            raise ValueError(f"{topic} must be a few words, got a text of {len(text)} characters")
        self._values[topic] = (FROM_TEXT[topic](text), now_ns)

    def restart(self) -> None:
        """Restarts the age of the labels after a jump in time.

        The labels stay, since a latched message is not received again.
        """
        self._values = {topic: (label, None) for topic, (label, _) in self._values.items()}

    def at(self, stamp_ns: int) -> DriveContext:
        """The context of the frame with this stamp."""
        return DriveContext(
            weather=self._value("weather", stamp_ns) or self.config.default_weather,
            region=self._value("region", stamp_ns) or self.config.default_region,
        )

    def sources(self, stamp_ns: int) -> dict[str, str]:
        """Where the weather and the region of the frame with this stamp come from."""
        found = dict.fromkeys(FROM_TEXT, "default: no message on the topic")
        found |= dict.fromkeys(self._values, "topic")
        stale = f"default: the message on the topic is older than {self.config.max_age_s:g} s"
        return found | dict.fromkeys(self.stale(stamp_ns), stale)

    def stale(self, stamp_ns: int) -> list[str]:
        """The topics whose last message is too old."""
        return [topic for topic in self._values if self._value(topic, stamp_ns) is None]

    def _value(self, topic: str, stamp_ns: int) -> str | None:
        label, arrived_ns = self._values.get(topic, (None, None))
        if label is None:
            return None
        if arrived_ns is None:
            self._values[topic] = (label, stamp_ns)  # the age counts from the first frame
            return label
        return label if abs(stamp_ns - arrived_ns) <= self.config.max_age_s * NS else None
