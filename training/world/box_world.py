"""A small drive with known geometry, for tests: a flat road, one wall, and one car that is a box.

The ego vehicle drives straight ahead.
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
    return _uniform_mesh(vertices, triangles, category, material)


def plane(half_m: float, category: str, material: str) -> Mesh:
    """A square with edges of 2 ``half_m`` on z = 0."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * half_m
    return _uniform_mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), category, material)


def _uniform_mesh(
    vertices: np.ndarray, triangles: np.ndarray, category: str, material: str
) -> Mesh:
    count = len(triangles)
    return Mesh(
        vertices,
        triangles,
        np.full(count, MATERIAL_ID[material], np.uint8),
        np.full(count, CATEGORY_ID[category], np.uint8),
        np.ones((count, 3), np.float32),
        np.ones(count, np.float32),
    )


def pose_at(x: float, y: float) -> np.ndarray:
    """The pose [4, 4] of a body at (x, y, 0) without rotation."""
    pose = np.eye(4)
    pose[:2, 3] = x, y
    return pose


def box_drive(
    weather: str = "clear",
    speed_mps: float = SPEED_MPS,
    name: str = "scene-box",
    duration_s: float = 1.05,
) -> Drive:
    """The ego vehicle drives along +x from the origin.

    The wall stands across the road at ``WALL_X_M``; the centre of the car is at ``CAR_XY_M``.
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
                name="car",
                category="vehicle.car",
                attribute="vehicle.parked",
                mesh=car,
                size_wlh=CAR_WLH_M,
                world_from_actor=lambda time_s: pose_at(*CAR_XY_M),
            ),
        ),
        world_from_ego=lambda time_s: pose_at(speed_mps * time_s, 0.0),
        duration_s=duration_s,
        weather=weather,
        region="boston-seaport",
        description=f"A wall, a car, {weather}",
        lamps=np.zeros((0, 3), np.float32),
    )
