"""Cars and pick-ups as triangle meshes.

All vehicles of this folder: x forward, y left, wheels on z = 0, real sizes in metres; shapes and
sizes vary with ``rng``; a mesh has one nuScenes category.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.scene import Mesh
from training.world.things.sketch import WHITE, Sketch, Vector
from training.world.things.vehicles.paint import paint_colour


@dataclass(frozen=True)
class _Profile:
    """Side view of a car in fractions of its length, from the tail, and of its height."""

    deck_x: tuple[float, ...]
    deck_z: tuple[float, ...]
    """Upper edge of the lower body: boot, belt line and bonnet."""
    cabin_x: tuple[float, float, float, float]
    """Rear foot, rear top, front top and front foot of the cabin's windows."""


@dataclass(frozen=True)
class _Body:
    """One car's body, in metres."""

    profile: _Profile
    length: float
    width: float
    height: float
    colour: Vector
    clearance: float = 0.19
    panel_van: bool = False
    """Without windows behind the driver."""


# Mean and standard deviation of length, width and height in metres, and the side view.
_CARS: dict[str, tuple[tuple[tuple[float, float], ...], _Profile]] = {
    "hatchback": (
        ((3.95, 0.20), (1.73, 0.05), (1.52, 0.05)),
        _Profile(
            (0.0, 0.04, 0.30, 0.66, 0.74, 0.92, 0.98, 1.0),
            (0.56, 0.62, 0.63, 0.62, 0.60, 0.52, 0.44, 0.38),
            (0.02, 0.12, 0.52, 0.73),
        ),
    ),
    "sedan": (
        ((4.62, 0.22), (1.81, 0.05), (1.46, 0.04)),
        _Profile(
            (0.0, 0.03, 0.16, 0.40, 0.66, 0.74, 0.92, 0.98, 1.0),
            (0.58, 0.66, 0.68, 0.65, 0.64, 0.61, 0.52, 0.44, 0.38),
            (0.13, 0.28, 0.53, 0.72),
        ),
    ),
    "suv": (
        ((4.62, 0.25), (1.88, 0.06), (1.71, 0.07)),
        _Profile(
            (0.0, 0.03, 0.30, 0.66, 0.76, 0.93, 0.98, 1.0),
            (0.56, 0.62, 0.63, 0.63, 0.60, 0.55, 0.48, 0.40),
            (0.02, 0.09, 0.54, 0.73),
        ),
    ),
    "mpv": (
        ((4.60, 0.25), (1.78, 0.06), (1.72, 0.08)),
        _Profile(
            (0.0, 0.03, 0.30, 0.70, 0.82, 0.94, 0.98, 1.0),
            (0.52, 0.56, 0.57, 0.57, 0.54, 0.48, 0.42, 0.36),
            (0.01, 0.06, 0.60, 0.83),
        ),
    ),
    "van": (
        ((4.85, 0.30), (1.86, 0.08), (2.02, 0.12)),
        _Profile(
            (0.0, 0.03, 0.30, 0.74, 0.86, 0.95, 0.98, 1.0),
            (0.50, 0.52, 0.52, 0.52, 0.48, 0.42, 0.38, 0.32),
            (0.005, 0.02, 0.72, 0.90),
        ),
    ),
}
_PICKUP = _Profile(
    (0.0, 0.40, 0.405, 0.72, 0.77, 0.95, 0.98, 1.0),
    (0.36, 0.36, 0.60, 0.60, 0.60, 0.56, 0.50, 0.42),
    (0.41, 0.44, 0.60, 0.74),
)
CAR_KINDS = tuple(_CARS)


def draw_car(rng: np.random.Generator, kind: str, colour: Vector | None = None) -> Mesh:
    """Draws a ``vehicle.car`` of one of ``CAR_KINDS``; its colour is random if None."""
    sizes, profile = _CARS[kind]
    length, width, height = (
        mean + spread * float(np.clip(rng.normal(), -1.5, 1.5)) for mean, spread in sizes
    )
    colour = paint_colour(rng) if colour is None else colour
    sketch = Sketch("vehicle.car")
    body = _Body(profile, length, width, height, colour, panel_van=kind == "van")
    _draw_body(sketch, body)
    radius = 0.30 + 0.05 * (kind in ("suv", "van")) + 0.02 * rng.random()
    for x in (length * (0.195 - 0.5), length * (0.805 - 0.5)):
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.10), radius), radius, 0.21)
    return sketch.mesh()


def draw_pickup(rng: np.random.Generator) -> Mesh:
    """Draws a full-size pick-up with an open bed, a ``vehicle.truck``."""
    length, width = 5.6 + 0.35 * rng.normal(), 1.98 + 0.05 * rng.normal()
    height = 1.88 + 0.06 * rng.normal()
    length = float(np.clip(length, 5.1, 6.3))
    colour = paint_colour(rng)
    sketch = Sketch("vehicle.truck")
    _draw_body(sketch, _Body(_PICKUP, length, width, height, colour, clearance=0.32))
    for side in (-1, 1):
        centre = (-0.30 * length, side * (width / 2 - 0.07), 0.50 * height)
        sketch.box(centre, (0.39 * length, 0.12, 0.30 * height), "paint", colour)
    tailgate = (0.06, width * 0.86, 0.28 * height)
    sketch.box((-0.49 * length, 0, 0.50 * height), tailgate, "paint", colour)
    if rng.random() < 0.4:
        load = (0.25 * length, width * 0.6, 0.35 * height)
        sketch.box((-0.3 * length, 0, 0.5 * height), load, "wood")
    for x in (-0.30 * length, 0.30 * length):
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.12), 0.39), 0.39, 0.26)
    return sketch.mesh()


def _draw_body(sketch: Sketch, body: _Body) -> None:
    """Lower body, cabin, lamps, mirrors and number plates."""
    _draw_lower_body(sketch, body)
    _draw_cabin(sketch, body)
    length, width, height = body.length, body.width, body.height
    nose, tail = length / 2, -length / 2
    lamp_z = body.profile.deck_z[-2] * height - 0.06
    rear_z = body.profile.deck_z[0] * height - 0.10
    mirror_x = length * (body.profile.cabin_x[3] - 0.5) - 0.10
    for side in (-1, 1):
        y = side * width * 0.36
        sketch.box((nose - 0.10, y, lamp_z), (0.17, width * 0.16, 0.11), "headlight")
        sketch.box((tail + 0.07, y, rear_z), (0.12, width * 0.14, 0.16), "taillight")
        mirror = (mirror_x, side * (width / 2 + 0.02), height * 0.66)
        sketch.box(mirror, (0.12, 0.18, 0.13), "paint", body.colour)
    low = body.clearance
    sketch.box((nose - 0.01, 0, low + 0.28), (0.02, 0.46, 0.11), "plate")
    sketch.box((nose - 0.012, 0, low + 0.12), (0.02, width * 0.6, 0.10), "plastic_dark")
    sketch.box((tail + 0.01, 0, low + 0.38), (0.02, 0.46, 0.11), "plate")


def _draw_lower_body(sketch: Sketch, body: _Body) -> None:
    """A skin over cross-sections from tail to nose."""
    deck_x = np.array(body.profile.deck_x)
    stations = np.unique(np.concatenate([deck_x, np.linspace(0.0, 1.0, 7)]))
    top = np.interp(stations, deck_x, body.profile.deck_z) * body.height
    from_centre = np.abs(2 * stations - 1)
    # Narrower towards both ends, and raised beneath the bumpers (approach and departure angle).
    half = body.width / 2 * (1 - 0.13 * from_centre**7 - 0.02 * from_centre**2)
    bottom = body.clearance + 0.10 * np.clip(from_centre - 0.72, 0, None) / 0.28
    # Half a cross-section, from the middle of the floor up the side to the middle of the deck, in
    # fractions of half the width and of the height; the other half mirrors its four inner points.
    across = np.array([0.0, 0.90, 1.0, 0.985, 0.90, 0.0])
    up = np.array([0.0, 0.0, 0.35, 0.75, 0.97, 1.0])
    x = (stations - 0.5) * body.length
    y = half[:, None] * across
    z = bottom[:, None] + (top - bottom)[:, None] * up
    rings = np.stack(
        [
            np.broadcast_to(x[:, None], (len(stations), 10)),
            np.concatenate([y, -y[:, -2:0:-1]], axis=1),
            np.concatenate([z, z[:, -2:0:-1]], axis=1),
        ],
        axis=-1,
    )
    sketch.loft(rings, "paint", body.colour)


def _draw_cabin(sketch: Sketch, body: _Body) -> None:
    """Glazed sides, windscreen and rear window, roof, and the seats that show behind the glass."""
    profile, width = body.profile, body.width
    rear_foot, rear_top, front_top, front_foot = profile.cabin_x
    foot_x = (np.array([rear_foot, front_foot]) - 0.5) * body.length
    top_x = (np.array([rear_top, front_top]) - 0.5) * body.length
    foot_z = np.interp([rear_foot, front_foot], profile.deck_x, profile.deck_z) * body.height - 0.02
    eaves_z, foot_y, eaves_y = body.height - 0.09, width * 0.455, width * 0.385

    def on_side(along: float, up: float, side: int) -> tuple[float, float, float]:
        """A point on the cabin's side, ``along`` from rear to front, ``up`` from foot to eaves."""
        x_foot, x_top, z_foot = (np.interp(along, [0, 1], v) for v in (foot_x, top_x, foot_z))
        return (
            x_foot + (x_top - x_foot) * up,
            side * (foot_y + (eaves_y - foot_y) * up),
            z_foot + (eaves_z - z_foot) * up,
        )

    panes = ((0.70, 0.96),) if body.panel_van else ((0.05, 0.46), (0.52, 0.95))
    cuts = [0.0, *(edge for pane in panes for edge in pane), 1.0]
    for side in (-1, 1):
        for index, (start, end) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
            outline = ((start, 0), (end, 0), (end, 1), (start, 1))
            material, tint = ("glass", WHITE) if index % 2 else ("paint", body.colour)
            sketch.polygon([on_side(*point, side) for point in outline], material, tint)
    for along, glazed in ((0.0, not body.panel_van), (1.0, True)):
        corners = [on_side(along, up, side) for up, side in ((0, -1), (0, 1), (1, 1), (1, -1))]
        material, tint = ("glass", WHITE) if glazed else ("paint", body.colour)
        sketch.polygon(corners, material, tint)
    eaves = _rectangle((top_x[0], top_x[1]), eaves_y, eaves_z)
    ridge = _rectangle((top_x[0] + 0.05, top_x[1] - 0.10), width * 0.30, body.height)
    sketch.loft(np.stack([eaves, ridge]), "paint", body.colour)
    for along in (0.30, 0.66):
        x = float(np.interp(along, [0, 1], foot_x))
        for side in (-1, 1):
            seat = (x, side * width * 0.2, float(foot_z.min()) + 0.10)
            sketch.box(seat, (0.14, 0.46, 0.44), "plastic_dark", pitch=-0.2)


def _rectangle(x: tuple[float, float], half_y: float, z: float) -> np.ndarray:
    """Corners ``[4, 3]`` of a level rectangle."""
    return np.array([(x[0], -half_y, z), (x[1], -half_y, z), (x[1], half_y, z), (x[0], half_y, z)])
