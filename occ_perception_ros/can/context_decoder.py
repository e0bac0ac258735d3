"""From frames of a CAN bus to weather and region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from occ_perception_ros.can.decoder import CanDecoder, DbcError
from occ_perception_ros.can.estimator import NS, ContextEstimator
from occ_perception_ros.can.frame import CanFrame
from occ_perception_ros.can.rules import ContextRules
from occ_perception_ros.can.rules_file import RulesError, load_rules

_PERIOD_NS = NS // 10
"""Frames without wanted signals let time pass at most this often, so that a flood costs little."""


class CanContext:
    """Weather and region from the frames of a CAN bus.

    Args:
        rules: the rules of the vehicle.

    Raises:
        RulesError: the rules name no DBC file, or do not fit it; the text lists every problem.
        ModuleNotFoundError: cantools is not installed; the text says how to install it.
    """

    def __init__(self, rules: ContextRules) -> None:
        if rules.dbc is None:
            raise RulesError("the rules name no DBC file; add `dbc: FILE`")
        try:
            self._decoder = CanDecoder(rules.dbc, rules.signals)
        except DbcError as error:
            raise RulesError(f"the rules do not fit the DBC file: {error}") from error
        problems = list(_misfits(rules, self._decoder))
        if problems:
            raise RulesError(f"the rules do not fit {rules.dbc}: {'; '.join(problems)}")
        self.estimator = ContextEstimator(rules)
        self._advanced_ns = 0

    @classmethod
    def from_file(cls, rules: Path) -> CanContext:
        """The context by the rules in a YAML file, see ``load_rules``."""
        return cls(load_rules(rules))

    @property
    def weather(self) -> str:
        """One of ``taxonomy.WEATHERS``."""
        return self.estimator.weather

    @property
    def region(self) -> str:
        """One of ``taxonomy.REGIONS``."""
        return self.estimator.region

    @property
    def counts(self) -> dict[str, int]:
        """Number of frames by outcome, see ``decoder.OUTCOMES``."""
        return dict(self._decoder.counts)

    def add(self, frame: CanFrame) -> None:
        """Takes any frame; what is wrong with it is counted."""
        values = self._decoder.decode(frame)
        if values:
            self.estimator.update(frame.stamp_ns, values)
        elif abs(frame.stamp_ns - self._advanced_ns) >= _PERIOD_NS:
            self._advanced_ns = frame.stamp_ns
            self.estimator.advance(frame.stamp_ns)

    def advance(self, stamp_ns: int) -> None:
        """Lets time pass without a frame."""
        self.estimator.advance(stamp_ns)


def _misfits(rules: ContextRules, decoder: CanDecoder) -> Iterator[str]:
    """Values that their signals cannot have."""
    for name, value in rules.named_values:
        names = [str(choice) for choice in (decoder.signal(name).choices or {}).values()]
        if isinstance(value, str) and value not in names:
            yield f"{name} has no value named '{value}'; it has {', '.join(names) or 'no names'}"
    for rule in (rules.rain, rules.night):
        for evidence in rule.evidence if rule else ():
            signal = decoder.signal(evidence.signal)
            if evidence.starts_at is not None and len(signal.choices or ()) >= 2**signal.length:
                yield f"{signal.name} has names for all values; use starts_on and ends_on"
