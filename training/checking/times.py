"""Checks of nuScenes' stamps: their unit, their order, and which of them make a keyframe."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from occ_core.datasets import nuscenes_values as values
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NUSCENES_LIDAR
from occ_core.datasets.nuscenes_tables import ONE_DOWNLOAD, Record, Table
from training.checking.report import FolderReport

_USED = {NUSCENES_LIDAR, *NUSCENES_CAMERAS}
_MAX_APART_NS = 250_000_000
"""Keyframes are 0.5 s apart: what is further away belongs to another one."""
_PERIOD_NS = (1_000_000, 10_000_000_000)
"""Between these, sweeps may follow one another; nuScenes' do so by 50 ms."""


def check_times(tables: dict[str, Table], report: FolderReport) -> None:
    """Adds what is wrong with the stamps of samples and recordings.

    Args:
        tables: by name; their values and references are sound.
        report: takes the findings.
    """
    samples, recordings = tables["sample"], tables["sample_data"]
    sweep_stamps: dict[str, list[int]] = defaultdict(list)
    with_lidar: set[str] = set()
    apart: list[str] = []
    for channel, record in _used_recordings(tables):
        sample = samples[record["sample_token"]]
        stamp_ns = values.stamp_ns(recordings.path, record)
        if channel == NUSCENES_LIDAR:
            sweep_stamps[sample["scene_token"]].append(stamp_ns)
        if not values.flag(recordings.path, record, "is_key_frame"):
            continue
        if channel == NUSCENES_LIDAR:
            with_lidar.add(sample["token"])
        if abs(stamp_ns - values.stamp_ns(samples.path, sample)) > _MAX_APART_NS:
            apart.append(record["token"])
    for token, stamps in sweep_stamps.items():
        _check_period(recordings, tables["scene"][token]["name"], stamps, report)
    if apart:
        report.fault(
            "stamps",
            f"{recordings.path}: the timestamps of {len(apart)} keyframes' recordings, such as "
            f"{apart[0]!r}, are more than 0.25 s from their sample's in {samples.path.name}; "
            f"{ONE_DOWNLOAD}",
        )
    without = [sample["token"] for sample in samples.records if sample["token"] not in with_lidar]
    if without:
        report.fault(
            "sample",
            f"{samples.path}: {len(without)} of {len(samples.records)} samples, such as "
            f"{without[0]!r}, have no {NUSCENES_LIDAR} record with is_key_frame true in "
            f"{recordings.path.name}; {ONE_DOWNLOAD}",
        )
    for name in ("sample", "sample_data", "sample_annotation"):
        _check_order(tables, name, report)


def _used_recordings(tables: dict[str, Table]) -> Iterator[tuple[str, Record]]:
    """Channel and record of what the six cameras and the LiDAR recorded."""
    channels = {
        record["token"]: tables["sensor"][record["sensor_token"]]["channel"]
        for record in tables["calibrated_sensor"].records
    }
    for record in tables["sample_data"].records:
        channel = channels[record["calibrated_sensor_token"]]
        if channel in _USED:
            yield channel, record


def _check_period(table: Table, scene: str, stamps_ns: list[int], report: FolderReport) -> None:
    if len(stamps_ns) < 2:
        return
    period_ns = float(np.median(np.diff(np.sort(stamps_ns))))
    if not _PERIOD_NS[0] <= period_ns <= _PERIOD_NS[1]:
        report.fault(
            "stamps",
            f"{table.path}: the timestamps of {NUSCENES_LIDAR} in {scene} are "
            f"{period_ns / 1000:g} microseconds apart, as no LiDAR's sweeps are; write timestamps "
            "in microseconds, not in another unit",
        )


def _check_order(tables: dict[str, Table], name: str, report: FolderReport) -> None:
    """Whether what ``prev`` and ``next`` lead to is earlier and later."""
    table = tables[name]

    def stamp_ns(record: Record) -> int:
        timed = "sample" if name == "sample_annotation" else name
        stamped = tables["sample"][record["sample_token"]] if timed != name else record
        return values.stamp_ns(tables[timed].path, stamped)

    wrong = [
        record["token"]
        for record in table.records
        for field, sign in (("prev", -1), ("next", 1))
        if record.get(field) and sign * (stamp_ns(table[record[field]]) - stamp_ns(record)) <= 0
    ]
    if wrong:
        report.fault(
            "order",
            f"{table.path}: prev or next of {len(wrong)} records, such as {wrong[0]!r}, do not "
            f"follow their timestamps; {ONE_DOWNLOAD}",
        )
