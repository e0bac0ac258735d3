"""Divides the land along the main road into rectangular plots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.world.places.road.layout import RoadPlan, cut_out


@dataclass(frozen=True)
class Plot:
    """A rectangle in road coordinates; its near edge is the one towards the main road."""

    side: int
    """Side of the main road: +1 left, -1 right."""
    s0: float
    s1: float
    near_d: float
    far_d: float
    on_street: bool
    """Whether it adjoins the main road instead of another plot."""

    @property
    def middle(self) -> tuple[float, float]:
        """s and d of its middle."""
        return (self.s0 + self.s1) / 2, (self.near_d + self.far_d) / 2

    @property
    def width(self) -> float:
        """Metres along the main road."""
        return self.s1 - self.s0

    @property
    def depth(self) -> float:
        """Metres away from the main road."""
        return abs(self.far_d - self.near_d)

    @property
    def gate_s(self) -> float:
        """The s of the middle of the near edge, in half metres."""
        return round((self.s0 + self.s1) / 2 * 2) / 2

    @property
    def turn(self) -> float:
        """Yaw from the road's direction of a thing whose y axis leads away from the road."""
        return 0.0 if self.side > 0 else np.pi

    def d_at(self, depth: float) -> float:
        """The d of what lies ``depth`` metres behind the near edge."""
        return self.near_d + self.side * depth


def divide_into_plots(rng: np.random.Generator, plan: RoadPlan) -> list[Plot]:
    """All plots between the cross streets on both sides of the main road, in several rows."""
    plots = []
    for side in (-1, 1):
        blocks = [plan.s_range_m]
        for cross in plan.crossings:
            if side in cross.sides:
                outer = cross.half_m + cross.pavement_m
                blocks = cut_out(blocks, cross.s_m - outer, cross.s_m + outer, shortest=8)
        limit = abs(plan.d_range_m[0] if side < 0 else plan.d_range_m[1])
        for start, end in blocks:
            near, on_street = plan.plots_m(side), True
            while limit - near > 10:
                depth = round(float(rng.uniform(20, 34)) * 2) / 2
                if limit - near - depth < 10:
                    depth = limit - near
                for s0, s1 in _cut(rng, start, end, 14.0, 38.0):
                    plots.append(Plot(side, s0, s1, side * near, side * (near + depth), on_street))
                near, on_street = near + depth, False
    return plots


def _cut(
    rng: np.random.Generator, start: float, end: float, shortest: float, longest: float
) -> list[tuple[float, float]]:
    """Pieces of random lengths in half metres."""
    pieces = []
    while end - start > 1.2 * shortest:
        length = round(float(rng.uniform(shortest, longest)) * 2) / 2
        stop = end if end - start - length < shortest else start + length
        pieces.append((start, stop))
        start = stop
    return pieces
