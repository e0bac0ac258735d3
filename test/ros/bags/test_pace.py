"""Actions at the times of a bag, against a clock that only waiting and working move."""

from __future__ import annotations

import threading

import pytest

from occ_perception_ros.bags.pace import clock_ticks, paced

NS = 10**9
START_NS = 1_600_000_000 * NS


class FakeTime:
    """A clock, and an event whose wait moves it."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def wait(self, seconds: float) -> bool:
        self.now_s += seconds
        return False

    def is_set(self) -> bool:
        return False


def test_actions_run_at_their_bag_time_divided_by_the_rate() -> None:
    fake, ran = FakeTime(), []
    stamps = [0, NS, NS, 4 * NS]
    actions = ((START_NS + stamp, lambda: ran.append(fake.now_s)) for stamp in stamps)
    punctuality = paced(actions, START_NS, 2.0, fake, lambda: fake.now_s)
    assert ran == [50.0, 50.5, 50.5, 52.0]
    assert (punctuality.messages, punctuality.worst_s) == (4, 0.0)


def test_delays_do_not_add_up() -> None:
    """Each action takes 0.3 s: the second is 0.2 s late, the third is on time again."""
    fake, ran = FakeTime(), []

    def act() -> None:
        ran.append(round(fake.now_s - 50, 6))
        fake.now_s += 0.3

    actions = ((START_NS + round(s * NS), act) for s in (0.0, 0.1, 1.0))
    punctuality = paced(actions, START_NS, 1.0, fake, lambda: fake.now_s)
    assert ran == [0.0, 0.3, 1.0]
    assert punctuality.worst_s == pytest.approx(0.2) and punctuality.total_s == pytest.approx(0.2)
    assert str(punctuality) == "3 messages, 66.67 ms late on average, 200.00 ms at worst"


def test_stopping_ends_the_wait_and_runs_no_further_action() -> None:
    """The wait would last a year."""
    stop, ran = threading.Event(), []

    def act() -> None:
        ran.append(len(ran))
        threading.Timer(0.05, stop.set).start()

    punctuality = paced(iter([(0, act), (365 * 86_400 * NS, act)]), 0, 1.0, stop)
    assert ran == [0] and punctuality.messages == 1


def test_clock_ticks_are_even_in_wall_time() -> None:
    # 10 Hz at double speed: 0.2 s of bag time per tick
    ticks = list(clock_ticks(START_NS, START_NS + NS // 2, 2.0, 10.0))
    assert [tick - START_NS for tick in ticks] == [0, NS // 5, 2 * NS // 5]
