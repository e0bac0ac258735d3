"""How real generated worlds look: ``python -m training.realism --generated DATA... --real REAL``.

Simple statistics of LiDAR sweeps and pictures, of generated drives beside real frames, in clear
weather by day. Nothing is learned from the real frames, and none is stored.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from occ_core.files import write_atomically
from training.realism_parts.comparison import compare
from training.realism_parts.lidar_statistics import Samples
from training.realism_parts.recordings import nuscenes_drives, semantic_kitti_drives
from training.results.realism_table import as_markdown

_ROOT = Path(__file__).parents[1]


def _real_data() -> Path:
    return Path(os.environ.get("OCC_REAL_DATA", _ROOT.parent / "shared" / "real"))


@dataclass(frozen=True)
class RealismConfig:
    """What is compared with what."""

    generated: tuple[Path, ...]
    """Folders of generated drives; each is a column, named after the folder."""
    real: Path = field(default_factory=_real_data)
    """Folder of real data sets: folders in nuScenes layout, and ``semantickitti``; by default
    ``OCC_REAL_DATA``.
    """
    json: Path | None = None
    """File for the numbers."""


def measure_realism(config: RealismConfig) -> dict[str, object]:
    """Means and distances of all quantities; see ``compare``.

    Raises:
        FileNotFoundError: a folder is missing, or holds no data set.
        ValueError: two folders have the same name, or a file is malformed.
    """
    names = [folder.resolve().name for folder in config.generated]
    if len(set(names)) < len(names):
        raise ValueError(f"generated folders share a name, which titles their columns: {names}")
    worlds = {
        name: nuscenes_drives(folder) for name, folder in zip(names, config.generated, strict=True)
    }
    command = f"python -m training.realism --generated {' '.join(map(str, config.generated))}"
    return {"command": command, **compare(_real_drives(config.real), worlds)}


def _real_drives(root: Path) -> dict[str, list[Samples]]:
    drives: dict[str, list[Samples]] = {}
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        if any(folder.glob("v1.0-*")):
            drives[folder.name] = nuscenes_drives(folder, only_clear=False)
        elif (folder / "sequences").is_dir():
            drives[folder.name] = semantic_kitti_drives(folder)
    if not drives:
        raise FileNotFoundError(
            f"{root} holds no folder in nuScenes or SemanticKITTI layout; name one with --real or "
            "OCC_REAL_DATA"
        )
    return drives


def main() -> None:
    """Runs the command line."""
    config = tyro.cli(RealismConfig, prog="training.realism", description=__doc__)
    try:
        result = measure_realism(config)
        if config.json is not None:
            write_atomically(config.json, json.dumps(result, indent=2) + "\n")
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"training.realism: {error}")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
