"""Stamps that are in another unit, out of order, or not those of one keyframe."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from faulty_folders import Break, Fault, assert_named, edit


def restamped(change: Callable[[int], int]) -> Break:
    """Changes the stamps of all samples and recordings."""

    def break_it(root: Path) -> None:
        for table in ("sample", "sample_data"):
            path = root / "v1.0-mini" / f"{table}.json"
            records = json.loads(path.read_text())
            for record in records:
                record["timestamp"] = change(record["timestamp"])
            path.write_text(json.dumps(records))

    return break_it


def without_recordings(root: Path) -> None:
    path = root / "v1.0-mini" / "sample_data.json"
    records = json.loads(path.read_text())
    path.write_text(json.dumps([each for each in records if "key3" not in each["token"]]))


FAULTS = {
    # The sweeps at 0, 0.2, 0.4, 0.5 and 0.6 s become whole seconds. Their differences, 2, 2, 1 and
    # 1, are read as microseconds: the median is 1.5.
    "whole seconds": Fault(
        "surroundocc",
        restamped(lambda stamp: 1_500_000_000 + stamp // 100_000),
        "sample_data.json: the timestamps of LIDAR_TOP in scene-0061 are 1.5 microseconds apart",
    ),
    # 200, 200, 100 and 100 ms.
    "milliseconds": Fault(
        "surroundocc",
        restamped(lambda stamp: 1_500_000_000_000 + stamp // 1000),
        "LIDAR_TOP in scene-0061 are 150 microseconds apart, as no LiDAR's sweeps are; write",
    ),
    # From the start of the drive, and therefore not too great for microseconds since 1970.
    "nanoseconds": Fault(
        "surroundocc",
        restamped(lambda stamp: stamp * 1000),
        r"LIDAR_TOP in scene-0061 are 1.5e\+08 microseconds apart",
    ),
    "keyframe after the next": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "key0 LIDAR_TOP", timestamp=900_000),
        "sample_data.json: the timestamps of 1 keyframes' recordings, such as 'key0 LIDAR_TOP'",
    ),
    # Six images and the sweep.
    "sample unlike its sweep": Fault(
        "surroundocc",
        lambda root: edit(root, "sample", "key3", timestamp=10**14),
        "timestamps of 7 keyframes' recordings, .* more than 0.25 s from their sample's in sample.",
    ),
    "sample without recordings": Fault(
        "surroundocc",
        without_recordings,
        "sample.json: 1 of 2 samples, such as 'key3', have no LIDAR_TOP record with is_key_frame",
    ),
    "sweep that is no keyframe": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "key3 LIDAR_TOP", is_key_frame=False),
        "sample.json: 1 of 2 samples, such as 'key3', have no LIDAR_TOP record",
    ),
    "samples out of order": Fault(
        "surroundocc",
        lambda root: edit(root, "sample", "key3", next="key0"),
        "sample.json: prev or next of 1 records, such as 'key3', do not follow their timestamps",
    ),
    "recordings out of order": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_data", "sweep1 LIDAR_TOP", prev="sweep2 LIDAR_TOP"),
        "sample_data.json: prev or next of 1 records, such as 'sweep1 LIDAR_TOP', do not follow",
    ),
    "boxes out of order": Fault(
        "surroundocc",
        lambda root: edit(root, "sample_annotation", "key0 car", prev="key3 car", next=""),
        "sample_annotation.json: prev or next of 1 records, such as 'key0 car', do not follow",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_stamps_that_cannot_be_are_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert_named(FAULTS[name], tmp_path / "data")
