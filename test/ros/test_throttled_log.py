"""Repeated lines of the log."""

from occ_perception_ros.throttled_log import LOG_PERIOD_S, ThrottledLog


def test_a_line_that_repeats_comes_once_a_period() -> None:
    lines: list[str] = []
    now_s = [100.0]
    log = ThrottledLog(lines.append, lambda: now_s[0])
    for tick in range(121):  # every 0.1 s for 12 s
        now_s[0] = 100.0 + tick / 10
        log("masked cam_front", f"camera 'cam_front' is masked: {tick} ms late")
    assert LOG_PERIOD_S >= 5.0
    # 0 s, 5 s, 10 s; the text of that moment
    assert [line.split()[-3] for line in lines] == ["0", "50", "100"]


def test_other_lines_are_not_held_back() -> None:
    lines: list[str] = []
    log = ThrottledLog(lines.append, lambda: 0.0)  # even in the first moment of the clock
    log("a", "first")
    log("b", "second")
    log("a", "third")
    assert lines == ["first", "second"]
