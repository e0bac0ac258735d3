"""A hand-made drive with known answers: a flat road, one wall, one parked car that is a box, and a
car that drives straight.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Actor, Drive, Mesh
from training.world.things.materials import MATERIAL_ID
from training.world.things.meshes import CATEGORY_ID, join

SPEED_MPS = 5.0
WALL_X_M = 40.0
CAR_XY_M = (12.0, 4.0)
CAR_WLH_M = (2.0, 4.0, 1.5)


def box(
    low: tuple[float, float, float], high: tuple[float, float, float], category: str, material: str
) -> Mesh:
    """An axis-aligned box."""
    x, y, z = ((low[axis], high[axis]) for axis in range(3))
    vertices = np.array([[a, b, c] for a in x for b in y for c in z], np.float32)
    quads = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    return _painted(vertices, triangles, category, material)


def plane(half_m: float, category: str, material: str) -> Mesh:
    """A square on z = 0."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * half_m
    return _painted(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), category, material)


def _painted(vertices: np.ndarray, triangles: np.ndarray, category: str, material: str) -> Mesh:
    count = len(triangles)
    return Mesh(
        vertices,
        triangles,
        np.full(count, MATERIAL_ID[material], np.uint8),
        np.full(count, CATEGORY_ID[category], np.uint8),
        np.ones((count, 3), np.float32),
    )


def at(x: float, y: float) -> np.ndarray:
    """A pose without rotation."""
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return pose


def box_drive(
    weather: str = "clear",
    speed_mps: float = SPEED_MPS,
    name: str = "scene-box",
    duration_s: float = 1.05,
) -> Drive:
    """Ego drives along +x from the origin; the wall stands across at ``WALL_X_M``; the car's box is
    centred at ``CAR_XY_M``.
    """
    width, length, height = CAR_WLH_M
    car = box(
        (-length / 2, -width / 2, 0.0),
        (length / 2, width / 2, height),
        "vehicle.car",
        "barrier_plastic",
    )
    wall = box((WALL_X_M, -30.0, 0.0), (WALL_X_M + 1.0, 30.0, 12.0), "static.manmade", "plaster")
    return Drive(
        name=name,
        static=join([plane(75.0, "flat.driveable_surface", "asphalt"), wall]),
        actors=(
            Actor(
                "car", "vehicle.car", "vehicle.parked", car, CAR_WLH_M, lambda time_s: at(*CAR_XY_M)
            ),
        ),
        world_from_ego=lambda time_s: at(speed_mps * time_s, 0.0),
        duration_s=duration_s,
        weather=weather,
        region="boston-seaport",
        description=f"A wall, a car, {weather}",
        lamps=np.zeros((0, 3), np.float32),
    )
