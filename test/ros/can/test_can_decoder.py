"""Any frame is either decoded or counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from occ_perception_ros.can import CanDecoder, CanFrame, DbcError, SignalValue
from occ_perception_ros.can.decoder import OUTCOMES

SIGNALS = (
    "RainLight.RainIntensity",
    "RainLight.Illuminance",
    "GnssPosition.Latitude",
    "GnssStatus.FixType",
    "GnssStatus.CountryCode",
)
FrameOf = Callable[..., CanFrame]
FRAMES = st.builds(
    CanFrame,
    stamp_ns=st.integers(0, 2**63 - 1),
    can_id=st.sampled_from([769, 770, 1040, 0x18FF4230]) | st.integers(-1, 2**32),
    data=st.binary(max_size=64),
    is_extended=st.booleans(),
    is_error=st.booleans(),
    is_remote=st.booleans(),
    is_fd=st.booleans(),
)


@pytest.fixture
def decoder(dbc_path: Path) -> CanDecoder:
    return CanDecoder(dbc_path, SIGNALS)


def outcome(decoder: CanDecoder, frame: CanFrame) -> str:
    """The one counter that a frame raises."""
    before = decoder.counts.copy()
    decoder.decode(frame)
    (name,) = (decoder.counts - before).keys() & set(OUTCOMES)
    return name


def test_values_are_scaled_and_named(decoder: CanDecoder, frame_of: FrameOf) -> None:
    # 30 * 0.1 mm/h; 2,500 * 2 lx
    data = bytes([30, *(2500).to_bytes(2, "little"), 0])
    values = decoder.decode(CanFrame(0, 769, data))
    assert values["RainLight.RainIntensity"].number == pytest.approx(3.0)
    assert values["RainLight.Illuminance"] == SignalValue(5000.0)
    # 255 has a name, which makes it no measurement
    values = decoder.decode(frame_of(0, "RainLight", RainIntensity="NotAvailable", Illuminance=0))
    assert values["RainLight.RainIntensity"].name == "NotAvailable"


def test_multiplexed_signals_come_with_their_page(decoder: CanDecoder, frame_of: FrameOf) -> None:
    status = decoder.decode(frame_of(0, "GnssStatus", Page=0, FixType="Fix3D", Satellites=9))
    country = decoder.decode(frame_of(0, "GnssStatus", Page=1, CountryCode=702))
    assert status == {"GnssStatus.FixType": SignalValue(3.0, "Fix3D")}
    assert country == {"GnssStatus.CountryCode": SignalValue(702.0, "Singapore")}
    unknown_page = CanFrame(0, 1040, bytes([7, 0, 0]))
    assert outcome(decoder, unknown_page) == "undecodable"


def test_what_a_frame_counts_as(decoder: CanDecoder, frame_of: FrameOf) -> None:
    good = frame_of(0, "RainLight", RainIntensity=1, Illuminance=10)
    position = frame_of(0, "GnssPosition", Latitude=1.3, Longitude=103.8)
    expected = {
        "decoded": [good, position],
        "unused": [frame_of(0, "Wiper", WiperState="Off", WasherPump=0)],
        # the same number with 29 bits is another identifier
        "unknown_id": [replace(good, can_id=5), replace(good, is_extended=True)],
        "invalid_id": [replace(good, can_id=0x800), replace(position, can_id=2**29)],
        "wrong_length": [replace(good, data=b"\0" * 3), replace(good, data=b"\0" * 8)],
        "error_frames": [replace(good, is_error=True)],
        "remote_frames": [replace(good, is_remote=True, data=b"")],
    }
    for name, frames in expected.items():
        for frame in frames:
            assert outcome(decoder, frame) == name, frame


def test_fd_frames_may_be_padded(tmp_path: Path) -> None:
    # 10 bytes are no length of CAN FD; the next is 12
    (tmp_path / "fd.dbc").write_text(
        'VERSION ""\nBU_: A\nBO_ 100 Long: 10 A\n SG_ Value : 72|8@1+ (1,0) [0|0] "" A\n'
    )
    decoder = CanDecoder(tmp_path / "fd.dbc", ["Long.Value"])
    for length, name in [(10, "decoded"), (12, "decoded"), (16, "wrong_length")]:
        data = bytes(9) + b"\x2a" + bytes(length - 10)
        assert outcome(decoder, CanFrame(0, 100, data, is_fd=True)) == name
    assert decoder.decode(CanFrame(0, 100, data[:12], is_fd=True)) == {
        "Long.Value": SignalValue(42)
    }


def test_values_outside_the_range_are_left_out(decoder: CanDecoder) -> None:
    # 252 * 0.1 mm/h is above 25; 250 is 25 up to the rounding of the scale
    above, limit = CanFrame(0, 769, bytes([252, 0, 0, 0])), CanFrame(0, 769, bytes([250, 0, 0, 0]))
    assert set(decoder.decode(above)) == {"RainLight.Illuminance"}
    assert set(decoder.decode(limit)) == {"RainLight.RainIntensity", "RainLight.Illuminance"}
    assert decoder.counts["out_of_range"] == 1


def test_a_float_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "float.dbc").write_text(
        'VERSION ""\nBU_: A\nBO_ 100 Sun: 4 A\n SG_ Light : 0|32@1- (1,0) [0|0] "" A\n'
        "SIG_VALTYPE_ 100 Light : 1;\n"
    )
    decoder = CanDecoder(tmp_path / "float.dbc", ["Sun.Light"])
    nan, infinite = b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f"
    assert decoder.decode(CanFrame(0, 100, nan)) == decoder.decode(CanFrame(0, 100, infinite)) == {}
    assert decoder.counts["out_of_range"] == 2


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        (["RainLite.RainIntensity"], "no message 'RainLite' (similar: RainLight)"),
        (["RainLight.Rain", "Wiper.Speed"], "Wiper has no signal 'Speed'"),
    ],
)
def test_signals_that_are_missing_are_named(
    signals: list[str], reason: str, dbc_path: Path
) -> None:
    with pytest.raises(DbcError) as raised:
        CanDecoder(dbc_path, signals)
    assert reason in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"BO_ 1 A: 8", b"<xml/>", None])
def test_a_file_that_is_no_dbc_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.dbc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DbcError, match=r"a\.dbc"):
        CanDecoder(path, ["A.b"])


@given(frames=st.lists(FRAMES, max_size=20))
def test_garbage_is_counted_and_never_raises(frames: list[CanFrame]) -> None:
    decoder = CanDecoder(Path(__file__).parents[3] / "config" / "can_context.dbc", SIGNALS)
    for frame in frames:
        values = decoder.decode(frame)
        assert all(name in SIGNALS for name in values)
    assert sum(decoder.counts[name] for name in OUTCOMES) == len(frames)
