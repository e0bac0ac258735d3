"""Splits of nuScenes: the scenes of train, val and test."""

from __future__ import annotations

import json
from pathlib import Path

from occ_core.datasets.nuscenes_tables import Table, version_folder

# Numbers of nuScenes' official scenes; the ranges include numbers that no scene has.
_OFFICIAL = {
    "train": "1-2 4-11 19-34 41-76 120-139 149-220 222-264 283-306 315-328 347-480 499-518 "
    "525-546 566-600 639-769 786-792 803-822 847-903 945-961 975-1025 1044-1058 1074-1110",
    "val": "3 12-18 35-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-638 770-784 "
    "794-802 904-931 962-972 1059-1073",
    "test": "77-91 111-119 140-148 265-266 279-282 307-314 333-343 481-498 547-551 601-624 "
    "827-846 932-943 1026-1043",
    "mini_train": "61 553 655 757 796 1077 1094 1100",
    "mini_val": "103 916",
}


def split_scenes(root: Path | str, version: str | None, split: str) -> list[str]:
    """Names of the scenes of a split that the version folder holds, in the table's order.

    A ``splits.json`` in the version folder (``{"train": [scene names], ...}``, as nuScenes-devkit
    reads it) takes precedence over nuScenes' official splits: train, val, test, mini_train,
    mini_val.

    Args:
        root: nuScenes data root.
        version: folder of tables; None takes the only ``v1.0-*`` folder.
        split: name of the split.

    Raises:
        FileNotFoundError: the version folder, or its table of scenes, is missing.
        ValueError: the split is unknown, the folder holds none of its scenes, or ``splits.json`` is
            malformed.
    """
    folder = version_folder(Path(root), version)
    present = [scene["name"] for scene in Table(folder, "scene").records]
    custom = folder / "splits.json"
    if custom.is_file():
        splits = _read_splits(custom)
        source = str(custom)
    else:
        splits = {name: _scene_names(ranges) for name, ranges in _OFFICIAL.items()}
        source = "nuScenes"
    if split not in splits:
        raise ValueError(f"{source}: no split {split!r}; it has {sorted(splits)}")
    chosen = [name for name in present if name in splits[split]]
    if not chosen:
        raise ValueError(
            f"{source}: no scene of split {split!r} is among the {len(present)} of {folder}, such "
            f"as {present[:3]}"
        )
    return chosen


def _read_splits(path: Path) -> dict[str, set[str]]:
    try:
        splits = json.loads(path.read_bytes())
        if isinstance(splits, dict) and all(map(_are_names, splits.values())):
            return {name: set(scenes) for name, scenes in splits.items()}
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not valid JSON ({error}); correct it or take it away"
        ) from None
    raise ValueError(
        f'{path} must hold {{"name of a split": [names of its scenes], ...}}, as nuScenes-devkit '
        "reads it; correct it or take it away"
    )


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _scene_names(ranges: str) -> set[str]:
    names = set()
    for part in ranges.split():
        first, _, last = part.partition("-")
        names |= {f"scene-{number:04d}" for number in range(int(first), int(last or first) + 1)}
    return names
