"""What a soak calls a failure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from training.soak_parts.checks import Observed, alarms, failures, is_settled, memory_growth

# Of 20 sweeps that were due, 12 were released in sets: 11 frames and one without a pose. 8 frames
# were answered, 2 replaced, 1 failed.
VALUES = {
    "due": "20",
    "sets": "12",
    "idle": "5",
    "starting": "1",
    "below_min_cameras": "0",
    "stood_back": "0",
    "overtaken": "2",
    "no_pose": "1",
    "forgotten": "0",
    "frames_in": "11",
    "frames_out": "8",
    "dropped": "3",
    "replaced": "2",
    "failed": "1",
    "malformed": "0",
    "weight_camera": "0.5",
}
GOOD = Observed(
    values=VALUES,
    raised=frozenset({"resets"}),
    sweeps=frozenset(range(40)),
    answers=dict.fromkeys(range(8), 1),
    memory_mib=[90.0] * 5 + [100.0] * 15 + [104.0] * 5,
    faults={"forward": 3, "dropout": 2},
    log="[WARN] camera 'cam_front' is late\n[INFO] memory reset\n",
    exit_code=0,
    stop_s=0.5,
)


def test_a_good_soak_has_no_failure() -> None:
    assert failures(GOOD) == [] and is_settled(VALUES)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("due", "due is 21, but sets + idle + "),
        ("sets", "sets is 13, but frames_in + inactive + no_pose + forgotten are 12"),
        ("dropped", "dropped is 4, but replaced + failed + withdrawn are 3"),
        ("frames_out", "frames_in is 11, but frames_out + dropped are 12"),
        ("malformed", "1 messages raised an error in the node"),
    ],
)
def test_accounts_that_do_not_close_are_told(name: str, reason: str) -> None:
    values = {**VALUES, name: str(int(VALUES[name]) + 1)}
    assert any(reason in text for text in failures(replace(GOOD, values=values)))
    assert is_settled(values) is (name == "malformed")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answers": {}}, "there was no answer"),
        (
            {"answers": {**dict.fromkeys(range(7), 1), 99: 1}},
            "1 answers have a stamp that no sweep",
        ),
        (
            {"answers": {**dict.fromkeys(range(6), 1), 6: 2}},
            "1 sweeps were answered more than once",
        ),
        ({"memory_mib": [100.0] * 15 + [106.0] * 5}, "memory grew by 6.0%, from 100 to 106 MiB"),
        ({"raised": frozenset()}, "3 faults 'forward' left no trace"),
        ({"faults": {"dropout": 3}}, "3 faults 'dropout' left no trace"),
        ({"log": "Traceback (most recent call last):\n"}, "the log has 1 lines of errors"),
        ({"exit_code": -11}, "exit code -11"),
        ({"exit_code": None}, "exit code None"),
        ({"stop_s": 3.5}, "took 3.5 s to end"),
    ],
)
def test_what_must_not_be_is_told(change: dict[str, object], reason: str) -> None:
    assert any(reason in text for text in failures(replace(GOOD, **change)))


def test_the_warm_up_does_not_count_as_growth() -> None:
    # A quarter of 20 samples is the warm-up. Of the 15 others, a fifth, which are 3, is averaged.
    assert memory_growth([50.0] * 5 + [100.0] * 12 + [101.0] * 3) == (100.0, 101.0, 101 / 100 - 1)
    assert memory_growth([]) == (0.0, 0.0, 0.0)


def test_alarms_are_lines_of_errors() -> None:
    lines = ["[ERROR] [1.0] [node]: x", "[FATAL] y", "Traceback (most recent call last):"]
    assert alarms("\n".join(["[INFO] no ERROR here", *lines, "[WARN] fatal?"])) == lines
