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


def sweeps(h: Health, times_s: list[float], first_ns: int = 0, step_ns: int = 10**8) -> None:
    for number, now_s in enumerate(times_s):
        h.received("points", first_ns + number * step_ns, now_s)


def test_a_model_that_works_too_long_is_told_from_missing_sensors() -> None:
    h = health()
    run(h, 0, 1)
    h.began(1_500_000_000, 1.5)
    sweeps(h, [tick / 10 for tick in range(10, 80)], first_ns=10**9)
    text = "the model has worked for 1.0 s on the frame of 1.500 s"
    assert h.overall(2.5) == (WARN, text)
    text = "no output for 7.0 s: the model has worked for 6.4 s on the frame of 1.500 s"
    assert h.overall(7.9) == (ERROR, text)  # the last answer was at 0.9 s


def test_a_slow_replay_is_no_fault() -> None:
    """At a tenth of the speed, answers are 5 s apart and sweeps 0.5 s, but 0.05 s by stamps."""
    h = health()
    for tick in range(100):
        h.received("points", tick * 50_000_000, tick / 2)
        h.received("cam_front", tick * 50_000_000, tick / 2)
        if tick % 10 == 0:
            h.published({}, 100.0, tick / 2, {})
        assert h.overall(tick / 2 + 0.4) == (OK, "running")


def test_a_healthy_start_is_ok_and_a_pause_is_no_missing_output() -> None:
    h = Health("/occupancy_node", {"points": "/lidar_top"}, 2.0, 500, grace_s=2.0)
    sweeps(h, [0.0, 1.0, 2.0, 3.0, 3.9], step_ns=10**9)
    assert h.overall(3.9) == (OK, "starting")
    sweeps(h, [4.0, 4.5], first_ns=5 * 10**9)
    assert h.overall(4.5)[0] == ERROR  # 2 s for every output and 2 s more for the first
    h.published({}, 100.0, 5.0, {})
    assert h.overall(9.0)[0] == STALE
    sweeps(h, [9.1, 9.2], first_ns=6 * 10**9)  # the LiDAR is back, with it come answers soon
    assert h.overall(9.2) == (OK, "running")


def test_late_frames_in_a_row_are_an_error() -> None:
    h = Health("/node", {"points": "/lidar_top"}, 2.0, 500, max_delays=3)
    for number in range(3):
        assert number == 0 or h.overall(number / 10)[0] == WARN
        h.received("points", number * 10**8, number / 10)
        h.published({}, 600.0, number / 10, {})
    text = "the last 3 frames took more than 500 ms each, the last 600 ms"
    assert h.overall(0.2) == (ERROR, text)
    h.published({}, 400.0, 0.3, {})
    assert h.overall(0.3) == (OK, "running")


def test_lost_messages_and_dropped_frames_warn_for_a_while() -> None:
    h = health()
    run(h, 0, 1)
    h.lost("points", 2, 1.0)
    h.lost("points", 1, 1.1)
    run(h, 1, 3)
    assert h.overall(3.0) == (WARN, "messages of '/lidar_top' are lost, 3 so far")
    assert status(h, "occupancy_node: points", 3.0)[0].level == WARN
    run(h, 3, 7)
    assert h.overall(7.0) == (OK, "running")  # 5.9 s later
    h.replaced(7.0)
    assert h.overall(7.0)[0] == WARN and "newer" in h.overall(7.0)[1]
    assert (h.counted("dropped"), h.counted("replaced")) == (1, 1)


def test_a_rate_decays_once_messages_stop() -> None:
    h = health()
    run(h, 0, 2)
    rates = [status(h, "occupancy_node: points", now_s)[1]["rate_hz"] for now_s in (2.0, 3.9, 21.9)]
    # 19 intervals in 1.9 s; then in 1.9 + 1.9 s and in 1.9 + 19.9 s, of which 0.1 s were not due
    assert rates == ["10.0", "5.0", "0.9"]


def test_stamps_of_another_clock_are_named_once_all_agree() -> None:
    h = health()
    for tick in range(20):
        h.received("points", tick * 10**8, tick / 10)
        ahead_s = 5 if tick > 9 else 0
        h.received("cam_front", tick * 10**8 + ahead_s * 10**9, tick / 10)
        h.published({"cam_front": "silent"}, 100.0, tick / 10, {})
    assert h.overall(2.0)[1] == "camera 'cam_front' is masked: silent"  # half of them are right
    for tick in range(20, 30):
        h.received("points", tick * 10**8, tick / 10)
        h.received("cam_front", tick * 10**8 + 5 * 10**9, tick / 10)
    text = "stamps are 5.0 s ahead of the LiDAR's"
    assert h.overall(3.0) == (WARN, f"camera 'cam_front' is masked: {text}")
    assert status(h, "occupancy_node: cam_front", 3.0)[0].message == text


def test_a_rejected_answer_is_an_error_until_the_next() -> None:
    h = health()
    run(h, 0, 1)
    h.rejected("an answer was not published")
    assert h.overall(1.0) == (ERROR, "an answer was not published")
    run(h, 1, 2)
    assert h.overall(2.0) == (OK, "running")


def test_a_reduced_answer_warns_until_the_next_whole_one() -> None:
    h = health()
    run(h, 0, 1)
    h.published({}, 100.0, 1.0, {}, reduced="at most 900 voxels are refined")
    assert h.overall(1.0) == (WARN, "at most 900 voxels are refined")
    h.published({}, 100.0, 1.1, {})
    assert h.overall(1.1) == (OK, "running")
