"""Scores made labels: ``python -m training.score_labels O --truth D --layout surroundocc``.

Only observed space counts: voxels that a LiDAR ray of the drive crossed or ended in, as
``training.make_labels`` stores them. On SemanticKITTI those count that both labels call valid.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from tqdm import tqdm

from occ_core.datasets.occ3d import occ3d_path, read_occ3d
from occ_core.datasets.semantic_kitti_voxels import read_kitti_voxels
from occ_core.datasets.surroundocc import find_label, mask_path, read_labels, read_masks
from occ_core.files import check_target, write_atomically
from occ_core.labels.benchmarks import BENCHMARKS
from occ_core.taxonomy import IGNORE
from training.labels.score import LabelScore, as_table

Pair = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Made labels, true ones, and the voxels that count."""


@dataclass(frozen=True)
class ScoreConfig:
    """Which labels are compared with which."""

    made: Annotated[Path, tyro.conf.Positional]
    """Folder of the made labels: ``--out`` of ``training.make_labels``."""
    truth: Path
    """Data root with the true labels in the same layout."""
    layout: Literal["surroundocc", "occ3d", "semantic_kitti"] = "surroundocc"
    """Layout of both."""
    json: Path | None = None
    """File for the numbers; those of other layouts in it are kept."""


def score_labels(config: ScoreConfig) -> dict[str, Any]:
    """Scores all made labels; see ``LabelScore.compute``.

    Raises:
        FileNotFoundError: there are no made labels, or one has no true counterpart.
        ValueError: a file is malformed.
    """
    readers = {"surroundocc": _surroundocc, "occ3d": _occ3d, "semantic_kitti": _semantic_kitti}
    score = LabelScore(BENCHMARKS[config.layout].labels)
    pairs = readers[config.layout](config.made, config.truth)
    for pair in tqdm(pairs, unit="keyframe", desc="score", leave=False):
        score.update(*pair)
    if not score.keyframes:
        raise FileNotFoundError(
            f"{config.made} holds no labels in {config.layout}'s layout; make them with "
            "`python -m training.make_labels`"
        )
    if not score.counts[score.labels.occupied].any():
        raise ValueError(
            f"nothing to score: in {score.keyframes} keyframes of {config.made} no occupied voxel "
            f"of {config.truth} counts; it is empty, ignored, or outside what the drive observed: "
            "take the truth of the same drives"
        )
    costs = {"cpu_s_per_keyframe": _cpu_s_per_keyframe(config.made, config.layout)}
    command = f"python -m training.score_labels {config.made} --truth {config.truth}"
    return {"command": f"{command} --layout {config.layout}", **costs, **score.compute()}


def _cpu_s_per_keyframe(made: Path, layout: str) -> float | None:
    """What making the labels took of one core; None where no complete drive says so."""
    counts = [json.loads(path.read_text()) for path in (made / ".parts" / layout).glob("*.json")]
    keyframes = sum(each["keyframes"] for each in counts)
    known = keyframes and all("cpu_s" in each for each in counts)
    return sum(each["cpu_s"] for each in counts) / keyframes if known else None


def _surroundocc(made: Path, truth: Path) -> Iterator[Pair]:
    grid = BENCHMARKS["surroundocc"].grid
    for path in sorted((made / "nuscenes_occ" / "samples").glob("*.npy")):
        name = path.name.removesuffix(".npy")
        observed, _ = read_masks(mask_path(made, name), grid)
        yield read_labels(path, grid), read_labels(find_label(truth, name), grid), observed


def _occ3d(made: Path, truth: Path) -> Iterator[Pair]:
    grid = BENCHMARKS["occ3d"].grid
    for path in sorted((made / "gts").glob("*/*/labels.npz")):
        scene, token = path.parts[-3:-1]
        labels, masks = read_occ3d(path, grid)
        yield labels, read_occ3d(occ3d_path(truth, scene, token), grid)[0], masks["mask_lidar"]


def _semantic_kitti(made: Path, truth: Path) -> Iterator[Pair]:
    for path in sorted(made.glob("sequences/*/voxels/*.label")):
        true = read_kitti_voxels(truth / path.relative_to(made)).labels
        labels = read_kitti_voxels(path).labels
        yield labels, true, (true != IGNORE) & (labels != IGNORE)


def _stored(path: Path) -> dict[str, Any]:
    """The scores by layout that a file holds already.

    Raises:
        ValueError: the file holds something else.
    """
    check_target(path, "file")
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes())["layouts"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} holds no scores of training.score_labels, to which those of a layout could be "
            "added; give another file by --json"
        ) from error


def _store(path: Path, layouts: dict[str, Any]) -> None:
    content = {"command": "python -m training.score_labels", "layouts": layouts}
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Runs the command line."""
    config = tyro.cli(ScoreConfig, prog="training.score_labels", description=__doc__)
    try:
        layouts = {} if config.json is None else _stored(config.json)
        scores = score_labels(config)
        if config.json is not None:
            _store(config.json, {**layouts, config.layout: scores})
    except (OSError, ValueError) as error:
        sys.exit(f"training.score_labels: {error}")
    print(as_table(scores))


if __name__ == "__main__":
    main()
