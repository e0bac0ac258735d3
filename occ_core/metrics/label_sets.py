"""Class ids of the public benchmarks, by which ``OccupancyScore`` counts.

These are the ids in memory. The benchmarks' files may use others: SurroundOcc's use 0 for noise and
omit empty voxels (see ``datasets.surroundocc``), SemanticKITTI's hold the raw ids of its
annotation.
"""

from __future__ import annotations

from dataclasses import dataclass

from occ_core.taxonomy import CLASS_NAMES


@dataclass(frozen=True)
class LabelSet:
    """Class names by id; the id 255 is ignored in every set.

    Raises:
        ValueError: the set has fewer than 2 or more than 255 classes, or lacks ``empty``.
    """

    names: tuple[str, ...]
    empty: int = 0
    """Id of the unoccupied class: it is not averaged into the mIoU, but false positives and misses
    of the other classes count against them.
    """

    def __post_init__(self) -> None:
        if not 0 <= self.empty < len(self.names) or not 2 <= len(self.names) <= 255:
            raise ValueError(
                f"a LabelSet has 2 to 255 classes, the empty one among them; got {len(self.names)} "
                f"with empty = {self.empty}"
            )

    @classmethod
    def from_names(cls, names: str) -> LabelSet:
        """The set of the class names in a text, divided by spaces; the first one is empty."""
        return cls(tuple(names.split()))

    @property
    def occupied(self) -> list[int]:
        """Ids of all classes but the empty one."""
        return [label for label in range(len(self.names)) if label != self.empty]


SURROUNDOCC = LabelSet(CLASS_NAMES)
"""SurroundOcc and OpenOccupancy (nuScenes-Occupancy); also the order within this library."""

OCC3D = LabelSet(("others", *CLASS_NAMES[1:], "free"), empty=len(CLASS_NAMES))
"""Occ3D-nuScenes, where "others" counts as a class. Its scores cover the voxels in ``mask_camera``:
see ``visible_only``.
"""

SEMANTIC_KITTI = LabelSet.from_names(
    "empty car bicycle motorcycle truck other-vehicle person bicyclist motorcyclist road parking "
    "sidewalk other-ground building fence vegetation trunk terrain pole traffic-sign"
)
"""Scene completion of SemanticKITTI."""

SSCBENCH_KITTI_360 = LabelSet.from_names(
    "empty car bicycle motorcycle truck other-vehicle person road parking sidewalk other-ground "
    "building fence vegetation terrain pole traffic-sign other-structure other-object"
)
"""KITTI-360 in SSCBench."""
