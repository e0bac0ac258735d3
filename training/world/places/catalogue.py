"""The meshes that a town is furnished with, as they are typical of its region."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from training.world.scene import Mesh
from training.world.things.meshes import place_copies
from training.world.things.people import draw_pedestrian
from training.world.things.props.barriers import draw_cone, draw_jersey_barrier, draw_works_barrier
from training.world.things.vehicles.buses import draw_bus, draw_school_bus
from training.world.things.vehicles.cars import CAR_KINDS, draw_car, draw_pickup
from training.world.things.vehicles.cycles import draw_motorcycle
from training.world.things.vehicles.trucks import draw_lorry

_TRAFFIC = ("car", "bus", "lorry", "pickup", "motorcycle")
_BOSTON_TRAFFIC = (0.60, 0.08, 0.13, 0.10, 0.09)
_SINGAPORE_TRAFFIC = (0.60, 0.09, 0.14, 0.03, 0.14)
"""Frequencies of the kinds in ``_TRAFFIC``."""
_BOSTON_CARS = (0.2, 0.35, 0.28, 0.07, 0.10)
_SINGAPORE_CARS = (0.28, 0.32, 0.14, 0.14, 0.12)
"""Frequencies of the kinds in ``CAR_KINDS``."""
_WHITE, _BARRIER_RED = (1.0, 1.0, 1.0), (0.90, 0.30, 0.16)
_BOSTON_TAXI, _SINGAPORE_TAXI = (0.95, 0.75, 0.1), (0.15, 0.3, 0.75)
_BOSTON_BUS = (0.92, 0.92, 0.88)
_SINGAPORE_BUSES = ((0.25, 0.65, 0.25), (0.70, 0.12, 0.15), (0.45, 0.2, 0.5))


class Catalogue:
    """Draws meshes; the frequent ones are drawn once and then repeated."""

    def __init__(
        self, rng: np.random.Generator, tropical: bool, traffic: Mapping[str, float] | None = None
    ) -> None:
        self._rng, self._tropical = rng, tropical
        usual = _SINGAPORE_TRAFFIC if tropical else _BOSTON_TRAFFIC
        self._traffic = traffic or dict(zip(_TRAFFIC, usual, strict=True))
        self._templates: dict[str, Mesh] = {}

    def template(self, name: str, draw: Callable[[], Mesh]) -> Mesh:
        """The mesh of that name, drawn when it is first needed."""
        if name not in self._templates:
            self._templates[name] = draw()
        return self._templates[name]

    def pedestrian(self, kind: str, pose: str) -> Mesh:
        """One of 12 adults, 4 children or 4 workers in a pose, as in ``draw_pedestrian``."""
        variant = int(self._rng.integers(12 if kind == "adult" else 4))
        return self.template(
            f"{kind} {pose} {variant}", lambda: draw_pedestrian(self._rng, kind, pose)
        )

    def car(self, kind: str | None = None) -> Mesh:
        """One of eight cars of a kind, which is random if None."""
        kind = kind or str(self._rng.choice(CAR_KINDS))
        variant = int(self._rng.integers(8))
        return self.template(f"car {kind} {variant}", lambda: draw_car(self._rng, kind))

    def tall_van(self) -> Mesh:
        """One of four vans with a high roof, a ``vehicle.car``."""
        variant = int(self._rng.integers(4))
        return self.template(f"tall van {variant}", self._draw_tall_van)

    def _draw_tall_van(self) -> Mesh:
        scale = self._rng.uniform((1.1, 1.03, 1.12), (1.35, 1.12, 1.35))
        van = draw_car(self._rng, "van")
        return place_copies(van, np.zeros((1, 3)), np.zeros(1), scale[None])

    def bus(self) -> Mesh:
        """A school bus or city bus; in Singapore some have two decks."""
        rng = self._rng
        if not self._tropical:
            if rng.random() < 0.4:
                return draw_school_bus(rng)
            length, height = float(rng.uniform(10.5, 12.2)), float(rng.uniform(2.95, 3.2))
            return draw_bus(rng, length, height, _BOSTON_BUS)
        double_decker = rng.random() < 0.4
        colour = rng.choice(_SINGAPORE_BUSES)
        length = float(rng.uniform(9.0, 12.2))
        height = 4.3 if double_decker else float(rng.uniform(2.95, 3.4))
        return draw_bus(rng, length, height, colour)

    def traffic(self) -> Mesh:
        """A vehicle of the traffic on the roads; motorcycles have riders."""
        rng = self._rng
        shares = np.array(list(self._traffic.values()))
        match str(rng.choice(list(self._traffic), p=shares / shares.sum())):
            case "bus":
                return self.bus()
            case "lorry":
                load = str(rng.choice(["box", "canopy", "flatbed", "tipper"]))
                return draw_lorry(rng, load, heavy=bool(rng.random() < 0.5))
            case "pickup":
                return draw_pickup(rng)
            case "motorcycle":
                return draw_motorcycle(rng, rider=True)
            case "semi":
                return draw_lorry(rng, "box", heavy=True)
        kind = str(rng.choice(CAR_KINDS, p=_SINGAPORE_CARS if self._tropical else _BOSTON_CARS))
        if rng.random() < 0.08:
            return draw_car(rng, kind, _SINGAPORE_TAXI if self._tropical else _BOSTON_TAXI)
        return self.car(kind)

    def cone(self) -> Mesh:
        """One of six traffic cones."""
        variant = int(self._rng.integers(6))
        return self.template(f"cone {variant}", lambda: draw_cone(self._rng))

    def barrier(self, kind: str, number: int) -> Mesh:
        """An element of a row of barriers.

        Args:
            kind: plastic (white and red by turns), concrete or works.
            number: its place in the row.
        """
        rng, variant = self._rng, number % (3 if kind == "concrete" else 4)

        def draw() -> Mesh:
            if kind == "works":
                return draw_works_barrier(rng)
            if kind == "concrete":
                return draw_jersey_barrier(rng, _WHITE, "concrete")
            colour = _BARRIER_RED if variant % 2 else _WHITE
            return draw_jersey_barrier(rng, colour, "barrier_plastic")

        return self.template(f"{kind} barrier {variant}", draw)
