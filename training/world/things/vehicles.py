"""Vehicles as triangle meshes: x forward, y left, wheels on z = 0, real sizes in metres.

Every function returns a mesh of one nuScenes category; shapes and sizes vary with ``rng``.
"""

from __future__ import annotations

import numpy as np

from training.world.scene import Mesh
from training.world.things.meshes import WHITE, Sketch, Vector
from training.world.things.people import draw_rider

CAR_KINDS = ("hatchback", "sedan", "suv", "mpv", "van")

_PAINTS = np.array(
    [
        (0.95, 0.95, 0.95),
        (0.90, 0.90, 0.91),
        (0.62, 0.63, 0.65),
        (0.35, 0.36, 0.38),
        (0.09, 0.09, 0.10),
        (0.55, 0.09, 0.08),
        (0.12, 0.20, 0.42),
        (0.28, 0.35, 0.42),
        (0.62, 0.58, 0.50),
        (0.12, 0.28, 0.20),
        (0.85, 0.62, 0.10),
        (0.20, 0.42, 0.55),
    ]
)
_PAINT_SHARE = np.array([0.17, 0.12, 0.17, 0.13, 0.15, 0.07, 0.06, 0.04, 0.03, 0.02, 0.02, 0.02])

# Length, width, height in metres (mean, spread), then the side view in shares of length and height:
# bonnet (x, z) points from the tail to the nose, and the cabin: rear foot, rear top, front top,
# front foot.
_CARS: dict[
    str,
    tuple[
        tuple[tuple[float, float], ...],
        tuple[tuple[float, float], ...],
        tuple[float, float, float, float],
    ],
] = {
    "hatchback": (
        ((3.95, 0.20), (1.73, 0.05), (1.52, 0.05)),
        (
            (0.0, 0.56),
            (0.04, 0.62),
            (0.30, 0.63),
            (0.66, 0.62),
            (0.74, 0.60),
            (0.92, 0.52),
            (0.98, 0.44),
            (1.0, 0.38),
        ),
        (0.02, 0.12, 0.52, 0.73),
    ),
    "sedan": (
        ((4.62, 0.22), (1.81, 0.05), (1.46, 0.04)),
        (
            (0.0, 0.58),
            (0.03, 0.66),
            (0.16, 0.68),
            (0.40, 0.65),
            (0.66, 0.64),
            (0.74, 0.61),
            (0.92, 0.52),
            (0.98, 0.44),
            (1.0, 0.38),
        ),
        (0.13, 0.28, 0.53, 0.72),
    ),
    "suv": (
        ((4.62, 0.25), (1.88, 0.06), (1.71, 0.07)),
        (
            (0.0, 0.56),
            (0.03, 0.62),
            (0.30, 0.63),
            (0.66, 0.63),
            (0.76, 0.60),
            (0.93, 0.55),
            (0.98, 0.48),
            (1.0, 0.40),
        ),
        (0.02, 0.09, 0.54, 0.73),
    ),
    "mpv": (
        ((4.60, 0.25), (1.78, 0.06), (1.72, 0.08)),
        (
            (0.0, 0.52),
            (0.03, 0.56),
            (0.30, 0.57),
            (0.70, 0.57),
            (0.82, 0.54),
            (0.94, 0.48),
            (0.98, 0.42),
            (1.0, 0.36),
        ),
        (0.01, 0.06, 0.60, 0.83),
    ),
    "van": (
        ((4.85, 0.30), (1.86, 0.08), (2.02, 0.12)),
        (
            (0.0, 0.50),
            (0.03, 0.52),
            (0.30, 0.52),
            (0.74, 0.52),
            (0.86, 0.48),
            (0.95, 0.42),
            (0.98, 0.38),
            (1.0, 0.32),
        ),
        (0.005, 0.02, 0.72, 0.90),
    ),
}


def paint(rng: np.random.Generator) -> np.ndarray:
    """A car's colour, ``[3]``."""
    return np.clip(
        _PAINTS[rng.choice(len(_PAINTS), p=_PAINT_SHARE / _PAINT_SHARE.sum())]
        + rng.normal(0, 0.02, 3),
        0.03,
        1.0,
    )


def draw_car(rng: np.random.Generator, kind: str, colour: Vector | None = None) -> Mesh:
    """A car of one of ``CAR_KINDS``; ``colour`` where it is not left to chance (a taxi)."""
    sizes, deck, cabin = _CARS[kind]
    length, width, height = (
        mean + spread * float(np.clip(rng.normal(), -1.5, 1.5)) for mean, spread in sizes
    )
    sketch = Sketch("vehicle.car")
    _car_body(
        sketch,
        length,
        width,
        height,
        deck,
        cabin,
        paint(rng) if colour is None else colour,
        panel_van=kind == "van",
    )
    radius = 0.30 + 0.05 * (kind in ("suv", "van")) + 0.02 * rng.random()
    for x in (length * (0.195 - 0.5), length * (0.805 - 0.5)):
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.10), radius), radius, 0.21)
    return sketch.mesh()


def _car_body(
    sketch: Sketch,
    length: float,
    width: float,
    height: float,
    deck: tuple[tuple[float, float], ...],
    cabin: tuple[float, float, float, float],
    colour: Vector,
    panel_van: bool = False,
    clearance: float = 0.19,
) -> None:
    """Lower body as a skin over cross-sections, cabin with glazed windows, lamps, plates, mirrors,
    seats.
    """
    deck_x = np.array([x for x, _ in deck])
    stations = np.unique(np.concatenate([deck_x, np.linspace(0.0, 1.0, 7)]))
    top = np.interp(stations, deck_x, [z for _, z in deck]) * height
    from_centre = np.abs(2 * stations - 1)
    half = width / 2 * (1 - 0.13 * from_centre**7 - 0.02 * from_centre**2)
    bottom = clearance + 0.10 * np.clip(from_centre - 0.72, 0, None) / 0.28
    rise = top - bottom
    across = np.array(
        [0.0, 0.90, 1.0, 0.985, 0.90, 0.0]
    )  # from the floor's middle up the side to the deck's middle
    up = np.array([0.0, 0.0, 0.35, 0.75, 0.97, 1.0])
    y = half[:, None] * across
    z = bottom[:, None] + rise[:, None] * up
    rings = np.stack(
        [
            np.broadcast_to((stations[:, None] - 0.5) * length, (len(stations), 10)),
            np.concatenate([y, -y[:, -2:0:-1]], axis=1),
            np.concatenate([z, z[:, -2:0:-1]], axis=1),
        ],
        axis=-1,
    )
    sketch.loft(rings, "paint", colour)
    _cabin(sketch, length, width, height, deck, cabin, colour, panel_van)
    nose, tail = length / 2, -length / 2
    lamp_z, rear_z = top[-2] - 0.06, top[0] - 0.10
    for side in (-1, 1):
        sketch.box(
            (nose - 0.10, side * width * 0.36, lamp_z), (0.17, width * 0.16, 0.11), "headlight"
        )
        sketch.box(
            (tail + 0.07, side * width * 0.36, rear_z), (0.12, width * 0.14, 0.16), "taillight"
        )
        sketch.box(
            (length * (cabin[3] - 0.5) - 0.10, side * (width / 2 + 0.02), height * 0.66),
            (0.12, 0.18, 0.13),
            "paint",
            colour,
        )
    sketch.box((nose - 0.01, 0, clearance + 0.28), (0.02, 0.46, 0.11), "plate")
    sketch.box((nose - 0.012, 0, clearance + 0.12), (0.02, width * 0.6, 0.10), "plastic_dark")
    sketch.box((tail + 0.01, 0, clearance + 0.38), (0.02, 0.46, 0.11), "plate")


def _cabin(
    sketch: Sketch,
    length: float,
    width: float,
    height: float,
    deck: tuple[tuple[float, float], ...],
    cabin: tuple[float, float, float, float],
    colour: Vector,
    panel_van: bool,
) -> None:
    foot_x = (np.array([cabin[0], cabin[3]]) - 0.5) * length
    top_x = (np.array([cabin[1], cabin[2]]) - 0.5) * length
    foot_z = (
        np.interp([cabin[0], cabin[3]], [x for x, _ in deck], [z for _, z in deck]) * height - 0.02
    )
    eaves_z, foot_y, eaves_y, roof_y = height - 0.09, width * 0.455, width * 0.385, width * 0.30

    def on_side(share: float, up: float, side: int) -> tuple[float, float, float]:
        x_foot, x_top = np.interp(share, [0, 1], foot_x), np.interp(share, [0, 1], top_x)
        z_foot = np.interp(share, [0, 1], foot_z)
        return (
            x_foot + (x_top - x_foot) * up,
            side * (foot_y + (eaves_y - foot_y) * up),
            z_foot + (eaves_z - z_foot) * up,
        )

    panes = ((0.05, 0.46), (0.52, 0.95)) if not panel_van else ((0.70, 0.96),)
    cuts = [0.0, *(edge for pane in panes for edge in pane), 1.0]
    for side in (-1, 1):
        for index, (start, end) in enumerate(zip(cuts[:-1], cuts[1:], strict=True)):
            glazed = index % 2 == 1
            corners = [
                on_side(start, 0, side),
                on_side(end, 0, side),
                on_side(end, 1, side),
                on_side(start, 1, side),
            ]
            sketch.polygon(corners, "glass" if glazed else "paint", WHITE if glazed else colour)
    for share, name in ((0.0, "paint" if panel_van else "glass"), (1.0, "glass")):
        corners = [on_side(share, up, side) for up, side in ((0, -1), (0, 1), (1, 1), (1, -1))]
        sketch.polygon(corners, name, colour if name == "paint" else WHITE)
    roof_x = (top_x[0] + 0.05, top_x[1] - 0.10)
    rim = np.array(
        [
            [x, y, eaves_z]
            for x, y in (
                (top_x[0], -eaves_y),
                (top_x[1], -eaves_y),
                (top_x[1], eaves_y),
                (top_x[0], eaves_y),
            )
        ]
    )
    ridge = np.array(
        [
            [x, y, height]
            for x, y in (
                (roof_x[0], -roof_y),
                (roof_x[1], -roof_y),
                (roof_x[1], roof_y),
                (roof_x[0], roof_y),
            )
        ]
    )
    sketch.loft(np.stack([rim, ridge]), "paint", colour)
    seat_z = float(foot_z.min())
    for share in (0.30, 0.66):
        x = float(np.interp(share, [0, 1], foot_x))
        for side in (-1, 1):
            sketch.box(
                (x, side * width * 0.2, seat_z + 0.10),
                (0.14, 0.46, 0.44),
                "plastic_dark",
                pitch=-0.2,
            )


def draw_pickup(rng: np.random.Generator) -> Mesh:
    """A full-size pick-up with an open bed, ``vehicle.truck``."""
    length, width, height = (
        5.6 + 0.35 * rng.normal(),
        1.98 + 0.05 * rng.normal(),
        1.88 + 0.06 * rng.normal(),
    )
    length = float(np.clip(length, 5.1, 6.3))
    sketch = Sketch("vehicle.truck")
    colour = paint(rng)
    deck = (
        (0.0, 0.36),
        (0.40, 0.36),
        (0.405, 0.60),
        (0.72, 0.60),
        (0.77, 0.60),
        (0.95, 0.56),
        (0.98, 0.50),
        (1.0, 0.42),
    )
    _car_body(sketch, length, width, height, deck, (0.41, 0.44, 0.60, 0.74), colour, clearance=0.32)
    for side in (-1, 1):
        sketch.box(
            (-0.30 * length, side * (width / 2 - 0.07), 0.50 * height),
            (0.39 * length, 0.12, 0.30 * height),
            "paint",
            colour,
        )
    sketch.box(
        (-0.49 * length, 0, 0.50 * height), (0.06, width * 0.86, 0.28 * height), "paint", colour
    )
    if rng.random() < 0.4:
        sketch.box(
            (-0.3 * length, 0, 0.5 * height), (0.25 * length, width * 0.6, 0.35 * height), "wood"
        )
    for x in (-0.30 * length, 0.30 * length):
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.12), 0.39), 0.39, 0.26)
    return sketch.mesh()


def _lorry_cab(
    sketch: Sketch,
    front: float,
    width: float,
    height: float,
    depth: float,
    colour: Vector,
    floor: float,
) -> None:
    """A cab over the engine: flat nose, raked windscreen, side windows, bumper, lamps."""
    back, belt = front - depth, floor + (height - floor) * 0.48
    half = width / 2
    sketch.prism(
        [(back, floor), (front - 0.04, floor), (front, belt), (back, belt)],
        (-half, half),
        "paint",
        colour,
    )
    sketch.prism(
        [
            (back, height - 0.22),
            (front - 0.26, height - 0.22),
            (front - 0.42, height),
            (back, height),
        ],
        (-half, half),
        "paint",
        colour,
    )
    sketch.box((back + 0.10, 0, (belt + height) / 2), (0.20, width, height - belt), "paint", colour)
    pane_top = height - 0.22
    sketch.polygon(
        [
            (front, -half, belt),
            (front, half, belt),
            (front - 0.26, half, pane_top),
            (front - 0.26, -half, pane_top),
        ],
        "glass",
    )
    for side in (-half, half):
        corners = [
            (back + 0.2, side, belt),
            (front, side, belt),
            (front - 0.26, side, pane_top),
            (back + 0.2, side, pane_top),
        ]
        sketch.polygon(corners, "glass")
    for side in (-1, 1):
        sketch.box(
            (back + 0.55 * depth, side * half * 0.45, belt + 0.1), (0.16, 0.5, 0.6), "plastic_dark"
        )
        sketch.box((front - 0.03, side * half * 0.75, floor + 0.22), (0.1, 0.34, 0.18), "headlight")
        sketch.box(
            (front - 0.12, side * (half + 0.13), belt + 0.35), (0.12, 0.20, 0.42), "plastic_dark"
        )
    sketch.box((front - 0.05, 0, floor + 0.02), (0.16, width * 0.96, 0.24), "plastic_dark")
    sketch.box((front + 0.04, 0, floor + 0.02), (0.02, 0.46, 0.12), "plate")


def _lorry_load(
    sketch: Sketch,
    rng: np.random.Generator,
    load: str,
    back: float,
    front: float,
    width: float,
    top: float,
    deck: float,
) -> None:
    """What a lorry carries between x ``back`` and ``front`` on its deck."""
    middle, length, half = (back + front) / 2, front - back, width / 2
    colour = np.clip(
        rng.choice([(0.95, 0.95, 0.94), (0.8, 0.82, 0.84), (0.25, 0.4, 0.65), (0.75, 0.3, 0.2)])
        + rng.normal(0, 0.03, 3),
        0,
        1,
    )
    if load == "box":
        sketch.box((middle, 0, (deck + top) / 2), (length, width, top - deck), "paint", colour)
        for side in (-1, 1):
            sketch.box(
                (back - 0.02, side * half * 0.5, (deck + top) / 2),
                (0.04, half * 0.92, (top - deck) * 0.92),
                "metal",
            )
        return
    sketch.box((middle, 0, deck), (length, width, 0.14), "steel_dark")
    if load == "tipper":
        for side in (-1, 1):
            sketch.box(
                (middle, side * (half - 0.05), deck + 0.6), (length, 0.10, 1.2), "paint", colour
            )
        sketch.box(
            (back + 0.05, 0, deck + 0.55), (0.10, width - 0.2, 1.1), "paint", colour, pitch=-0.12
        )
        sketch.box((front - 0.05, 0, deck + 0.75), (0.10, width - 0.2, 1.5), "paint", colour)
        sketch.blob((middle, 0, deck + 0.6), (length * 0.46, half * 0.85, 0.55), "soil", finer=True)
        return
    for side in (-1, 1):
        sketch.box(
            (middle, side * (half - 0.03), deck + 0.27), (length, 0.06, 0.42), "paint", colour
        )
    sketch.box((back + 0.03, 0, deck + 0.27), (0.06, width - 0.12, 0.42), "paint", colour)
    for share in np.arange(0.12, 0.9, 0.2):
        size = rng.uniform((0.6, 0.6, 0.4), (1.1, width * 0.8, 1.3))
        sketch.box(
            (back + share * length + 0.3, rng.uniform(-0.15, 0.15), deck + 0.07 + size[2] / 2),
            (*size[:2], size[2]),
            "wood",
            rng.uniform(0.7, 1.3, 3),
        )
    if load == "canopy":
        for x in np.linspace(back + 0.05, front - 0.05, 4):
            for side in (-1, 1):
                sketch.box(
                    (x, side * (half - 0.05), (deck + top) / 2), (0.06, 0.06, top - deck), "metal"
                )
        sketch.prism(
            [(back, top - 0.05), (front, top - 0.05), (front, top), (back, top)],
            (-half, half),
            "canvas",
            (0.35, 0.4, 0.38),
        )
        sketch.box((front - 0.03, 0, (deck + top) / 2), (0.05, width, top - deck), "paint", colour)


def draw_lorry(rng: np.random.Generator, load: str, heavy: bool) -> Mesh:
    """A lorry, light (about 5 m) or heavy (7.5 to 10.5 m); ``load`` is box, flatbed, canopy or
    tipper.
    """
    length = float(rng.uniform(7.5, 10.5) if heavy else rng.uniform(4.7, 6.4))
    width = float(rng.uniform(2.35, 2.55) if heavy else rng.uniform(1.75, 2.1))
    cab_height = float(rng.uniform(2.7, 3.1) if heavy else rng.uniform(2.0, 2.3))
    top = float(rng.uniform(3.2, 3.8) if heavy else rng.uniform(2.3, 3.0))
    radius, floor, depth = (0.5, 0.62, 2.0) if heavy else (0.36, 0.42, 1.55)
    deck = 2 * radius + 0.12
    front, back = length / 2, -length / 2
    sketch = Sketch("vehicle.truck")
    _lorry_cab(sketch, front, width, cab_height, depth, paint(rng), floor)
    _lorry_load(sketch, rng, load, back, front - depth - 0.12, width, top, deck)
    for side in (-1, 1):
        sketch.box(
            ((back + front) / 2 - 0.4, side * width * 0.19, deck - 0.22),
            (length - 1.0, 0.16, 0.26),
            "steel_dark",
        )
        sketch.box(
            (0.0, side * (width / 2 - 0.12), deck - 0.42),
            (length * 0.22, 0.2, 0.45),
            "plastic_dark",
        )
        sketch.box((back + 0.02, side * width * 0.38, deck - 0.15), (0.06, 0.38, 0.14), "taillight")
    sketch.box(
        (back + 0.05, 0, deck - 0.45), (0.10, width * 0.9, 0.12), "retro_white", (0.9, 0.5, 0.3)
    )
    sketch.box((back + 0.01, 0, deck - 0.2), (0.03, 0.46, 0.12), "plate")
    axles = [front - depth * 0.6, back + length * 0.2] + (
        [back + length * 0.2 + 1.25] if heavy and length > 8.8 else []
    )
    for x in axles:
        for side in (-1, 1):
            sketch.wheel((x, side * (width / 2 - 0.16), radius), radius, 0.30, "metal")
    return sketch.mesh()


def draw_bus(
    rng: np.random.Generator, length: float, height: float, colour: Vector, section: str = "whole"
) -> Mesh:
    """A city bus, or the ``front`` or ``rear`` section of a bendy bus; above 4 m height it has two
    decks.
    """
    width = float(rng.uniform(2.48, 2.58))
    half, front, back = width / 2, length / 2, -length / 2
    sketch = Sketch("vehicle.bus.rigid" if section == "whole" else "vehicle.bus.bendy")
    decks = [(1.15, min(height - 0.45, 2.55))] + ([(3.0, height - 0.35)] if height > 4 else [])
    lower = 0.32
    for sill, lintel in [*decks, (height, height)]:
        sketch.prism(
            [
                (back, lower),
                (front - 0.03, lower),
                (front, (lower + sill) / 2),
                (front - 0.03, sill),
                (back, sill),
            ],
            (-half, half),
            "paint",
            colour,
        )
        lower = lintel
    for sill, lintel in decks:
        pillars = np.linspace(back, front, max(3, round(length / 1.6)) + 1)
        for left, right in zip(pillars[:-1], pillars[1:], strict=True):
            for side in (-half, half):
                corners = [
                    (left + 0.12, side, sill),
                    (right - 0.03, side, sill),
                    (right - 0.03, side, lintel),
                    (left + 0.12, side, lintel),
                ]
                sketch.polygon(corners, "glass")
                sketch.box(
                    (left + 0.045, side * 0.97, (sill + lintel) / 2),
                    (0.15, half * 0.06, lintel - sill),
                    "paint",
                    colour,
                )
            sketch.box(
                ((left + right) / 2, half * 0.55, sill + 0.12),
                (0.12, half * 0.75, 0.75),
                "cloth",
                (0.2, 0.3, 0.5),
            )
            sketch.box(
                ((left + right) / 2, -half * 0.55, sill + 0.12),
                (0.12, half * 0.75, 0.75),
                "cloth",
                (0.2, 0.3, 0.5),
            )
        for x, name in (
            (front - 0.04, "glass"),
            (back + 0.01, "paint" if rng.random() < 0.5 else "glass"),
        ):
            sketch.polygon(
                [(x, -half, sill), (x, half, sill), (x, half, lintel), (x, -half, lintel)],
                name,
                colour if name == "paint" else WHITE,
            )
    for side in (-1, 1):
        if section != "rear":
            sketch.box((front - 0.03, side * half * 0.75, 0.62), (0.07, 0.40, 0.18), "headlight")
            sketch.tube(
                [
                    (front - 0.2, side * half, 2.4),
                    (front + 0.15, side * (half + 0.12), 2.2),
                    (front + 0.15, side * (half + 0.12), 1.9),
                ],
                0.06,
                "plastic_dark",
            )
        if section != "front":
            sketch.box((back + 0.01, side * half * 0.8, 0.95), (0.05, 0.18, 0.5), "taillight")
    sketch.box((front - 0.02, 0, min(height, 3.0) - 0.22), (0.05, width * 0.6, 0.2), "plastic_dark")
    sketch.box(
        (-0.1 * length, 0, height + 0.08), (length * 0.3, width * 0.6, 0.18), "paint", colour
    )
    axles = (
        (back + length * 0.25,)
        if section == "rear"
        else (back + length * 0.26, front - length * 0.22)
    )
    for x in axles:
        for side in (-1, 1):
            sketch.wheel((x, side * (half - 0.13), 0.48), 0.48, 0.29, "metal")
    return sketch.mesh()


def draw_school_bus(rng: np.random.Generator) -> Mesh:
    """A yellow bus with a bonnet, ``vehicle.bus.rigid``."""
    length, width, height = float(rng.uniform(7.5, 11.0)), 2.44, float(rng.uniform(2.95, 3.2))
    half, front, back, yellow = width / 2, length / 2, -length / 2, (0.95, 0.66, 0.08)
    nose = front - 1.5
    sketch = Sketch("vehicle.bus.rigid")
    sketch.prism(
        [(back, 0.45), (nose, 0.45), (nose, 1.6), (back, 1.6)], (-half, half), "paint", yellow
    )
    sketch.prism(
        [
            (back, 2.4),
            (nose - 0.15, 2.4),
            (nose - 0.35, height - 0.05),
            (nose - 0.9, height),
            (back, height),
        ],
        (-half, half),
        "paint",
        yellow,
    )
    sketch.prism(
        [(nose, 0.5), (front, 0.5), (front, 1.25), (nose, 1.55)],
        (-half * 0.78, half * 0.78),
        "paint",
        yellow,
    )
    for side in (-half, half):
        for x in np.arange(back + 0.5, nose - 0.7, 0.85):
            sketch.polygon(
                [(x, side, 1.6), (x + 0.7, side, 1.6), (x + 0.7, side, 2.4), (x, side, 2.4)],
                "glass",
            )
            sketch.box((x - 0.075, side * 0.98, 2.0), (0.15, 0.05, 0.8), "paint", yellow)
        sketch.box(
            ((back + nose) / 2, side * 1.01, 1.1), (length - 2.2, 0.02, 0.12), "plastic_dark"
        )
        for x in (back + length * 0.22, front - 0.75):
            sketch.wheel((x, side * 0.86, 0.48), 0.48, 0.28, "metal")
        sketch.box((front - 0.02, side * 0.6, 0.95), (0.08, 0.22, 0.22), "headlight")
        sketch.box((back + 0.0, side * 0.8, 1.5), (0.06, 0.2, 0.2), "taillight")
    sketch.polygon(
        [
            (nose, -half, 1.6),
            (nose, half, 1.6),
            (nose - 0.15, half, 2.4),
            (nose - 0.15, -half, 2.4),
        ],
        "glass",
    )
    sketch.polygon(
        [(back, -half, 1.6), (back, half, 1.6), (back, half, 2.4), (back, -half, 2.4)], "glass"
    )
    for x in np.arange(back + 0.9, nose - 0.5, 0.85):
        sketch.box((x, 0, 1.75), (0.14, width * 0.8, 0.7), "plastic_dark")
    sketch.box((front + 0.06, 0, 0.6), (0.12, width * 0.94, 0.25), "plastic_dark")
    return sketch.mesh()


def draw_excavator(rng: np.random.Generator) -> Mesh:
    """A tracked excavator with its arm in a working pose, ``vehicle.construction``."""
    size = float(rng.uniform(0.75, 1.15))
    colour = rng.choice([(0.95, 0.68, 0.08), (0.92, 0.45, 0.08), (0.85, 0.75, 0.2)])
    sketch = Sketch("vehicle.construction")
    for side in (-1, 1):
        profile = [(-1.5, 0.05), (1.5, 0.05), (1.85, 0.4), (1.6, 0.75), (-1.6, 0.75), (-1.85, 0.4)]
        sketch.prism(
            [(x * size, z * size) for x, z in profile],
            (side * 1.25 * size - 0.27, side * 1.25 * size + 0.27),
            "steel_dark",
        )
    sketch.box((0, 0, 0.75 * size), (1.9 * size, 1.9 * size, 0.35 * size), "steel_dark")
    sketch.prism(
        [
            (x * size, z * size)
            for x, z in ((-2.2, 0.95), (0.2, 0.95), (0.2, 1.85), (-1.9, 1.95), (-2.3, 1.6))
        ],
        (-1.2 * size, 1.2 * size),
        "paint",
        colour,
    )
    cab = [(0.1, 0.95), (1.35, 0.95), (1.45, 1.7), (1.05, 2.75), (0.1, 2.75)]
    sketch.prism(
        [(x * size, z * size) for x, z in cab], (0.25 * size, 1.15 * size), "paint", colour
    )
    sketch.polygon(
        [
            (1.47 * size, 0.3 * size, 1.6 * size),
            (1.47 * size, 1.1 * size, 1.6 * size),
            (1.09 * size, 1.1 * size, 2.7 * size),
            (1.09 * size, 0.3 * size, 2.7 * size),
        ],
        "glass",
    )
    lift, reach = rng.uniform(0.6, 1.0), rng.uniform(-1.3, -0.5)
    knee = np.array([0.9 + 3.1 * np.cos(lift), -0.15, 1.5 + 3.1 * np.sin(lift)])
    wrist = knee + 2.2 * np.array([np.cos(reach), 0.0, np.sin(reach)])
    wrist[2] = max(wrist[2], 0.9)
    for start, end, thick in ((np.array([0.5, -0.15, 1.4]), knee, 0.24), (knee, wrist, 0.18)):
        sketch.tube(
            np.stack([start, (start + end) / 2 + (0, 0, 0.2), end]) * size,
            [thick * size, thick * 1.2 * size, thick * 0.8 * size],
            "paint",
            colour,
        )
    bucket = [(0.0, 0.15), (0.45, 0.0), (0.35, -0.6), (-0.1, -0.75), (-0.25, -0.3)]
    sketch.prism(
        [((wrist[0] + x) * size, (wrist[2] + z) * size) for x, z in bucket],
        (-0.65 * size, 0.35 * size),
        "steel_dark",
    )
    return sketch.mesh()


def draw_loader(rng: np.random.Generator) -> Mesh:
    """A wheel loader, ``vehicle.construction``."""
    colour = rng.choice([(0.95, 0.70, 0.08), (0.92, 0.80, 0.25)])
    lift = float(rng.uniform(0.0, 1.0))
    sketch = Sketch("vehicle.construction")
    sketch.prism(
        [(-2.9, 0.8), (-0.4, 0.7), (-0.4, 1.9), (-2.6, 1.8)], (-0.75, 0.75), "paint", colour
    )
    sketch.prism([(-0.4, 0.7), (1.5, 0.6), (1.5, 1.2), (-0.4, 1.5)], (-0.55, 0.55), "paint", colour)
    sketch.prism(
        [(-0.7, 1.5), (0.6, 1.5), (0.75, 2.2), (0.5, 3.15), (-0.7, 3.15)],
        (-0.65, 0.65),
        "paint",
        colour,
    )
    for side in (-0.66, 0.66):
        sketch.polygon(
            [(-0.55, side, 1.95), (0.6, side, 1.95), (0.45, side, 3.0), (-0.55, side, 3.0)], "glass"
        )
        for x in (-1.7, 1.3):
            sketch.wheel((x, side * 1.45, 0.7), 0.7, 0.5, "paint")
    wrist = (2.9, 0.45 + 1.3 * lift)
    for side in (-0.45, 0.45):
        sketch.tube(
            [(0.4, side, 1.6), (1.8, side, 1.25 + 0.6 * lift), (wrist[0], side, wrist[1])],
            0.14,
            "paint",
            colour,
        )
    bucket = [(0.0, 0.5), (-0.2, 0.0), (0.1, -0.4), (1.0, -0.4), (0.4, 0.0)]
    sketch.prism([(wrist[0] + x, wrist[1] + z) for x, z in bucket], (-1.3, 1.3), "steel_dark")
    return sketch.mesh()


def draw_roller(rng: np.random.Generator) -> Mesh:
    """A road roller, ``vehicle.construction``."""
    size = float(rng.uniform(0.85, 1.1))
    sketch = Sketch("vehicle.construction")
    sketch.tube(
        [(1.5 * size, -0.95 * size, 0.65 * size), (1.5 * size, 0.95 * size, 0.65 * size)],
        0.65 * size,
        "metal",
        sides=14,
    )
    sketch.prism(
        [(x * size, z * size) for x, z in ((-2.2, 0.6), (0.7, 0.6), (0.7, 1.3), (-2.0, 1.5))],
        (-0.8 * size, 0.8 * size),
        "paint",
        (0.95, 0.72, 0.1),
    )
    for side in (-1, 1):
        sketch.box(
            (1.4 * size, side * 1.02 * size, 0.8 * size),
            (1.7 * size, 0.1, 0.3),
            "paint",
            (0.95, 0.72, 0.1),
        )
        sketch.wheel((-1.3 * size, side * 0.75 * size, 0.65 * size), 0.65 * size, 0.45, "paint")
        for x in (-1.0, 0.5):
            sketch.box(
                (x * size, side * 0.65 * size, 2.0 * size), (0.07, 0.07, 1.4 * size), "steel_dark"
            )
    sketch.box(
        (-0.25 * size, 0, 2.7 * size), (1.9 * size, 1.6 * size, 0.08), "paint", (0.95, 0.72, 0.1)
    )
    sketch.box((-0.3 * size, 0, 1.6 * size), (0.5, 0.6, 0.7), "plastic_dark")
    return sketch.mesh()


def draw_trailer(rng: np.random.Generator, kind: str) -> Mesh:
    """A trailer on its own: ``semi`` (9 to 13 m box), ``container`` or ``light`` (3 to 5 m,
    drawbar), ``vehicle.trailer``.
    """
    sketch = Sketch("vehicle.trailer")
    if kind == "light":
        length, width, wall = (
            float(rng.uniform(2.8, 4.6)),
            float(rng.uniform(1.7, 2.1)),
            float(rng.uniform(0.5, 1.7)),
        )
        colour = rng.choice([(0.9, 0.9, 0.9), (0.5, 0.5, 0.52), (0.9, 0.6, 0.1)])
        sketch.box((0, 0, 0.62 + wall / 2), (length, width, wall), "paint", colour)
        sketch.tube(
            [(length / 2, -0.4, 0.5), (length / 2 + 1.1, 0, 0.5), (length / 2, 0.4, 0.5)],
            0.05,
            "steel_dark",
        )
        sketch.box((length / 2 + 0.9, 0, 0.25), (0.08, 0.08, 0.5), "steel_dark")
        for side in (-1, 1):
            sketch.wheel((-0.15 * length, side * (width / 2 + 0.08), 0.32), 0.32, 0.2, "metal")
            sketch.box((-length / 2, side * width * 0.4, 0.66), (0.05, 0.2, 0.1), "taillight")
        return sketch.mesh()
    length, width = float(rng.uniform(9.0, 13.0)), 2.5
    top = 3.9 if kind == "semi" else 3.75
    colour = rng.choice(
        [
            (0.95, 0.95, 0.95),
            (0.7, 0.72, 0.75),
            (0.62, 0.25, 0.16),
            (0.16, 0.32, 0.55),
            (0.2, 0.42, 0.3),
        ]
    )
    sketch.box((0, 0, (1.2 + top) / 2), (length, width, top - 1.2), "paint", colour)
    if kind == "container":
        for x in np.arange(-length / 2 + 0.3, length / 2, 0.6):
            for side in (-1, 1):
                sketch.box(
                    (x, side * width / 2, (1.25 + top) / 2),
                    (0.25, 0.06, top - 1.4),
                    "paint",
                    colour,
                )
    for side in (-1, 1):
        sketch.box((0, side * 0.45, 1.05), (length * 0.95, 0.14, 0.3), "steel_dark")
        sketch.box((length * 0.22, side * 0.6, 0.55), (0.14, 0.14, 1.1), "steel_dark")
        sketch.box((-length / 2, side * width * 0.4, 1.1), (0.06, 0.35, 0.15), "taillight")
        for x in (-length / 2 + 1.4, -length / 2 + 2.7):
            sketch.wheel((x, side * (width / 2 - 0.2), 0.5), 0.5, 0.35, "metal")
    sketch.box(
        (-length / 2 - 0.03, 0, 0.55), (0.06, width * 0.9, 0.12), "retro_white", (0.9, 0.5, 0.3)
    )
    return sketch.mesh()


def _spoked_wheel(sketch: Sketch, x: float, radius: float, thick: float, spokes: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 13)
    rim = np.stack(
        [
            x + (radius - thick) * np.cos(angle),
            np.zeros(13),
            radius + (radius - thick) * np.sin(angle),
        ],
        axis=1,
    )
    sketch.tube(rim, thick, "tyre", sides=4)
    for turn in np.arange(spokes) * np.pi / spokes:
        reach = (radius - thick) * np.array([np.cos(turn), 0, np.sin(turn)])
        sketch.tube(
            [np.array([x, 0, radius]) - reach, np.array([x, 0, radius]) + reach],
            0.012,
            "chrome",
            sides=3,
        )


def draw_bicycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """A bicycle, with its rider where ``rider``, ``vehicle.bicycle``."""
    sketch = Sketch("vehicle.bicycle")
    size = float(rng.uniform(0.92, 1.06))
    radius = 0.335 * size
    colour = paint(rng)
    rear, front = (-0.52 * size, 0.0, radius), (0.53 * size, 0.0, radius)
    crank, seat, head = (
        (-0.08 * size, 0.0, 0.29),
        (-0.22 * size, 0.0, 0.88 * size),
        (0.38 * size, 0.0, 0.86 * size),
    )
    for x in (rear[0], front[0]):
        _spoked_wheel(sketch, x, radius, 0.022, 5)
    for start, end in (
        (rear, crank),
        (rear, seat),
        (crank, seat),
        (crank, head),
        (seat, head),
        (front, head),
    ):
        sketch.tube([start, end], 0.02, "paint", colour, sides=4)
    bar = (0.36 * size, 0.0, 1.0 * size)
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
            hands=(bar[0], 0.26, bar[2]),
            feet=(crank[0] + 0.05, 0.12, 0.22),
            helmet=rng.random() < 0.6,
        )
    return sketch.mesh()


def draw_motorcycle(rng: np.random.Generator, rider: bool) -> Mesh:
    """A motorcycle or scooter, with its rider where ``rider``, ``vehicle.motorcycle``."""
    sketch = Sketch("vehicle.motorcycle")
    colour = paint(rng)
    scooter = rng.random() < 0.5
    radius, half = (0.25, 0.62) if scooter else (0.31, 0.70)
    for x in (-half, half):
        sketch.tube([(x, -0.065, radius), (x, 0.065, radius)], radius, "tyre", sides=12)
        sketch.tube([(x, -0.07, radius), (x, 0.07, radius)], radius * 0.5, "metal", sides=6)
    for side in (-0.09, 0.09):
        sketch.tube([(half, side, radius), (half - 0.28, side, 0.95)], 0.03, "chrome", sides=5)
    sketch.tube(
        [(half - 0.3, -0.35, 1.03), (half - 0.25, 0.0, 0.98), (half - 0.3, 0.35, 1.03)],
        0.022,
        "steel_dark",
        sides=4,
    )
    sketch.blob((half - 0.18, 0, 0.85), (0.14, 0.12, 0.13), "headlight")
    if scooter:
        sketch.prism(
            [(0.05, 0.2), (0.45, 0.25), (0.42, 0.95), (0.33, 0.95), (0.27, 0.35), (0.05, 0.3)],
            (-0.19, 0.19),
            "paint",
            colour,
        )
        sketch.prism(
            [(-0.85, 0.5), (-0.1, 0.22), (0.08, 0.3), (0.0, 0.68), (-0.8, 0.72)],
            (-0.17, 0.17),
            "paint",
            colour,
        )
    else:
        sketch.prism([(-0.25, 0.25), (0.3, 0.25), (0.4, 0.6), (-0.2, 0.6)], (-0.17, 0.17), "metal")
        sketch.blob((0.12, 0, 0.76), (0.32, 0.16, 0.17), "paint", colour, finer=True)
        sketch.tube([(0.0, -0.16, 0.3), (-0.85, -0.18, 0.45)], 0.06, "chrome")
    sketch.prism(
        [(-0.85, 0.74), (-0.1, 0.7), (-0.05, 0.78), (-0.8, 0.84)], (-0.14, 0.14), "plastic_dark"
    )
    sketch.box((-0.88, 0, 0.72), (0.05, 0.12, 0.08), "taillight")
    sketch.box((-0.93, 0, 0.55), (0.02, 0.18, 0.14), "plate")
    if rng.random() < 0.35:
        sketch.box((-0.8, 0, 1.03), (0.42, 0.45, 0.4), "paint", paint(rng))
    if rider:
        draw_rider(
            sketch,
            rng,
            hip=(-0.3, 0.0, 0.88),
            hands=(half - 0.3, 0.3, 1.04),
            feet=(0.1, 0.2, 0.3),
            helmet=True,
        )
    return sketch.mesh()
