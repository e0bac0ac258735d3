import json
from pathlib import Path

from training.results.ros_table import ros_table

OURS = {"sets": [3, 3], "us_per_message": 10.0}
THEIRS = {"sets": [3, 1], "us_per_message": 250.0}


def test_each_part_has_its_rows(tmp_path: Path) -> None:
    (tmp_path / "ros.json").write_text(
        json.dumps(
            {
                "benchmarks": {"markers": {"ours_ms": 2.0, "rivals_ms": {"rclpy_points": 60.0}}},
                "passes": {
                    "all": {"sweeps": 3, "ours": OURS, "message_filters": THEIRS},
                    "one": {"sweeps": 3, "ours": OURS, "message_filters": None},
                },
                "frame": {
                    "occupied": 7.0,
                    "image_kb": 205.6,
                    "cpu_ms": {"decode": 10.0, "model": 40.0},
                    "overhead": 0.25,
                    "first_ms": 55.0,
                    "total_ms": 50.0,
                },
                "conversion": {"cpu_s_of_20_s": 2.04, "memory_mb_of_20_s": 99.7},
                "memory_mb": {"bag_play": 31.6},
            }
        )
    )
    assert ros_table(tmp_path).splitlines()[2:] == [
        "| markers, ms of processor time | ours 2.00; rclpy_points 60.0, 30.0x |",  # 60 / 2
        "| sets of 3 sweeps in three passes, all | ours 3 / 3, 10.0 us a message; "
        "message_filters 3 / 1, 250.0 us a message |",
        "| sets of 3 sweeps in three passes, one | ours 3 / 3, 10.0 us a message |",
        "| a frame, ms of processor time | decode 10, model 40; 7 voxels are occupied, an image "
        "has 206 kB |",
        "| a frame, all but the model over the model | 25% |",
        "| first frame, ms of processor time | 55, later ones 50 |",
        "| nuscenes_to_bag, a scene of 20 s | 2.0 s of processor time, 100 MiB |",
        "| memory after the imports, MiB | bag_play 32 |",
    ]


def test_what_is_not_stored_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "ros.json").write_text('{"machine": "any"}')
    assert ros_table(tmp_path).splitlines() == ["| measured | result |", "| --- | --- |"]
