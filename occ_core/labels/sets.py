"""The label sets of the public benchmarks, and the library's own.

These are the ids in memory. The benchmarks' files may use others: SurroundOcc's use 0 for noise and
omit empty voxels (see ``datasets.surroundocc``), SemanticKITTI's hold the raw ids of its annotation
(see ``labels.raw_ids``).
"""

from __future__ import annotations

from dataclasses import replace

from occ_core.labels.label_set import Colour, LabelSet
from occ_core.taxonomy import CLASS_NAMES, PALETTE

NUSCENES = LabelSet(
    CLASS_NAMES,
    name="nuscenes",
    palette=PALETTE,
    drivable=("driveable_surface",),
    ground=("driveable_surface", "other_flat", "sidewalk", "terrain"),
    vehicles=("car", "truck", "bus", "trailer", "construction_vehicle"),
    static=(
        "barrier",
        "traffic_cone",
        "driveable_surface",
        "other_flat",
        "sidewalk",
        "terrain",
        "manmade",
        "vegetation",
    ),
)
"""The classes of nuScenes-lidarseg, 0 for empty: what a model predicts unless its configuration
says otherwise. A class that nothing shows is left out of the mean, so that small data have one.
"""

SURROUNDOCC = replace(NUSCENES, name="surroundocc", absent="nan")
"""SurroundOcc-nuScenes: the ids of ``NUSCENES``."""

OPENOCCUPANCY = replace(NUSCENES, name="openoccupancy", absent="nan")
"""OpenOccupancy (nuScenes-Occupancy): the ids of ``NUSCENES``."""

OCC3D = replace(
    NUSCENES,
    names=("others", *CLASS_NAMES[1:], "free"),
    empty=len(CLASS_NAMES),
    name="occ3d",
    palette=((96, 96, 96), *PALETTE[1:], PALETTE[0]),
)
"""Occ3D-nuScenes, where "others" counts as a class and 17 is free. Its scores cover the voxels in
``mask_camera``: see ``visible_only``.
"""

_KITTI_COLOURS: dict[str, Colour] = {
    "empty": (0, 0, 0),
    "car": (100, 150, 245),
    "bicycle": (100, 230, 245),
    "motorcycle": (30, 60, 150),
    "truck": (80, 30, 180),
    "other-vehicle": (0, 0, 255),
    "person": (255, 30, 30),
    "bicyclist": (255, 40, 200),
    "motorcyclist": (150, 30, 90),
    "road": (255, 0, 255),
    "parking": (255, 150, 255),
    "sidewalk": (75, 0, 75),
    "other-ground": (175, 0, 75),
    "building": (255, 200, 0),
    "fence": (255, 120, 50),
    "vegetation": (0, 175, 0),
    "trunk": (135, 60, 0),
    "terrain": (150, 240, 80),
    "pole": (255, 240, 150),
    "traffic-sign": (255, 0, 0),
    "other-structure": (255, 150, 0),
    "other-object": (50, 255, 255),
}
"""The colours of SemanticKITTI, by class; KITTI-360 in SSCBench has two classes more."""


_KITTI_STATIC = (
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
    "other-structure",
)


def _kitti(name: str, classes: str) -> LabelSet:
    names = tuple(classes.split())
    return LabelSet(
        names,
        name=name,
        palette=tuple(_KITTI_COLOURS[each] for each in names),
        absent="zero",
        drivable=("road", "parking"),
        ground=("road", "parking", "sidewalk", "other-ground", "terrain"),
        vehicles=("car", "truck", "other-vehicle"),
        static=tuple(each for each in _KITTI_STATIC if each in names),
    )


SEMANTIC_KITTI = _kitti(
    "semantic_kitti",
    "empty car bicycle motorcycle truck other-vehicle person bicyclist motorcyclist road parking "
    "sidewalk other-ground building fence vegetation trunk terrain pole traffic-sign",
)
"""Scene completion of SemanticKITTI."""

SSCBENCH_KITTI_360 = _kitti(
    "kitti360",
    "empty car bicycle motorcycle truck other-vehicle person road parking sidewalk other-ground "
    "building fence vegetation terrain pole traffic-sign other-structure other-object",
)
"""KITTI-360 in SSCBench."""

LABEL_SETS: dict[str, LabelSet] = {
    each.name: each
    for each in (NUSCENES, SURROUNDOCC, OCC3D, OPENOCCUPANCY, SEMANTIC_KITTI, SSCBENCH_KITTI_360)
}
"""The sets that a command line can name."""
