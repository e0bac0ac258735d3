"""Says what a folder of data is and what is wrong with it: ``python -m training.check_data D``.

It knows nuScenes' layout with the labels of SurroundOcc, Occ3D and OpenOccupancy, SemanticKITTI's
scene completion, and KITTI-360 of SSCBench. Ends with 1 if there is a fault.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from occ_core.datasets.keyframe_labels import KeyframeBenchmark
from training.checking.folders import explain_unknown, kind_of
from training.checking.kitti import check_kitti_360, check_semantic_kitti
from training.checking.nuscenes import check_nuscenes
from training.checking.report import FolderReport


@dataclass(frozen=True)
class CheckConfig:
    """Which folder is checked, and how closely."""

    data: Annotated[Path, tyro.conf.Positional]
    """Folder of a data set."""
    benchmark: KeyframeBenchmark | None = None
    """Labels of nuScenes keyframes that must be there; None checks those that are."""
    split: str | None = None
    """Split of nuScenes that must be there, such as val or mini_val, and alone is checked."""
    version: str | None = None
    """Folder of nuScenes' tables; None takes the only v1.0-* folder."""
    open: int = 50
    """How many labelled instants have their files opened, with the LiDAR sweeps before them, evenly
    spread; 0 opens all, and all sweeps and scans. That all files exist is always checked.
    """

    def __post_init__(self) -> None:
        if self.open < 0:
            raise ValueError(f"CheckConfig.open must be 0 or more, got {self.open}")


def check_data(config: CheckConfig) -> FolderReport:
    """The findings about a folder.

    Raises:
        ValueError: an option does not belong to this kind of folder.
    """
    report = FolderReport(config.data)
    kind = kind_of(config.data)
    if kind in ("semantic_kitti", "kitti360"):
        _refuse_nuscenes_options(config)
    match kind:
        case "nuscenes":
            check_nuscenes(
                config.data, report, config.version, config.split, config.benchmark, config.open
            )
        case "semantic_kitti":
            check_semantic_kitti(config.data, report, config.open)
        case "kitti360":
            check_kitti_360(config.data, report, config.open)
        case None:
            explain_unknown(config.data, report)
    return report


def _refuse_nuscenes_options(config: CheckConfig) -> None:
    given = [
        name for name in ("benchmark", "split", "version") if getattr(config, name) is not None
    ]
    if given:
        raise ValueError(
            f"{config.data} is a folder of KITTI, but --{' and --'.join(given)} belong to "
            "nuScenes; leave them out"
        )


def main() -> None:
    """Command line."""
    try:
        report = check_data(tyro.cli(CheckConfig, prog="training.check_data"))
    except (OSError, ValueError) as error:
        sys.exit(f"training.check_data: {error}")
    print(report.text())
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
