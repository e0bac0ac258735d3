"""The drive context (weather, region) from topics that may be absent, stale or wrong. No rclpy
import.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from occ_core.taxonomy import REGIONS, WEATHERS
from occ_core.types import UNKNOWN, DriveContext

NS = 1_000_000_000
_DRY = re.compile(
    r"\b(?:no rain|without rain|not raining|no longer raining|stopped raining|rain (?:has )?stopped)\b"
)
_UNSURE = re.compile(
    r"\b(?:no|not|never|without|longer|stopped|yes|true|false|free|chance|percent)\b"
)
"""Words that turn the meaning of others around: what they say is not guessed at."""
_FOREIGN = re.compile(
    r"\b(?:snow|hail|sleet|fog|mist|haz[ey]|dust|sand|smok|ic[ey]|frost|blizzard)\w*"
)
_WEATHER_WORDS = {
    "rain": re.compile(
        r"\b(?:rain|raining|rainy|rains|rainfall|drizzl\w*|shower\w*|pouring|wet|storm\w*|thunder\w*)\b"
    ),
    "night": re.compile(r"\b(?:night|nighttime|nocturnal|midnight|dark(?! cloud| sk)|darkness)\b"),
    "clear": re.compile(
        r"\b(?:clear|sun|sunny|sunshine|dry|day|daytime|daylight|cloud\w*|overcast|fine|fair|bright)\b"
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
    """What to take where the topics say nothing."""

    default_weather: str = UNKNOWN
    """Taken while no weather is known."""
    default_region: str = UNKNOWN
    """Taken while no region is known."""
    max_age_s: float = 30.0
    """A value older than this is no longer believed; measured between sensor stamps, since a String
    has none of its own.
    """

    def __post_init__(self) -> None:
        problems = []
        if self.default_weather not in WEATHERS:
            problems.append(
                f"default_weather must be one of {list(WEATHERS)}, got '{self.default_weather}'"
            )
        if self.default_region not in REGIONS:
            problems.append(
                f"default_region must be one of {list(REGIONS)}, got '{self.default_region}'"
            )
        if self.max_age_s <= 0:
            problems.append(f"max_age_s must be positive, got {self.max_age_s}")
        if problems:
            raise ValueError("; ".join(problems))


def weather_from_text(text: str) -> str:
    """One of ``taxonomy.WEATHERS`` from what somebody wrote: "Raining", "wet road, night-time", "no
    rain".

    Raises:
        ValueError: the text tells of no weather, or of one that is not among them.
    """
    words = _plain(text)
    if words == UNKNOWN:
        return UNKNOWN
    told = _DRY.sub("dry", words)
    found = {weather for weather, stems in _WEATHER_WORDS.items() if stems.search(told)}
    if not found or _FOREIGN.search(told) or _UNSURE.search(told):
        raise ValueError(
            f"weather '{text}' is unknown; expected one of {list(WEATHERS)}, or plain words that "
            "say as much"
        )
    if {"rain", "night"} <= found:
        return "rain at night"
    return "rain" if "rain" in found else "night" if "night" in found else "clear"


def region_from_text(text: str) -> str:
    """One of ``taxonomy.REGIONS`` from what somebody wrote: "Boston", "Singapore, Holland Village",
    "USA".

    Raises:
        ValueError: the text names none of them.
    """
    words = _plain(text)
    if words == UNKNOWN:
        return UNKNOWN
    found = {region for region, names in _REGION_WORDS.items() if names.search(words)}
    if not found and _SINGAPORE.search(words):
        return "singapore-onenorth"  # the largest part stands for the city
    if (
        len(found) != 1
        or _UNSURE.search(words)
        or (_SINGAPORE.search(words) and "boston-seaport" in found)
    ):
        raise ValueError(
            f"region '{text}' is unknown; expected one of {list(REGIONS)}, or plain words that say "
            "as much"
        )
    return found.pop()


def _plain(text: str) -> str:
    """Lower case, words apart by one space."""
    return " ".join(re.sub(r"[^a-z0-9]+", " ", text.lower()).split())


FROM_TEXT = {"weather": weather_from_text, "region": region_from_text}
"""Of each topic: what a String on it is taken for."""


class ContextCache:
    """Remembers the last weather and region and when they came."""

    def __init__(self, config: ContextConfig) -> None:
        self._config = config
        self._values: dict[str, tuple[str, int | None]] = {}
        """Topic -> label and sensor time at which it came; None: before any sensor, or before a
        jump in time.
        """

    def set(self, topic: str, text: str, now_ns: int | None) -> None:
        """Stores what the topic ``"weather"`` or ``"region"`` said at sensor time ``now_ns``.

        Raises:
            ValueError: the text means none of the taxonomy's labels; the old one stays.
        """
        self._values[topic] = (FROM_TEXT[topic](text), now_ns)

    def restart(self) -> None:
        """Time jumped: the labels stay (a latched one never comes again), their age starts anew."""
        self._values = {topic: (label, None) for topic, (label, _) in self._values.items()}

    def at(self, stamp_ns: int) -> DriveContext:
        """The context for a frame of that stamp."""
        return DriveContext(
            weather=self._value("weather", stamp_ns) or self._config.default_weather,
            region=self._value("region", stamp_ns) or self._config.default_region,
        )

    def sources(self, stamp_ns: int) -> dict[str, str]:
        """Where the weather and the region of a frame of that stamp come from."""
        found = dict.fromkeys(FROM_TEXT, "default: nothing came on the topic") | dict.fromkeys(
            self._values, "topic"
        )
        late = f"default: the topic's is older than {self._config.max_age_s:g} s"
        return found | dict.fromkeys(self.stale(stamp_ns), late)

    def stale(self, stamp_ns: int) -> list[str]:
        """The topics that have come, but too long ago."""
        return [topic for topic in self._values if self._value(topic, stamp_ns) is None]

    def _value(self, topic: str, stamp_ns: int) -> str | None:
        label, came_ns = self._values.get(topic, (None, None))
        if label is not None and came_ns is None:
            self._values[topic] = (label, stamp_ns)  # its age counts from the first frame on
            return label
        if (
            label is None
            or came_ns is None
            or abs(stamp_ns - came_ns) > self._config.max_age_s * NS
        ):
            return None
        return label
