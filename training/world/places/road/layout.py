"""The road plan: a curved main road with cross streets.

Road coordinates (s, d) are metres along the main road and to its left; side +1 of the road is
where d > 0 (left), side -1 where d < 0 (right).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELL_M = 0.5
"""Edge of a cell of the ground raster; all widths of the plan are multiples of it."""

_BANK_END_M = 25.0
"""Way along the road in which a bank runs out towards a cross street."""


@dataclass(frozen=True)
class Bank:
    """A slope beside the road, which keeps its height beyond it."""

    rise_m: float
    """Height of the land beyond it above the road; negative where the road lies on a dam."""
    width_m: float


@dataclass(frozen=True)
class RoadSide:
    """Widths in metres of the strips between carriageway and plots, from the inside outwards."""

    bay_m: float
    """Parking bay, 0 for none."""
    verge_m: float
    pavement_m: float
    forecourt_m: float
    verge: str = "grass"
    """Surface of the verge."""
    pavement: str = "pavement"
    """Surface of the pavement; terrain where there is none."""
    bay: str = "road"
    """Surface of the parking bay."""
    bank: Bank = Bank(0.0, 0.0)
    """It begins behind the pavement."""


@dataclass(frozen=True)
class CrossStreet:
    """A street that crosses the main road, or ends at it."""

    s_m: float
    half_m: float
    """Half the width of its carriageway: one or two lanes in each direction."""
    pavement_m: float
    corner_m: float
    """Radius of the kerb at its corners."""
    sides: tuple[int, ...]
    """Sides of the main road that it extends to: +1 left, -1 right."""


@dataclass(frozen=True)
class RoadPlan:
    """The streets, which the rest of the town is built around."""

    driving_side: int
    """Side of the road one drives on: -1 right, +1 left."""
    lane_m: float
    lanes: int
    """Lanes in each direction."""
    median_m: float
    sides: dict[int, RoadSide]
    """+1 left, -1 right of the main road."""
    crossings: tuple[CrossStreet, ...]
    s_range_m: tuple[float, float]
    d_range_m: tuple[float, float]
    total_turn_rad: float
    heading_rad: float
    """Direction at the start of the main road."""
    relief: np.ndarray
    """float64 [W, 4]: amplitude, wave number along s, along d, phase of each swell of the ground.
    """
    is_marked: bool = True
    """Whether lines are painted on the roads."""
    has_signals: bool = True
    """Whether the crossings have traffic lights."""

    @property
    def edge_m(self) -> float:
        """Distance of the outermost lane's outer edge from the middle of the road."""
        return self.median_m / 2 + self.lanes * self.lane_m

    @property
    def reach_m(self) -> float:
        """The larger distance of the plan's two borders from the middle of the road."""
        return max(map(abs, self.d_range_m))

    def kerb_m(self, side: int) -> float:
        """Distance of the kerb from the middle of the road."""
        return self.edge_m + self.sides[side].bay_m

    def pavement_m(self, side: int) -> tuple[float, float]:
        """Distances of the pavement's edges from the middle of the road."""
        start = self.kerb_m(side) + self.sides[side].verge_m
        return start, start + self.sides[side].pavement_m

    def plots_m(self, side: int) -> float:
        """Distance from the middle of the road at which the plots begin."""
        return self.pavement_m(side)[1] + self.sides[side].forecourt_m

    def lane_d(self, lane: int, forward: bool = True) -> float:
        """The d of a lane's middle; lane 0 is next to the middle of the road."""
        side = self.driving_side if forward else -self.driving_side
        return side * (self.median_m / 2 + self.lane_m * (lane + 0.5))

    def away_from_crossings(
        self, start: float, end: float, margin_m: float, shortest_m: float
    ) -> list[tuple[float, float]]:
        """Stretches of the main road at least ``margin_m`` from the corners of crossings.

        Args:
            start, end: the s between which they lie.
            shortest_m: leaves out stretches that are not longer than this.
        """
        stretches = [(start, end)]
        for cross in self.crossings:
            clear = cross.half_m + cross.corner_m + margin_m
            stretches = cut_out(stretches, cross.s_m - clear, cross.s_m + clear, shortest_m)
        return stretches

    def heading(self, s: np.ndarray | float) -> np.ndarray:
        """Direction of the main road in radians from the world's x axis."""
        start, end = self.s_range_m
        fraction = np.clip((np.asarray(s, float) - start) / (end - start), 0.0, 1.0)
        return self.heading_rad + self.total_turn_rad * fraction

    def world(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """World x, y ``[..., 2]`` in metres of points in road coordinates."""
        s, d = np.asarray(s, float), np.asarray(d, float)
        start, end = self.s_range_m
        inside = np.clip(s, start, end)
        beyond = s - inside
        heading = self.heading(s)
        # One arc over the plan's range, a straight line before and behind it.
        curvature = self.total_turn_rad / (end - start)
        if abs(curvature) < 1e-9:
            x = (inside - start) * np.cos(self.heading_rad)
            y = (inside - start) * np.sin(self.heading_rad)
        else:
            x = (np.sin(heading) - np.sin(self.heading_rad)) / curvature
            y = (np.cos(self.heading_rad) - np.cos(heading)) / curvature
        x = x + beyond * np.cos(heading) - d * np.sin(heading)
        y = y + beyond * np.sin(heading) + d * np.cos(heading)
        return np.stack([x, y], axis=-1)

    def base_height(self, s: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """Height in metres of the carriageway, or of the level from which kerbs are measured."""
        s, d = np.asarray(s, float), np.asarray(d, float)
        # The camber that drains a road: 6 cm at 7 m from its middle.
        height = -0.0012 * np.minimum(np.abs(d), self.edge_m) ** 2
        for amplitude, along, across, phase in self.relief:
            height = height + amplitude * np.sin(along * s + across * d + phase)
        for side, parts in self.sides.items():
            if parts.bank.rise_m:
                height = height + self._bank_height(side, s, d)
        return height

    def _bank_height(self, side: int, s: np.ndarray, d: np.ndarray) -> np.ndarray:
        """What the bank of one side adds to the height; near cross streets it runs out."""
        bank = self.sides[side].bank
        height = bank.rise_m * _ease((side * d - self.pavement_m(side)[1]) / bank.width_m)
        for cross in self.crossings:
            outer = cross.half_m + cross.pavement_m
            height = height * _ease((np.abs(s - cross.s_m) - outer) / _BANK_END_M)
        return height


def _ease(fraction: np.ndarray) -> np.ndarray:
    """Rises smoothly from 0 to 1 while the fraction does, without kinks at its ends."""
    inside = np.clip(fraction, 0.0, 1.0)
    return inside * inside * (3.0 - 2.0 * inside)


def cut_out(
    intervals: list[tuple[float, float]], low: float, high: float, shortest: float
) -> list[tuple[float, float]]:
    """Removes what lies between ``low`` and ``high``; keeps pieces longer than ``shortest``."""
    pieces = [piece for a, b in intervals for piece in ((a, min(b, low)), (max(a, high), b))]
    return [(a, b) for a, b in pieces if b - a > shortest]


def plan_roads(
    rng: np.random.Generator,
    region: str,
    length_m: float,
    crossing_s: list[float],
    reach_m: tuple[float, float],
) -> RoadPlan:
    """Plans the streets for a drive that starts at s = 0 on the main road.

    Args:
        region: one of ``taxonomy.REGIONS``.
        length_m: how far the drive follows the main road.
        crossing_s: where streets cross, in metres.
        reach_m: d of the drive's outermost points: right (negative) and left.
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
            pavement_m=_round_to_cells(rng.uniform(2.0, 4.0)),
            forecourt_m=_round_to_cells(rng.uniform(0.0, 5.0)),
        )
        for side in (-1, 1)
    }
    crossings = tuple(
        CrossStreet(
            s_m=_round_to_cells(s),
            half_m=lane if rng.random() < 0.75 else 2 * lane,
            pavement_m=_round_to_cells(rng.uniform(2.0, 3.0)),
            corner_m=_round_to_cells(rng.uniform(4.0, 7.0)),
            sides=(-1, 1) if index == 0 or rng.random() < 0.6 else (int(rng.choice([-1, 1])),),
        )
        for index, s in enumerate(crossing_s)
    )
    relief = _draw_relief(rng)
    turn = 0.0 if rng.random() < 0.4 else float(rng.uniform(0.15, 0.8) * rng.choice([-1, 1]))
    return RoadPlan(
        driving_side=-1 if boston else 1,
        lane_m=lane,
        lanes=lanes,
        median_m=median,
        sides=sides,
        crossings=crossings,
        # 110 m before and after the drive and 80 m to its sides, rounded up to tens of metres.
        s_range_m=(-110.0, float(10 * np.ceil((length_m + 110) / 10))),
        d_range_m=(
            float(10 * np.floor((reach_m[0] - 80) / 10)),
            float(10 * np.ceil((reach_m[1] + 80) / 10)),
        ),
        total_turn_rad=turn,
        heading_rad=float(rng.uniform(-np.pi, np.pi)),
        relief=relief,
    )


def _draw_relief(rng: np.random.Generator) -> np.ndarray:
    """Three swells of the ground in random directions, as ``RoadPlan.relief``."""
    amplitude, wavelength = np.array([0.25, 0.10, 0.04]), np.array([90.0, 55.0, 33.0])  # metres
    angle = rng.uniform(0, 2 * np.pi, 3)
    number = 2 * np.pi / (wavelength * rng.uniform(0.9, 1.3, 3))
    return np.stack(
        [
            amplitude * rng.uniform(0.4, 1.0, 3),
            number * np.cos(angle),
            number * np.sin(angle),
            rng.uniform(0, 6.28, 3),
        ],
        axis=1,
    )


def _round_to_cells(value_m: float) -> float:
    return round(value_m / CELL_M) * CELL_M
