"""The contents of a generated drive: meshes, actors and the trajectory of the ego vehicle.

World frame: x east, y north, z up, in metres; the ground lies near z = 0. Actor frame: x forward,
y left, z up, origin at the centre of the footprint on the ground. Times are seconds since the start
of the drive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from training.world.style import TOWN, WorldStyle


@dataclass(frozen=True)
class Mesh:
    """Triangles and the properties of each that the sensors simulate."""

    vertices: np.ndarray
    """float32 [V, 3], metres."""
    triangles: np.ndarray
    """int32 [T, 3]."""
    material: np.ndarray
    """uint8 [T], index into ``materials.MATERIALS``."""
    category: np.ndarray
    """uint8 [T], nuScenes-lidarseg index (24 driveable_surface, 28 manmade, ...)."""
    tint: np.ndarray
    """float32 [T, 3], multiplies the colour of the material (car paint, facade paint)."""
    reflectance: np.ndarray
    """float32 [T], multiplies the LiDAR reflectivity of the material."""


Trajectory = Callable[[float], np.ndarray]
"""Time in seconds -> ``world_from_body`` [4, 4]."""


@dataclass(frozen=True)
class Actor:
    """An object annotated with a nuScenes box; it may move."""

    name: str
    category: str
    """nuScenes category name, such as ``vehicle.car``."""
    attribute: str
    """nuScenes attribute name (``vehicle.parked``, ``pedestrian.moving``), or ``""``."""
    mesh: Mesh
    size_wlh: tuple[float, float, float]
    """Width, length, height of the box in metres; the box stands on z = 0 of the actor frame."""
    world_from_actor: Trajectory


@dataclass(frozen=True)
class Drive:
    """A static town, its actors, and the trajectory of the ego vehicle."""

    name: str
    static: Mesh
    actors: tuple[Actor, ...]
    world_from_ego: Trajectory
    duration_s: float
    weather: str
    """One of ``occ_core.taxonomy.WEATHERS``, never "unknown"."""
    region: str
    """nuScenes ``log.location``."""
    description: str
    """nuScenes ``scene.description``, which mentions the weather in the words of nuScenes."""
    lamps: np.ndarray
    """float32 [L, 3], positions of the street lamps in metres; they are lit at night."""
    style: WorldStyle = TOWN
    """The kind of world; the sensors read theirs from it."""
