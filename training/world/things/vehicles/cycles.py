"""Bicycles and motorcycles as triangle meshes, with or without their riders."""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.people import draw_rider
from training.world.things.sketch import Sketch, Vector
from training.world.things.vehicles.paint import paint_colour


def draw_bicycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """Draws a ``vehicle.bicycle``, with its rider if asked for."""
    sketch = Sketch("vehicle.bicycle")
    size = float(rng.uniform(0.92, 1.06))
    radius = 0.335 * size
    colour = paint_colour(rng)
    rear, front = (-0.52 * size, 0.0, radius), (0.53 * size, 0.0, radius)
    crank, seat = (-0.08 * size, 0.0, 0.29), (-0.22 * size, 0.0, 0.88 * size)
    head, bar = (0.38 * size, 0.0, 0.86 * size), (0.36 * size, 0.0, 1.0 * size)
    for x in (rear[0], front[0]):
        _draw_spoked_wheel(sketch, x, radius, 0.022, 5)
    frame = ((rear, crank), (rear, seat), (crank, seat), (crank, head), (seat, head), (front, head))
    for start, end in frame:
        sketch.tube([start, end], 0.02, "paint", colour, sides=4)
    sketch.tube([head, bar], 0.018, "steel_dark", sides=4)
    sketch.tube([(bar[0], -0.29, bar[2]), (bar[0], 0.29, bar[2])], 0.017, "steel_dark", sides=4)
    sketch.box((seat[0], 0, seat[2] + 0.05), (0.26, 0.15, 0.06), "plastic_dark")
    if rng.random() < 0.5:
        sketch.box((rear[0], 0, 0.78), (0.36, 0.22, 0.2), "plastic_dark")
    if rider:
        draw_rider(
            sketch,
            rng,
            hip=(seat[0], 0.0, seat[2] + 0.14),
            left_hand=(bar[0], 0.26, bar[2]),
            left_foot=(crank[0] + 0.05, 0.12, 0.22),
            helmet=rng.random() < 0.6,
        )
    return sketch.mesh()


def _draw_spoked_wheel(sketch: Sketch, x: float, radius: float, thick: float, spokes: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 13)
    middle = radius - thick
    rim = np.stack([x + middle * np.cos(angle), 0 * angle, radius + middle * np.sin(angle)], axis=1)
    sketch.tube(rim, thick, "tyre", sides=4)
    hub = np.array([x, 0, radius])
    for turn in np.arange(spokes) * np.pi / spokes:
        reach = middle * np.array([np.cos(turn), 0, np.sin(turn)])
        sketch.tube([hub - reach, hub + reach], 0.012, "chrome", sides=3)


def draw_motorcycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """Draws a ``vehicle.motorcycle`` (half of them scooters), with its rider if asked for."""
    sketch = Sketch("vehicle.motorcycle")
    colour = paint_colour(rng)
    scooter = rng.random() < 0.5
    radius, half = (0.25, 0.62) if scooter else (0.31, 0.70)
    for x in (-half, half):
        sketch.tube([(x, -0.065, radius), (x, 0.065, radius)], radius, "tyre", sides=12)
        sketch.tube([(x, -0.07, radius), (x, 0.07, radius)], radius * 0.5, "metal", sides=6)
    for side in (-0.09, 0.09):
        sketch.tube([(half, side, radius), (half - 0.28, side, 0.95)], 0.03, "chrome", sides=5)
    bar = [(half - 0.3, -0.35, 1.03), (half - 0.25, 0.0, 0.98), (half - 0.3, 0.35, 1.03)]
    sketch.tube(bar, 0.022, "steel_dark", sides=4)
    sketch.ellipsoid((half - 0.18, 0, 0.85), (0.14, 0.12, 0.13), "headlight")
    _draw_motorcycle_body(sketch, scooter, colour)
    if rng.random() < 0.35:
        sketch.box((-0.8, 0, 1.03), (0.42, 0.45, 0.4), "paint", paint_colour(rng))
    if rider:
        draw_rider(
            sketch,
            rng,
            hip=(-0.3, 0.0, 0.88),
            left_hand=(half - 0.3, 0.3, 1.04),
            left_foot=(0.1, 0.2, 0.3),
            helmet=True,
        )
    return sketch.mesh()


def _draw_motorcycle_body(sketch: Sketch, scooter: bool, colour: Vector) -> None:
    """Leg shield and floor of a scooter, or engine, tank and exhaust; seat, lamp and plate."""
    if scooter:
        shield = [(0.05, 0.2), (0.45, 0.25), (0.42, 0.95), (0.33, 0.95), (0.27, 0.35), (0.05, 0.3)]
        sketch.prism(shield, (-0.19, 0.19), "paint", colour)
        rear = [(-0.85, 0.5), (-0.1, 0.22), (0.08, 0.3), (0.0, 0.68), (-0.8, 0.72)]
        sketch.prism(rear, (-0.17, 0.17), "paint", colour)
    else:
        engine = [(-0.25, 0.25), (0.3, 0.25), (0.4, 0.6), (-0.2, 0.6)]
        sketch.prism(engine, (-0.17, 0.17), "metal")
        sketch.ellipsoid((0.12, 0, 0.76), (0.32, 0.16, 0.17), "paint", colour, fine=True)
        sketch.tube([(0.0, -0.16, 0.3), (-0.85, -0.18, 0.45)], 0.06, "chrome")
    seat = [(-0.85, 0.74), (-0.1, 0.7), (-0.05, 0.78), (-0.8, 0.84)]
    sketch.prism(seat, (-0.14, 0.14), "plastic_dark")
    sketch.box((-0.88, 0, 0.72), (0.05, 0.12, 0.08), "taillight")
    sketch.box((-0.93, 0, 0.55), (0.02, 0.18, 0.14), "plate")
