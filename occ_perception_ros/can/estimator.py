"""Weather and region over time: stale signals, hysteresis and debouncing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

from occ_perception_ros.can.frame import SignalValue
from occ_perception_ros.can.rules import ContextRules, Evidence, FactRule, RegionRule

NS = 1_000_000_000
UNKNOWN = "unknown"
"""The label of ``occ_core.types``, which would import torch."""
STALE = "stale"
"""Shown for a signal without a usable value that is young enough."""
_REGRESSION_NS = NS
"""A stamp that is older than the newest by more than this starts a new drive."""

DecisionT = TypeVar("DecisionT", bool, str)


def weather_label(rain: bool | None, night: bool | None) -> str:
    """The one of ``taxonomy.WEATHERS`` for two facts; None: not known.

    What is known to hold is named alone; "clear" takes both to be known.
    """
    if rain and night:
        return "rain at night"
    if rain or night:
        return "rain" if rain else "night"
    return UNKNOWN if rain is None or night is None else "clear"


class Debounced(Generic[DecisionT]):
    """A decision that changes only after a new one has lasted."""

    def __init__(self) -> None:
        self.value: DecisionT | None = None
        """The decision; None: unknown."""
        self._since_ns: int | None = None
        self._pending: DecisionT | None = None

    def step(self, decided: DecisionT | None, now_ns: int, wait_s: float, keep: bool) -> None:
        """Takes what is decided now.

        Args:
            decided: the new decision; None: there is none.
            now_ns: never smaller than in the call before.
            wait_s: how long this decision must last. The first one counts at once.
            keep: whether the old decision remains where there is none.
        """
        if decided is None:
            self._since_ns = None
            self.value = self.value if keep else None
        elif self.value is None or decided == self.value:
            self._since_ns = None
            self.value = decided
        else:
            if self._since_ns is None or decided != self._pending:
                self._since_ns, self._pending = now_ns, decided
            if now_ns - self._since_ns >= wait_s * NS:
                self._since_ns = None
                self.value = decided


class _Memory:
    """The last usable value of one signal and what it was judged to say."""

    def __init__(self, stale_after_s: float) -> None:
        self._stale_ns = round(stale_after_s * NS)
        self._at_ns: int | None = None
        self._value: SignalValue | None = None
        self._judgement: bool | None = None

    def set(self, value: SignalValue, judgement: bool | None, now_ns: int) -> None:
        self._value, self._judgement, self._at_ns = value, judgement, now_ns

    def is_fresh(self, now_ns: int) -> bool:
        return self._at_ns is not None and now_ns - self._at_ns <= self._stale_ns

    def value(self, now_ns: int) -> SignalValue | None:
        return self._value if self.is_fresh(now_ns) else None

    def judgement(self, now_ns: int) -> bool | None:
        return self._judgement if self.is_fresh(now_ns) else None


class _Fact:
    """Rain or night."""

    def __init__(self, rule: FactRule) -> None:
        self._rule = rule
        self.decision = Debounced[bool]()
        self.memories = [(each, _Memory(rule.stale_after_s)) for each in rule.evidence]

    def take(self, values: Mapping[str, SignalValue], now_ns: int) -> None:
        for evidence, memory in self.memories:
            if evidence.signal in values:
                self._judge(evidence, memory, values[evidence.signal], now_ns)

    def advance(self, now_ns: int) -> None:
        rule = self._rule
        decided = rule.decide_from([memory.judgement(now_ns) for _, memory in self.memories])
        wait_s = rule.debounce_start_s if decided else rule.debounce_end_s
        self.decision.step(decided, now_ns, wait_s, rule.when_stale == "keep")

    @staticmethod
    def _judge(evidence: Evidence, memory: _Memory, value: SignalValue, now_ns: int) -> None:
        judgement = evidence.judge(value, memory.judgement(now_ns))
        if judgement is not None:  # otherwise the old value ages
            memory.set(value, judgement, now_ns)


class _Region:
    """The region."""

    def __init__(self, rule: RegionRule) -> None:
        self._rule = rule
        self.decision = Debounced[str]()
        fix = [rule.fix.signal] if rule.fix else []
        country = [rule.country] if rule.country else []
        self.memories = {
            name: _Memory(rule.stale_after_s) for name in (*(rule.position or ()), *fix, *country)
        }

    def take(self, values: Mapping[str, SignalValue], now_ns: int) -> None:
        position = self._rule.position or ()
        for name in self.memories.keys() & values.keys():
            if name not in position or not values[name].name:  # a name such as "not available"
                self.memories[name].set(values[name], None, now_ns)

    def advance(self, now_ns: int) -> None:
        keep = self._rule.when_stale == "keep"
        self.decision.step(self._decide(now_ns), now_ns, self._rule.debounce_s, keep)

    def _decide(self, now_ns: int) -> str | None:
        position = self._position(now_ns)
        if position and (region := self._rule.area_region(*position)):
            return region
        country = self._value(self._rule.country, now_ns)
        if country and (region := self._rule.country_region(country)):
            return region
        return UNKNOWN if position or country else None

    def _position(self, now_ns: int) -> tuple[float, float] | None:
        rule = self._rule
        if rule.fix is not None:
            fix = self._value(rule.fix.signal, now_ns)
            if fix is None or not fix.is_one_of(rule.fix.values):
                return None
        first, second = (self._value(name, now_ns) for name in rule.position or (None, None))
        return (first.number, second.number) if first and second else None

    def _value(self, name: str | None, now_ns: int) -> SignalValue | None:
        return self.memories[name].value(now_ns) if name else None


class ContextEstimator:
    """Makes weather and region of decoded signals.

    The first decision counts at once; a later one must last for its debounce time. Time is that of
    the stamps: one that jumps back by more than a second starts a new drive.

    Args:
        rules: the rules of the vehicle.
    """

    def __init__(self, rules: ContextRules) -> None:
        self._rules = rules
        self._now_ns: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forgets everything."""
        rules = self._rules
        self._rain = _Fact(rules.rain) if rules.rain else None
        self._night = _Fact(rules.night) if rules.night else None
        self._region = _Region(rules.region) if rules.region else None
        self._now_ns = None

    def update(self, stamp_ns: int, values: Mapping[str, SignalValue]) -> None:
        """Takes the values of signals, by ``Message.Signal``."""
        now_ns = self._clock(stamp_ns)
        for part in self._parts():
            part.take(values, now_ns)
            part.advance(now_ns)

    def advance(self, stamp_ns: int) -> None:
        """Lets time pass, so that signals become stale and debounce times end."""
        now_ns = self._clock(stamp_ns)
        for part in self._parts():
            part.advance(now_ns)

    @property
    def rain(self) -> bool | None:
        """Whether it rains; None: unknown."""
        return self._rain.decision.value if self._rain else None

    @property
    def night(self) -> bool | None:
        """Whether it is night; None: unknown."""
        return self._night.decision.value if self._night else None

    @property
    def weather(self) -> str:
        """One of ``taxonomy.WEATHERS``."""
        return weather_label(self.rain, self.night)

    @property
    def region(self) -> str:
        """One of ``taxonomy.REGIONS``."""
        return (self._region.decision.value if self._region else None) or UNKNOWN

    def values(self) -> dict[str, str]:
        """The last usable value of every signal in words; ``STALE`` where it is too old."""
        found = dict.fromkeys(self._rules.signals, STALE)
        now_ns = self._now_ns
        if now_ns is None:
            return found
        for fact in (self._rain, self._night):
            for evidence, memory in fact.memories if fact else ():
                if value := memory.value(now_ns):
                    found[evidence.signal] = str(value)
        for name, memory in self._region.memories.items() if self._region else ():
            if value := memory.value(now_ns):
                found[name] = str(value)
        return found

    def unknown(self) -> str:
        """What the rules should decide and cannot, and the signals that are missing for it; empty:
        nothing.
        """
        values = self.values()
        missing = [
            f"{name} is unknown without {' or '.join(stale)}"
            for name, part, signals in self._named_parts()
            if part.decision.value is None
            and (stale := [signal for signal in signals if values[signal] == STALE])
        ]
        return "; ".join(missing)

    def _named_parts(self) -> Iterator[tuple[str, _Fact | _Region, list[str]]]:
        for name, fact in (("rain", self._rain), ("night", self._night)):
            if fact is not None:
                yield name, fact, [evidence.signal for evidence, _ in fact.memories]
        if self._region is not None:
            yield "region", self._region, list(self._region.memories)

    def _parts(self) -> list[_Fact | _Region]:
        return [part for part in (self._rain, self._night, self._region) if part is not None]

    def _clock(self, stamp_ns: int) -> int:
        if self._now_ns is not None and stamp_ns < self._now_ns - _REGRESSION_NS:
            self.restart()
        self._now_ns = stamp_ns if self._now_ns is None else max(self._now_ns, stamp_ns)
        return self._now_ns
