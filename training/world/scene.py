"""What a generated drive is made of: meshes, actors that move, and the ego vehicle's way through
them.

World frame: x east, y north, z up, metres; the ground lies near z = 0. An actor's frame: x forward,
y left, z up, origin at the centre of its footprint on the ground. Times are seconds since the start
of the drive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles with what the sensors need to know of each."""

    vertices: np.ndarray
    """float32 [V, 3], metres."""
    triangles: np.ndarray
    """int32 [T, 3]."""
    material: np.ndarray
    """uint8 [T], index into ``materials.MATERIALS``."""
    category: np.ndarray
    """uint8 [T], nuScenes-lidarseg index (24 driveable_surface, 28 manmade, ...)."""
    tint: np.ndarray
    """float32 [T, 3], factor on the material's colour (paint of a car, of a facade)."""


Pose = Callable[[float], np.ndarray]
"""Time in seconds -> ``world_from_body`` [4, 4]."""


@dataclass(frozen=True)
class Actor:
    """A thing with a nuScenes box: it may move, and it is annotated."""

    name: str
    category: str
    """nuScenes category name, such as ``vehicle.car``."""
    attribute: str
    """nuScenes attribute name (``vehicle.parked``, ``pedestrian.moving``), or ``""``."""
    mesh: Mesh
    size_wlh: tuple[float, float, float]
    """Width, length, height of its box in metres; the box stands on z = 0 of the actor's frame."""
    world_from_actor: Pose


@dataclass(frozen=True)
class Drive:
    """One scene: a static town, its actors, and the ego vehicle's trajectory."""

    name: str
    static: Mesh
    actors: tuple[Actor, ...]
    world_from_ego: Pose
    duration_s: float
    weather: str
    """One of ``occ_core.taxonomy.WEATHERS``, never "unknown"."""
    region: str
    """nuScenes ``log.location``."""
    description: str
    """nuScenes ``scene.description``, which names the weather in nuScenes' words."""
    lamps: np.ndarray
    """float32 [L, 3], positions of street lamps in metres, lit at night."""
