"""Meshes as a whole: joined, copied to many places, and centred on their footprint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from occ_core.taxonomy import LIDARSEG_CATEGORIES
from training.world.scene import Mesh

CATEGORY_ID: dict[str, int] = {name: index for index, name in enumerate(LIDARSEG_CATEGORIES)}
_CATEGORY_NAMES = tuple(LIDARSEG_CATEGORIES)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Joins several meshes of one frame into one."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]]).astype(np.int32)
    return Mesh(
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate(
            [mesh.triangles + offset for mesh, offset in zip(meshes, offsets, strict=True)]
        ),
        material=np.concatenate([mesh.material for mesh in meshes]),
        category=np.concatenate([mesh.category for mesh in meshes]),
        tint=np.concatenate([mesh.tint for mesh in meshes]),
        reflectance=np.concatenate([mesh.reflectance for mesh in meshes]),
    )


def place_copies(
    template: Mesh,
    position: np.ndarray,
    yaw: np.ndarray,
    scale: np.ndarray | None = None,
    tint: np.ndarray | None = None,
    reflectance: np.ndarray | None = None,
) -> Mesh:
    """Copies a mesh to several places: scaled along its own axes, turned about z, then moved.

    Args:
        position: ``[N, 3]`` in metres.
        yaw: ``[N]`` in radians.
        scale: ``[N, 3]``.
        tint: ``[N, 3]``, a factor on the template's own tint.
        reflectance: ``[N]``, a factor on the template's own.
    """
    count = len(position)
    vertices = np.broadcast_to(template.vertices, (count, *template.vertices.shape))
    if scale is not None:
        vertices = vertices * scale[:, None].astype(np.float32)
    cosine, sine = np.cos(yaw).astype(np.float32)[:, None], np.sin(yaw).astype(np.float32)[:, None]
    x, y, z = np.moveaxis(vertices, -1, 0)
    turned = np.stack([cosine * x - sine * y, sine * x + cosine * y, z], axis=-1)
    moved = turned + position[:, None].astype(np.float32)
    colours = np.broadcast_to(template.tint, (count, *template.tint.shape))
    if tint is not None:
        colours = colours * tint[:, None].astype(np.float32)
    reflectances = np.broadcast_to(template.reflectance, (count, len(template.reflectance)))
    if reflectance is not None:
        reflectances = reflectances * reflectance[:, None].astype(np.float32)
    offset = (np.arange(count, dtype=np.int32) * len(template.vertices))[:, None, None]
    return Mesh(
        vertices=moved.reshape(-1, 3),
        triangles=(template.triangles[None] + offset).reshape(-1, 3),
        material=np.tile(template.material, count),
        category=np.tile(template.category, count),
        tint=np.ascontiguousarray(colours.reshape(-1, 3)),
        reflectance=np.ascontiguousarray(reflectances.reshape(-1)),
    )


def category_name(mesh: Mesh) -> str:
    """The nuScenes category of a mesh that has only one."""
    return _CATEGORY_NAMES[mesh.category[0]]


def footprint_size(mesh: Mesh) -> tuple[float, float]:
    """Length along x and width along y of a mesh in metres."""
    length, width = np.ptp(mesh.vertices[:, :2], axis=0)
    return float(length), float(width)


def centre_on_footprint(mesh: Mesh) -> tuple[Mesh, tuple[float, float, float]]:
    """Moves a mesh so that its footprint's centre is the origin and its lowest point z = 0.

    Returns:
        The mesh, and the width, length and height of its axis-aligned box in metres.
    """
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    origin = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]], np.float32)
    length, width, height = (float(extent) for extent in high - low)
    return replace(mesh, vertices=mesh.vertices - origin), (width, length, height)
