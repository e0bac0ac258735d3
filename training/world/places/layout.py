"""The road plan: a curved main road with cross streets, in road coordinates (s along the road, d to
its left).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL_M = 0.5
"""Every width of the plan is a multiple of this, the cell of the ground raster."""


@dataclass(frozen=True)
class RoadSide:
    """What lies between the carriageway and the plots on one side, widths in metres from the middle
    outwards.
    """

    bay_m: float
    verge_m: float
    walk_m: float
    front_m: float


@dataclass(frozen=True)
class CrossStreet:
    """A street that crosses the main road, or ends at it, at ``s_m``."""

    s_m: float
    half_m: float
    """Half the width of its carriageway: one lane a direction, or two."""
    walk_m: float
    corner_m: float
    """Radius of the kerb at its corners."""
    arms: tuple[int, ...]
    """Sides of the main road that it reaches: +1 left, -1 right."""


@dataclass(frozen=True)
class RoadPlan:
    """Everything about the streets that the rest of the town is built around."""

    region: str
    traffic: int
    """+1 where one drives on the right, -1 on the left."""
    lane_m: float
    lanes: int
    """Lanes a direction."""
    median_m: float
    sides: dict[int, RoadSide]
    """+1 left, -1 right of the main road."""
    crossings: tuple[CrossStreet, ...]
    s_range_m: tuple[float, float]
    d_range_m: tuple[float, float]
    total_turn_rad: float
    heading_rad: float
    relief: np.ndarray
    """float64 [W, 4]: amplitude, wave number along s, along d, phase of each swell of the ground.
    """

    @property
    def edge_m(self) -> float:
        """Outer edge of the outermost lane."""
        return self.median_m / 2 + self.lanes * self.lane_m

    def kerb_m(self, side: int) -> float:
        """Distance of the kerb from the middle."""
        return self.edge_m + self.sides[side].bay_m

    def walk_m(self, side: int) -> tuple[float, float]:
        """The pavement's edges."""
        start = self.kerb_m(side) + self.sides[side].verge_m
        return start, start + self.sides[side].walk_m

    def plots_m(self, side: int) -> float:
        """Where plots begin."""
        return self.walk_m(side)[1] + self.sides[side].front_m

    def lane_d(self, lane: int, forward: bool = True) -> float:
        """Middle of a lane; 0 is the lane next to the road's middle."""
        return (
            -self.traffic
            * (self.median_m / 2 + self.lane_m * (lane + 0.5))
            * (1 if forward else -1)
        )

    def heading(self, s: np.ndarray | float) -> np.ndarray:
        """Direction of the main road, radians."""
        start, end = self.s_range_m
        share = np.clip((np.asarray(s, float) - start) / (end - start), 0.0, 1.0)
        return self.heading_rad + self.total_turn_rad * share

    def world(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Road coordinates to world x, y: ``[..., 2]``. Straight, then one arc over the plan's
        range, then straight.
        """
        s, d = np.asarray(s, float), np.asarray(d, float)
        start, end = self.s_range_m
        inside = np.clip(s, start, end)
        outside = s - inside
        heading = self.heading(s)
        curvature = self.total_turn_rad / (end - start)
        if abs(curvature) < 1e-9:
            x, y = (
                (inside - start) * np.cos(self.heading_rad),
                (inside - start) * np.sin(self.heading_rad),
            )
        else:
            x = (np.sin(heading) - np.sin(self.heading_rad)) / curvature
            y = (np.cos(self.heading_rad) - np.cos(heading)) / curvature
        x = x + outside * np.cos(heading) - d * np.sin(heading)
        y = y + outside * np.sin(heading) + d * np.cos(heading)
        return np.stack([x, y], axis=-1)

    def base_height(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Height of the carriageway's surface, also where other ground lies upon it."""
        s, d = np.asarray(s, float), np.asarray(d, float)
        height = -0.0012 * np.minimum(np.abs(d), self.edge_m) ** 2
        for amplitude, along, across, phase in self.relief:
            height = height + amplitude * np.sin(along * s + across * d + phase)
        return height


def _half_metres(value: float) -> float:
    return round(value / CELL_M) * CELL_M


def plan_roads(
    rng: np.random.Generator,
    region: str,
    length_m: float,
    crossing_s: list[float],
    reach_m: tuple[float, float],
) -> RoadPlan:
    """Streets for a drive that starts at s = 0 and runs ``length_m`` along the main road.

    Args:
        crossing_s: where streets cross, metres.
        reach_m: how far the drive leaves the main road, to the right (negative d) and to the left.
    """
    boston = region == "boston-seaport"
    lane = float(rng.choice([3.0, 3.5]) if not boston else 3.5)
    lanes = int(rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]))
    median = float(rng.choice([0.0, 0.0, 2.0, 3.0])) if lanes > 1 else 0.0
    bays = {side: 2.5 if rng.random() < 0.55 else 0.0 for side in (-1, 1)}
    if not any(bays.values()):
        bays[int(rng.choice([-1, 1]))] = 2.5
    sides = {
        side: RoadSide(
            bay_m=bays[side],
            verge_m=float(rng.choice([0.0, 1.5, 2.0, 3.0])),
            walk_m=_half_metres(rng.uniform(2.0, 4.0)),
            front_m=_half_metres(rng.uniform(0.0, 5.0)),
        )
        for side in (-1, 1)
    }
    crossings = tuple(
        CrossStreet(
            s_m=_half_metres(s),
            half_m=lane if rng.random() < 0.75 else 2 * lane,
            walk_m=_half_metres(rng.uniform(2.0, 3.0)),
            corner_m=_half_metres(rng.uniform(4.0, 7.0)),
            arms=(-1, 1) if index == 0 or rng.random() < 0.6 else (int(rng.choice([-1, 1])),),
        )
        for index, s in enumerate(crossing_s)
    )
    waves = np.array([(0.25, 90.0), (0.10, 55.0), (0.04, 33.0)])
    angle = rng.uniform(0, 2 * np.pi, 3)
    number = 2 * np.pi / (waves[:, 1] * rng.uniform(0.9, 1.3, 3))
    relief = np.stack(
        [
            waves[:, 0] * rng.uniform(0.4, 1.0, 3),
            number * np.cos(angle),
            number * np.sin(angle),
            rng.uniform(0, 6.28, 3),
        ],
        axis=1,
    )
    turn = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.15, 0.8) * rng.choice([-1, 1]))
    low, high = (10 * np.floor((reach_m[0] - 80) / 10), 10 * np.ceil((reach_m[1] + 80) / 10))
    return RoadPlan(
        region=region,
        traffic=1 if boston else -1,
        lane_m=lane,
        lanes=lanes,
        median_m=median,
        sides=sides,
        crossings=crossings,
        s_range_m=(-110.0, float(10 * np.ceil((length_m + 110) / 10))),
        d_range_m=(float(low), float(high)),
        total_turn_rad=turn,
        heading_rad=float(rng.uniform(-np.pi, np.pi)),
        relief=relief,
    )
