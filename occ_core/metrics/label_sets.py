"""The class ids by which the public benchmarks score, once each has read its own files: what
``OccupancyScore`` counts by.

The files may hold others: SurroundOcc's have 0 for noise and leave out what is empty
(``datasets.surroundocc`` reads them), SemanticKITTI's hold the raw ids of its annotation.
"""

from __future__ import annotations

from dataclasses import dataclass

from occ_core.taxonomy import CLASS_NAMES


@dataclass(frozen=True)
class LabelSet:
    """Classes by id. 255 is ignored in every one of them."""

    names: tuple[str, ...]
    empty: int = 0
    """The class that is not occupied: it has no share in mIoU, but what is missed or made up there
    counts against the others.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.empty < len(self.names) or not 2 <= len(self.names) <= 255:
            raise ValueError(
                f"a LabelSet has 2 to 255 classes, the empty one among them; got {len(self.names)} "
                f"with empty = {self.empty}"
            )

    @property
    def occupied(self) -> list[int]:
        """The ids of all others."""
        return [label for label in range(len(self.names)) if label != self.empty]


SURROUNDOCC = LabelSet(CLASS_NAMES)
"""SurroundOcc and OpenOccupancy (nuScenes-Occupancy), and this library's own order."""

OCC3D = LabelSet(("others", *CLASS_NAMES[1:], "free"), empty=len(CLASS_NAMES))
"""Occ3D-nuScenes: "others" counts as a class. Its scores are of the voxels in ``mask_camera``: see
``visible_only``.
"""

SEMANTIC_KITTI = LabelSet(
    (
        "empty",
        "car",
        "bicycle",
        "motorcycle",
        "truck",
        "other-vehicle",
        "person",
        "bicyclist",
        "motorcyclist",
        "road",
        "parking",
        "sidewalk",
        "other-ground",
        "building",
        "fence",
        "vegetation",
        "trunk",
        "terrain",
        "pole",
        "traffic-sign",
    )
)
"""SemanticKITTI's scene completion."""

SSCBENCH_KITTI_360 = LabelSet(
    (
        "empty",
        "car",
        "bicycle",
        "motorcycle",
        "truck",
        "other-vehicle",
        "person",
        "road",
        "parking",
        "sidewalk",
        "other-ground",
        "building",
        "fence",
        "vegetation",
        "terrain",
        "pole",
        "traffic-sign",
        "other-structure",
        "other-object",
    )
)
"""SSCBench-KITTI-360."""
