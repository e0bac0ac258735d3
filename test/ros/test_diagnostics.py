"""Levels and texts of the diagnostics in each state; times are seconds of a monotonic clock."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus

from occ_perception_ros.diagnostics import ERROR, OK, STALE, WARN, Health


def health() -> Health:
    topics = {"cam_front": "/cam_front/image", "points": "/lidar_top"}
    return Health("occupancy_node", topics, silence_s=2.0, max_processing_ms=500)


def run(
    h: Health,
    start_s: float,
    end_s: float,
    masked: dict[str, str] | None = None,
    processing_ms: float = 100.0,
) -> None:
    """Sweeps and images at 10 Hz, each published at once."""
    for tick in range(round(start_s * 10), round(end_s * 10)):
        h.received("points", tick * 10**8, tick / 10)
        if not masked:
            h.received("cam_front", tick * 10**8, tick / 10)
        h.published(masked or {}, processing_ms, tick / 10, {"context_weather": "rain"})


def status(h: Health, name: str, now_s: float) -> tuple[DiagnosticStatus, dict[str, str]]:
    found = next(s for s in h.message(0, now_s).status if s.name == name)
    return found, {value.key: value.value for value in found.values}


def test_a_running_node_is_ok_and_has_its_counters() -> None:
    h = health()
    run(h, 0, 3)
    h.count("frames_in", 30)
    h.count("frames_out", 29)
    h.count("dropped")
    overall, values = status(h, "occupancy_node", 3.0)
    assert (overall.level, overall.message) == (OK, "running")
    assert (values["frames_in"], values["frames_out"], values["dropped"]) == ("30", "29", "1")
    assert values["context_weather"] == "rain"
    camera, values = status(h, "occupancy_node: cam_front", 3.0)
    assert camera.level == OK and values["is_fused"] == "True" and values["rate_hz"] == "10.0"
    assert values["age_ms"] == "100" and values["last_stamp"] == "2.900000000"
    assert values["topic"] == "/cam_front/image"


def test_without_any_point_cloud_it_becomes_stale() -> None:
    h = health()
    assert h.overall(10.0)[0] == OK
    assert h.overall(13.0) == (STALE, "no point cloud on '/lidar_top' for 3.0 s")


def test_a_masked_camera_warns_with_its_reason() -> None:
    h = health()
    run(h, 0, 1)
    run(h, 1, 4, masked={"cam_front": "silent"})
    assert h.overall(4.0) == (WARN, "camera 'cam_front' is masked: silent")
    # Its last image is 3 s old.
    assert status(h, "occupancy_node: cam_front", 4.0)[0].level == STALE


def test_a_lidar_that_stops_is_stale() -> None:
    h = health()
    run(h, 0, 3)
    assert h.overall(6.0) == (STALE, "no point cloud on '/lidar_top' for 3.1 s")


def test_sweeps_without_output_are_an_error_with_its_reason() -> None:
    h = health()
    run(h, 0, 1)
    for tick in range(10, 40):
        h.received("points", tick * 10**8, tick / 10)
    h.failed("too few cameras")
    assert h.overall(4.0) == (ERROR, "no output for 3.1 s: too few cameras")
    run(h, 4, 5)
    assert h.overall(5.0)[0] == OK


def test_slow_frames_stale_context_and_a_missing_clock() -> None:
    h = health()
    run(h, 0, 1, processing_ms=800.0)
    assert h.overall(1.0) == (WARN, "a frame took 800 ms, more than 500 ms")
    run(h, 1, 2)
    h.update(stale_context=["weather", "region"])
    assert h.overall(2.0) == (WARN, "context is stale, using defaults: weather, region")
    h.update(clock_problem="/clock has no message")
    assert h.overall(2.0) == (ERROR, "/clock has no message")


def test_an_incompatible_publisher_is_named() -> None:
    h = health()
    h.set_problem("cam_front", "incompatible")
    found, _ = status(h, "occupancy_node: cam_front", 0.0)
    assert (found.level, found.message) == (ERROR, "incompatible")
    h.received("cam_front", 10**9, 1.0)  # from another publisher, which is compatible
    found, _ = status(h, "occupancy_node: cam_front", 1.0)
    assert found.level == OK
