"""nuScenes v1.0 tables: JSON lists of records that refer to one another by token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]

# The fields that the reader uses, of the tables that it uses.
_FIELDS: dict[str, tuple[str, ...]] = {
    "scene": ("token", "log_token", "name", "description"),
    "log": ("token", "location"),
    "sample": ("token", "timestamp", "scene_token"),
    "sample_data": (
        "token",
        "sample_token",
        "ego_pose_token",
        "calibrated_sensor_token",
        "timestamp",
        "is_key_frame",
        "height",
        "width",
        "filename",
    ),
    "calibrated_sensor": ("token", "sensor_token", "translation", "rotation", "camera_intrinsic"),
    "sensor": ("token", "channel", "modality"),
    "ego_pose": ("token", "translation", "rotation"),
    "category": ("token", "name"),
    "instance": ("token", "category_token"),
    "sample_annotation": (
        "token",
        "sample_token",
        "instance_token",
        "translation",
        "size",
        "rotation",
        "prev",
        "next",
        "num_lidar_pts",
    ),
    "lidarseg": ("token", "sample_data_token", "filename"),
}

_DOWNLOAD = (
    "nuScenes v1.0 keeps its tables in the download 'Metadata' (v1.0-trainval_meta.tgz; "
    "v1.0-mini.tgz for mini): extract it into the data root"
)


ONE_DOWNLOAD = "take all tables from one download"
"""What mends tables that do not fit one another, for the texts of errors."""


class TableLookupError(LookupError, ValueError):
    """A table lacks a record to which another table refers."""


def version_folder(root: Path, version: str | None) -> Path:
    """The folder of tables: ``root/version``, or the only ``v1.0-*`` folder of ``root``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are several, and ``version`` is None.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root} is not a folder; give the nuScenes data root, which holds samples/, sweeps/ "
            "and v1.0-*/"
        )
    found = sorted(path.name for path in root.glob("v1.0-*") if path.is_dir())
    if version is not None:
        if not (root / version).is_dir():
            raise FileNotFoundError(
                f"{root / version} is missing; {root} holds the versions {found}. {_DOWNLOAD}"
            )
        return root / version
    if not found:
        raise FileNotFoundError(f"{root} has no v1.0-* folder. {_other_root(root) or _DOWNLOAD}")
    if len(found) > 1:
        raise ValueError(f"{root} holds several versions, {found}; choose one of them")
    if not (root / found[0] / "scene.json").is_file() and (hint := _other_root(root)):
        raise FileNotFoundError(f"{root / found[0]} holds no tables. {hint}")
    return root / found[0]


def _other_root(folder: Path) -> str:
    """A hint at the data root near a folder that is not one, or at that of SemanticKITTI; empty if
    there is none.
    """
    resolved = folder.resolve()
    below = sorted(child for child in resolved.iterdir() if child.is_dir())
    near = [resolved.parent, resolved.parent.parent, *below]
    roots = [
        path
        for path in near
        if any(path.glob("v1.0-*/scene.json")) or any(path.glob("sequences/*/velodyne"))
    ]
    return f"Did you mean {roots[0]}?" if roots else ""


class Table:
    """The records of one table, in file order and by token.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not a JSON list of records with the fields that the reader uses.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.json"
        self.records = _read(self.path, _FIELDS[name])
        self._by_token = {record["token"]: record for record in self.records}

    def __contains__(self, token: str) -> bool:
        return token in self._by_token

    def __getitem__(self, token: str) -> Record:
        try:
            return self._by_token[token]
        except KeyError:
            raise TableLookupError(
                f"{self.path} has no record with token {token!r}, to which another table of the "
                f"folder refers; {ONE_DOWNLOAD}"
            ) from None


def _read(path: Path, fields: tuple[str, ...]) -> list[Record]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing. {_DOWNLOAD}")
    try:
        records = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}); extract it again") from error
    if not isinstance(records, list):
        raise ValueError(f"{path} must hold a list of records, got a {type(records).__name__}")
    needed = set(fields)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            raise ValueError(f"{path}: record {index} is a {type(record).__name__}, not an object")
        if unfit := [name for name in needed & record.keys() if _is_unfit(name, record[name])]:
            raise ValueError(
                f"{path}: {unfit[0]} of record {index} must be text, got {record[unfit[0]]!r}"
            )
        if not needed <= record.keys():
            missing = sorted(needed - record.keys())
            raise ValueError(
                f"{path}: record {index} lacks the fields {missing} of nuScenes v1.0; it has "
                f"{sorted(record)}"
            )
    return records


def _is_unfit(name: str, value: Any) -> bool:
    """Whether a field that refers to a record does not have text; neighbours may be null."""
    if name in ("prev", "next"):
        return not isinstance(value, str | None)
    return (name == "token" or name.endswith("_token")) and not isinstance(value, str)
