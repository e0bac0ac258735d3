"""The example's rules and DBC file, and frames that its vehicle would send."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cantools
import pytest

from occ_perception_ros.can import CanContext, CanFrame

NS = 10**9
START_S = 1_600_000_000


@pytest.fixture
def rules_path(repository: Path) -> Path:
    return repository / "config" / "can_context.yaml"


@pytest.fixture
def dbc_path(repository: Path) -> Path:
    return repository / "config" / "can_context.dbc"


@pytest.fixture
def context(rules_path: Path) -> CanContext:
    return CanContext.from_file(rules_path)


@pytest.fixture
def frame_of(dbc_path: Path) -> Callable[..., CanFrame]:
    """``frame_of(time_s, message, **signals)``."""
    database = cantools.database.load_file(dbc_path)

    def make(time_s: float, message: str, **signals: float | str) -> CanFrame:
        description = database.get_message_by_name(message)
        data = bytes(description.encode(signals))
        stamp_ns = START_S * NS + round(time_s * NS)
        return CanFrame(stamp_ns, description.frame_id, data, description.is_extended_frame)

    return make


@pytest.fixture
def drive(frame_of: Callable[..., CanFrame]) -> list[CanFrame]:
    """A minute at 2 Hz: dry until 10 s, then rain; dark from 20 s on; in Boston with a fix."""
    frames = []
    for step in range(120):
        time_s = step / 2
        rain, light = (3.0 if time_s >= 10 else 0.0), (4 if time_s >= 20 else 5000)
        frames += [
            frame_of(time_s, "RainLight", RainIntensity=rain, Illuminance=light),
            frame_of(time_s, "Wiper", WiperState="Off", WasherPump=0),
            frame_of(time_s, "GnssPosition", Latitude=42.35, Longitude=-71.05),
            frame_of(time_s, "GnssStatus", Page=0, FixType="Fix3D", Satellites=9),
            frame_of(time_s, "GnssStatus", Page=1, CountryCode="UnitedStates"),
        ]
    return frames
