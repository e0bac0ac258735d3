"""What ``bag_check`` found."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from occ_perception_ros.bags.rules import RULES, Severity


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a bag."""

    code: str
    """A key of ``RULES``."""
    severity: Severity
    topic: str
    """Empty if the finding concerns the whole bag."""
    message: str
    cure: str


class Findings:
    """Collects findings; those of the same code and topic become one, with their number."""

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], list[str]] = defaultdict(list)

    def add(self, code: str, topic: str, text: str) -> None:
        """Adds a finding; ``topic`` is empty if it concerns the whole bag."""
        self._texts[code, topic].append(text)

    def result(self) -> list[Finding]:
        """All findings, the most severe first."""
        order = {"error": 0, "warning": 1, "info": 2}
        found = [
            Finding(code, RULES[code].severity, topic, _joined(texts), RULES[code].cure)
            for (code, topic), texts in self._texts.items()
        ]
        return sorted(
            found, key=lambda finding: (order[finding.severity], finding.code, finding.topic)
        )


def _joined(texts: list[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{texts[0]} (and {len(texts) - 1} more)"
