"""The diagnostics of the CAN node."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from occ_perception_ros.can.decoder import FAULTS, OUTCOMES

NS = 1_000_000_000
SILENCE_S = 3.0
"""A bus without a frame, or without a decoded one, for this long is a problem."""


class CanHealth:
    """Judges the counters of a decoder over time, which is that of a monotonic clock."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._last_s: dict[str, float] = {}
        """When there was last a frame, a decoded frame, and a known result."""

    def judge(
        self, counts: Mapping[str, int], problem: str, source: str, unknown: str, now_s: float
    ) -> tuple[bytes, str]:
        """Level and text.

        Args:
            counts: number of frames by outcome, see ``decoder.OUTCOMES``.
            problem: why frames cannot be read; empty: they can.
            source: where frames come from.
            unknown: what is unknown for want of signals, and of which; empty: nothing.
            now_s: monotonic time.
        """
        new = {name: counts[name] - self._before.get(name, 0) for name in OUTCOMES}
        self._before = dict(counts)
        seen = {"frame": sum(new.values()), "decoded": new["decoded"], "known": not unknown}
        for name, is_seen in seen.items():
            if is_seen or name not in self._last_s:
                self._last_s[name] = now_s
        if problem:
            return DiagnosticStatus.ERROR, problem
        silent_s = now_s - self._last_s["frame"]
        if silent_s > SILENCE_S:
            return DiagnosticStatus.STALE, f"no frame from {source} for {silent_s:.0f} s"
        if now_s - self._last_s["decoded"] > SILENCE_S:
            return DiagnosticStatus.WARN, (
                f"no frame from {source} has a signal of the rules; check the DBC file"
            )
        if faults := [f"{new[name]} {name}" for name in FAULTS if new[name]]:
            return DiagnosticStatus.WARN, f"frames that cannot be used: {', '.join(faults)}"
        if now_s - self._last_s["known"] > SILENCE_S:
            return DiagnosticStatus.WARN, unknown
        return DiagnosticStatus.OK, "decoding"


def diagnostics(
    name: str, source: str, level: bytes, text: str, facts: Mapping[str, object], stamp_ns: int
) -> DiagnosticArray:
    """A message with one status.

    Args:
        name: of the node.
        source: where frames come from, as the hardware's name.
        level: level of the status.
        text: the status in words.
        facts: key-value pairs.
        stamp_ns: time of the status.
    """
    array = DiagnosticArray()
    array.header.stamp.sec, array.header.stamp.nanosec = divmod(stamp_ns, NS)
    values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
    array.status.append(
        DiagnosticStatus(level=level, name=name, message=text, hardware_id=source, values=values)
    )
    return array
