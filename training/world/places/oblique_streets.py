"""Streets that leave the main road at an angle, with what stands along them.

Real streets fork, and lead away in any direction; the cross streets of the plan do not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.land_parts import put_border
from training.world.places.plots import Plot
from training.world.places.road.layout import CELL_M
from training.world.places.stage import Stage
from training.world.things.houses import draw_house
from training.world.things.meshes import footprint_size

_LENGTH_M = 75.0
_BORDERS = ("wall", "fence", "fence", "hedge", "open")
_STREET = ("road", "parking", "drive", "pavement", "dropped")


@dataclass(frozen=True)
class ObliqueStreet:
    """A street through the plots on one side of the main road."""

    side: int
    """Side of the main road: +1 left, -1 right."""
    points_sd: np.ndarray
    """Its middle, ``[N, 2]`` in road coordinates, from the main road outwards."""
    heading: np.ndarray
    """``[N]``, its direction from the main road's, in radians."""
    half_m: float
    """Half the width of its carriageway."""
    pavement_m: float

    @property
    def outer_m(self) -> float:
        """Distance of its pavements' outer edges from its middle."""
        return self.half_m + self.pavement_m

    def crosses(self, plot: Plot) -> bool:
        """Whether it leads through a plot, or along its border."""
        (s, d), margin = self.points_sd.T, self.outer_m + 1.0
        near, far = sorted((plot.near_d, plot.far_d))
        along = (s > plot.s0 - margin) & (s < plot.s1 + margin)
        return bool((along & (d > near - margin) & (d < far + margin)).any())

    def beside(self, number: int, distance_m: float) -> tuple[float, float]:
        """The s and d of what lies ``distance_m`` to the left of one of its points."""
        turn = self.heading[number]
        offset = distance_m * np.array([-np.sin(turn), np.cos(turn)])
        s, d = self.points_sd[number] + offset
        return float(s), float(d)


def plan_oblique_streets(stage: Stage) -> list[ObliqueStreet]:
    """At most one street on each side, as frequent as they are in the district."""
    rng, plan, share = stage.rng, stage.plan, stage.district.oblique_share
    if not share:
        return []  # without a draw of a random number: the plain town stays what it is
    streets = []
    for side in (-1, 1):
        if plan.sides[side].bank.rise_m or rng.random() >= share:
            continue
        ego_s = stage.ego_sd[:, 0]
        start = np.array([rng.uniform(ego_s.min() - 15, ego_s.max() + 35), side * plan.edge_m])
        angle = float(np.radians(rng.uniform(25, 75)))
        angle = side * (angle if rng.random() < 0.5 else np.pi - angle)
        way = np.arange(0.0, _LENGTH_M, CELL_M)
        heading = angle + float(rng.normal(0.0, 0.006)) * way
        steps = CELL_M * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        half, pavement = rng.choice([2.5, 3.0, 3.5]), rng.choice([0.0, 2.0, 3.0, 4.0])
        streets.append(
            ObliqueStreet(
                side, start + np.cumsum(steps, axis=0), heading, float(half), float(pavement)
            )
        )
    return streets


def build_oblique_street(stage: Stage, street: ObliqueStreet) -> None:
    """Paves the street, parks cars at its kerbs, and puts borders, trees and houses behind them."""
    carriageway = ("road", "parking")
    if street.pavement_m:
        stage.ground.paint_band("pavement", street.points_sd, street.outer_m, *carriageway)
    stage.ground.paint_band("road", street.points_sd, street.half_m, *carriageway)
    for side in (-1, 1):
        _park(stage, street, side)
        _line(stage, street, side)
        _build_houses(stage, street, side)


def _park(stage: Stage, street: ObliqueStreet, side: int) -> None:
    """Cars at one kerb; some streets have none."""
    rng = stage.rng
    share = float(rng.choice([0.0, 0.3, 0.7]))
    for number in range(20, len(street.points_sd) - 10, round(6.5 / CELL_M)):
        if rng.random() > share:
            continue
        mesh = stage.catalogue.car()
        length, width = footprint_size(mesh)
        s, d = street.beside(number, side * (street.half_m - width / 2 - 0.1))
        turn = float(street.heading[number]) + rng.choice([0.0, np.pi]) + rng.normal(0, 0.02)
        ends = np.array([-0.5, 0.0, 0.5]) * length
        if stage.ground.is_surface(s + ends * np.cos(turn), d + ends * np.sin(turn), "road").all():
            stage.add_actor(mesh, stage.on_road(s, d, turn), "vehicle.parked")


def _line(stage: Stage, street: ObliqueStreet, side: int) -> None:
    """Borders behind one pavement, in pieces, and trees between or behind them."""
    rng = stage.rng
    behind = side * (street.outer_m + 0.6)
    number = 12
    while number < len(street.points_sd) - 4:
        last = min(number + round(rng.uniform(5, 14) / CELL_M), len(street.points_sd) - 1)
        start, end = street.beside(number, behind), street.beside(last, behind)
        if not _is_paved(stage, start) and not _is_paved(stage, end):
            put_border(stage, str(rng.choice(_BORDERS)), start, end)
        tree = street.beside(number, side * (street.outer_m + rng.uniform(1.5, 6.0)))
        if rng.random() < 0.6 and not _is_paved(stage, tree):
            stage.tree(*tree)
        number = last + round(rng.uniform(0, 5) / CELL_M)


def _build_houses(stage: Stage, street: ObliqueStreet, side: int) -> None:
    """Houses along one side, where the land is free."""
    rng = stage.rng
    if rng.random() < 0.3:
        return
    for number in range(40, len(street.points_sd) - 20, round(18.0 / CELL_M)):
        width, depth = rng.uniform(8.0, 14.0), rng.uniform(7.0, 11.0)
        front = side * (street.outer_m + rng.uniform(2.0, 5.0))
        middle = street.beside(number, front + side * depth / 2)
        half = float(np.hypot(width, depth)) / 2
        if not _is_free(stage, street, middle, half):
            continue
        # The house's y axis leads away from the street.
        turn = float(street.heading[number]) + (0.0 if side > 0 else np.pi)
        stage.put_once(draw_house(rng, width, depth), *street.beside(number, front), turn)
        stage.clearance.block(stage.plan.world(*middle)[None], half)


def _is_free(
    stage: Stage, street: ObliqueStreet, middle_sd: tuple[float, float], radius_m: float
) -> bool:
    """Whether nothing but open land lies within a circle."""
    s, d = middle_sd
    if abs(d) - radius_m < stage.plan.plots_m(street.side):
        return False
    angle = np.linspace(0.0, 2 * np.pi, 9)[:-1]
    rim = s + radius_m * np.cos(angle), d + radius_m * np.sin(angle)
    if stage.ground.is_surface(*rim, *_STREET).any():
        return False
    return stage.clearance.is_clear(stage.plan.world(s, d), radius_m)


def _is_paved(stage: Stage, point_sd: tuple[float, float]) -> bool:
    return bool(stage.ground.is_surface(*point_sd, *_STREET))
