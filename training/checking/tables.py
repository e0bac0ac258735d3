"""Checks of nuScenes' tables: every value that the reader uses, and every reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from occ_core.datasets import nuscenes_values as values
from occ_core.datasets.nuscenes import NUSCENES_CAMERAS, NUSCENES_LIDAR
from occ_core.datasets.nuscenes_tables import ONE_DOWNLOAD, Record, Table
from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.checking.report import FolderReport
from training.checking.times import check_times

_CHECKS: dict[str, tuple[Callable[[Path, Record], object], ...]] = {
    "log": (lambda table, record: values.text(table, record, "location"),),
    "scene": (values.plain_name, lambda table, record: values.text(table, record, "description")),
    "sample": (values.stamp_ns,),
    "sensor": (
        lambda table, record: values.name(table, record, "channel"),
        lambda table, record: values.text(table, record, "modality"),
    ),
    "calibrated_sensor": (values.pose,),
    "ego_pose": (values.pose,),
    "sample_data": (
        values.stamp_ns,
        lambda table, record: values.flag(table, record, "is_key_frame"),
        values.image_size,
        lambda table, record: values.file_path(Path(), table, record),
    ),
    "category": (
        lambda table, record: values.name(table, record, "name"),
        lambda table, record: values.category_index(table, record, 0),
    ),
    "instance": (),
    "sample_annotation": (
        values.pose,
        values.size_wlh,
        lambda table, record: values.whole_number(table, record, "num_lidar_pts"),
    ),
}
_REFERENCES = (
    ("sample", "prev", "sample"),
    ("sample", "next", "sample"),
    ("sample_data", "prev", "sample_data"),
    ("sample_data", "next", "sample_data"),
    ("sample_annotation", "prev", "sample_annotation"),
    ("sample_annotation", "next", "sample_annotation"),
    ("scene", "log_token", "log"),
    ("sample", "scene_token", "scene"),
    ("sample_data", "sample_token", "sample"),
    ("sample_data", "ego_pose_token", "ego_pose"),
    ("sample_data", "calibrated_sensor_token", "calibrated_sensor"),
    ("calibrated_sensor", "sensor_token", "sensor"),
    ("instance", "category_token", "category"),
    ("sample_annotation", "sample_token", "sample"),
    ("sample_annotation", "instance_token", "instance"),
)


def check_tables(folder: Path, report: FolderReport) -> bool:
    """Adds what is wrong with the tables of a version folder.

    Returns:
        Whether they can be read at all.
    """
    tables: dict[str, Table] = {}
    for name in _CHECKS:
        with report.collecting("table"):
            tables[name] = Table(folder, name)
    if len(tables) < len(_CHECKS):
        return False
    before = len(report.faults)
    for name, table in tables.items():
        for record in table.records:
            for check in _CHECKS[name]:
                with report.collecting(f"values of {name}"):
                    check(table.path, record)
        _check_tokens(table, report)
    for name, field, target in _REFERENCES:
        _check_references(tables[name], field, tables[target], report)
    sound = len(report.faults) == before
    if sound:
        _check_channels(tables, report)
    if len(report.faults) == before:
        check_times(tables, report)
    if sound:
        _check_categories(tables["category"], report)
    return len(report.faults) == before


def _check_references(table: Table, field: str, target: Table, report: FolderReport) -> None:
    """Tokens that the other table lacks; the first and the last of a chain have no neighbour."""
    chained = field in ("prev", "next")
    lost = [
        record
        for record in table.records
        if not (chained and not record.get(field))
        and not (isinstance(record[field], str) and record[field] in target)
    ]
    if lost:
        report.fault(
            "reference",
            f"{table.path}: {field} of {len(lost)} of {len(table.records)} records, such as "
            f"{lost[0]['token']!r}, is a token that {target.path} lacks, such as "
            f"{lost[0][field]!r}; {ONE_DOWNLOAD}",
        )


def _check_tokens(table: Table, report: FolderReport) -> None:
    counts = Counter(record["token"] for record in table.records)
    twice = [token for token, count in counts.items() if count > 1]
    if twice:
        report.fault(
            "token",
            f"{table.path} has {len(twice)} tokens more than once, such as {twice[0]!r}; "
            f"{ONE_DOWNLOAD}",
        )
    if not table.records and table.path.stem in ("scene", "sample", "sample_data"):
        report.fault("empty", f"{table.path} has no records; {ONE_DOWNLOAD}")


def _check_channels(tables: dict[str, Table], report: FolderReport) -> None:
    """Sensors of other names, cameras without intrinsics, recordings with one stamp."""
    sensors = tables["sensor"]
    channels = {record["channel"] for record in sensors.records}
    lacking = sorted({NUSCENES_LIDAR, *NUSCENES_CAMERAS} - channels)
    if NUSCENES_LIDAR in lacking:
        report.fault(
            "channel",
            f"{sensors.path} has no channel {NUSCENES_LIDAR}; it has {sorted(channels)}. Give the "
            "LiDAR this name",
        )
    elif lacking:
        report.contents.append(f"cameras without images, which are masked: {', '.join(lacking)}")
    calibrations = tables["calibrated_sensor"]
    for record in calibrations.records:
        if sensors[record["sensor_token"]]["modality"] == "camera":
            with report.collecting("intrinsics"):
                values.camera_intrinsics(calibrations.path, record)
    recordings = tables["sample_data"]
    seen: dict[tuple[str, str, int], str] = {}
    for record in recordings.records:
        scene = tables["sample"][record["sample_token"]]["scene_token"]
        sensor = calibrations[record["calibrated_sensor_token"]]["sensor_token"]
        key = (scene, sensor, values.stamp_ns(recordings.path, record))
        if key in seen:
            report.fault(
                "stamps",
                f"{recordings.path}: {record['token']!r} and {seen[key]!r} are of one sensor and "
                f"have one timestamp, {record['timestamp']}; each recording needs its own, in "
                "microseconds",
            )
        seen[key] = record["token"]


def _check_categories(table: Table, report: FolderReport) -> None:
    unknown = sorted({record["name"] for record in table.records} - LIDARSEG_CATEGORIES.keys())
    if unknown:
        report.fault(
            "category",
            f"{table.path} has the categories {unknown[:3]}, which nuScenes does not define; "
            f"rename them to its own, such as {', '.join(list(LIDARSEG_CATEGORIES)[2:4])}",
        )
    numbered = [record for record in table.records if "index" in record]
    if table.path.with_name("lidarseg.json").is_file() and len(numbered) < len(table.records):
        report.fault(
            "category",
            f"{table.path} has no 'index' for {len(table.records) - len(numbered)} categories, so "
            "that the classes of LiDAR points are guessed from the order; take category.json from "
            "the nuScenes-lidarseg archive",
        )
