"""Districts: the kinds of surroundings through which a drive may lead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from training.world.places.road.layout import CELL_M, Bank, CrossStreet, RoadPlan, RoadSide
from training.world.style import PlaceStyle

Shares = Mapping[str, float]
"""Frequencies by name; they need not add up to 1."""


@dataclass(frozen=True)
class District:
    """What is frequent in a district. The defaults leave the plain town as it is.

    Shares without entries stand for the plain town's.
    """

    name: str = "town"
    frequency: float = 0.0
    land: Shares = field(default_factory=dict)
    """Uses of the plots, by the names of ``land_use``."""
    borders: Shares = field(default_factory=dict)
    """What separates the plots from the road, by the names of ``borders``."""
    traffic: Shares = field(default_factory=dict)
    """Kinds of vehicles, by the names of ``Catalogue.traffic``."""
    lanes: tuple[int, ...] = (1, 2)
    """Lanes in each direction, all equally frequent; so are the choices below."""
    lane_m: tuple[float, ...] = (3.0, 3.5)
    median_m: tuple[float, ...] = (0.0,)
    bay_share: float = 0.5
    """Share of the roadsides with room to park."""
    pavement_parking: float = 0.0
    """Share of the other roadsides at which cars stand on the pavement, with two wheels or four."""
    verge_m: tuple[float, ...] = (0.0, 1.5)
    verges: tuple[str, ...] = ("grass",)
    """Surfaces of the verge."""
    pavement_m: tuple[float, ...] = (1.5, 2.0, 3.0)
    pavements: tuple[str, ...] = ("pavement",)
    """Surfaces of the pavement; where it is terrain, there is none."""
    forecourt_m: tuple[float, ...] = (0.0,)
    crossing_share: float = 1.0
    oblique_share: float = 0.0
    """Share of the roadsides from which a street leaves at an angle."""
    signal_share: float = 1.0
    marking_share: float = 1.0
    tree_share: float = 0.8
    """Share of the roadsides with trees."""
    bank_m: float = 0.0
    """Height of the banks beside the road, up or down; they take the forecourt."""
    headway: float = 1.0
    """Gaps between the vehicles relative to the plain town's."""
    parked: tuple[float, float] = (0.1, 0.95)
    """Least and largest share of a kerb at which cars park."""
    people: float = 1.0
    """Number of people relative to the plain town's."""
    is_rural: bool = False
    """Whether the horizon is woods instead of high blocks."""

    def fewer(self, usual: int) -> int:
        """As many people as the plain town's ``usual``, or fewer where the district has fewer."""
        return round(usual * min(self.people, 1.0))


PLAIN = District()

_BAYS_M = (2.5, 2.5, 3.0, 5.0)
"""Widths of parking bays; in the widest one, cars park at right angles to the road."""
_CARS = {"car": 0.946, "lorry": 0.02, "pickup": 0.02, "motorcycle": 0.006, "bus": 0.008}
_LOADS = {
    "car": 0.85,
    "lorry": 0.07,
    "pickup": 0.03,
    "motorcycle": 0.005,
    "bus": 0.01,
    "semi": 0.035,
}
_BUSES = {"car": 0.88, "lorry": 0.04, "pickup": 0.025, "motorcycle": 0.012, "bus": 0.043}
"""As on real roads, most vehicles are cars: a model learns how frequent classes are, too."""

DISTRICTS = (
    District(
        name="suburb",
        frequency=0.34,
        land={"home": 0.62, "garden": 0.1, "wood": 0.1, "meadow": 0.06, "car park": 0.06,
              "building": 0.06},
        borders={"hedge": 0.24, "wall": 0.18, "fence": 0.34, "bushes": 0.1, "open": 0.14},
        traffic=_CARS,
        lanes=(1,),
        lane_m=(3.0, 3.0, 3.5),
        bay_share=0.5,
        pavement_parking=0.5,
        parked=(0.2, 1.0),
        verge_m=(0.0, 0.0, 0.0, 1.5, 2.0),
        verges=("grass", "shoulder", "pavement", "pavement"),
        pavement_m=(2.0, 2.5, 3.0, 4.0, 5.0, 6.0),
        pavements=("pavement",) * 9 + ("grass",),
        crossing_share=0.8,
        signal_share=0.1,
        marking_share=0.35,
        oblique_share=0.4,
        people=0.15,
        bank_m=0.8,
        forecourt_m=(0.0, 0.0, 1.5, 2.5, 3.0),
        is_rural=True,
    ),
    District(
        name="wood",
        frequency=0.1,
        land={"wood": 0.72, "meadow": 0.12, "thicket": 0.1, "home": 0.06},
        borders={"bushes": 0.4, "guard": 0.1, "wall": 0.05, "open": 0.45},
        traffic=_CARS,
        lanes=(1, 1, 2),
        bay_share=0.15,
        verge_m=(1.0, 2.0, 3.0),
        verges=("grass", "shoulder", "grass"),
        pavement_m=(2.0, 2.5, 3.0),
        pavements=("pavement", "pavement", "grass", "shoulder"),
        forecourt_m=(0.0, 4.0, 6.0),
        crossing_share=0.25,
        signal_share=0.0,
        marking_share=0.6,
        bank_m=2.5,
        parked=(0.0, 0.5),
        oblique_share=0.2,
        people=0.06,
        is_rural=True,
    ),
    District(
        name="country",
        frequency=0.08,
        land={"meadow": 0.5, "wood": 0.18, "thicket": 0.14, "home": 0.13, "yard": 0.05},
        borders={"bushes": 0.25, "hedge": 0.15, "fence": 0.15, "guard": 0.1, "open": 0.35},
        traffic=_LOADS,
        lanes=(1, 1, 2),
        bay_share=0.1,
        verge_m=(1.0, 2.0, 3.0),
        verges=("grass", "shoulder"),
        pavement_m=(1.0, 2.0),
        pavements=("grass", "pavement", "shoulder"),
        forecourt_m=(0.0, 4.0, 6.0),
        crossing_share=0.4,
        signal_share=0.0,
        marking_share=0.7,
        tree_share=0.5,
        bank_m=2.0,
        parked=(0.0, 0.4),
        oblique_share=0.25,
        people=0.05,
        is_rural=True,
    ),
    District(
        name="highway",
        frequency=0.07,
        land={"thicket": 0.3, "wood": 0.3, "meadow": 0.26, "yard": 0.06, "building": 0.08},
        borders={"noise barrier": 0.35, "guard": 0.3, "bushes": 0.15, "open": 0.2},
        traffic=_LOADS,
        lanes=(2, 3, 4),
        lane_m=(3.5,),
        median_m=(2.0, 3.0, 6.0),
        bay_share=0.6,
        verge_m=(1.0, 2.0, 3.0),
        verges=("shoulder", "grass", "yard"),
        pavement_m=(1.0,),
        pavements=("grass", "shoulder"),
        forecourt_m=(0.0, 5.0, 8.0),
        crossing_share=0.0,
        signal_share=0.0,
        tree_share=0.2,
        bank_m=3.0,
        parked=(0.0, 0.15),
        people=0.03,
        is_rural=True,
    ),
    District(
        name="industry",
        frequency=0.08,
        land={"yard": 0.3, "site": 0.06, "building": 0.24, "car park": 0.14, "thicket": 0.14,
              "meadow": 0.12},
        borders={"wall": 0.25, "fence": 0.35, "bushes": 0.15, "open": 0.25},
        traffic=_LOADS,
        verge_m=(0.0, 1.5, 3.0),
        verges=("grass", "shoulder", "yard"),
        pavement_m=(2.0, 3.0, 4.0, 5.0),
        pavements=("pavement",) * 4 + ("yard", "grass"),
        signal_share=0.4,
        marking_share=0.7,
        tree_share=0.4,
        pavement_parking=0.3,
        oblique_share=0.3,
        people=0.12,
    ),
    District(
        name="old town",
        frequency=0.14,
        land={"building": 0.6, "home": 0.15, "plaza": 0.14, "garden": 0.08, "site": 0.03},
        borders={"wall": 0.1, "open": 0.8, "fence": 0.1},
        traffic=_BUSES,
        lanes=(1,),
        lane_m=(3.0,),
        bay_share=0.6,
        pavement_parking=0.5,
        parked=(0.2, 1.0),
        verge_m=(0.0,),
        pavement_m=(2.0, 3.0, 4.0, 5.0),
        pavements=("pavement",) * 6 + ("yard",),
        forecourt_m=(0.0, 0.0, 1.0, 2.0),
        signal_share=0.3,
        marking_share=0.3,
        tree_share=0.3,
        oblique_share=0.5,
        people=0.35,
    ),
    District(
        name="boulevard",
        frequency=0.09,
        land={"garden": 0.3, "building": 0.3, "meadow": 0.15, "plaza": 0.1, "car park": 0.15},
        borders={"hedge": 0.25, "bushes": 0.25, "open": 0.5},
        traffic=_BUSES,
        lanes=(2, 3),
        median_m=(3.0, 6.0, 8.0),
        bay_share=0.6,
        verge_m=(2.0, 3.0, 4.0),
        pavement_m=(3.0, 4.0, 5.0, 6.0),
        forecourt_m=(0.0, 2.0, 3.0),
        tree_share=1.0,
        pavement_parking=0.2,
        oblique_share=0.3,
        people=0.35,
    ),
    District(
        name="downtown",
        frequency=0.09,
        land={"building": 0.61, "garden": 0.12, "car park": 0.1, "plaza": 0.08, "site": 0.04,
              "pavilion": 0.05},
        traffic=_BUSES,
        lanes=(1, 2, 3),
        median_m=(0.0, 0.0, 2.0, 3.0),
        verge_m=(0.0, 1.5, 2.0),
        pavement_m=(3.0, 4.0, 5.0, 6.0),
        forecourt_m=(0.0, 1.0, 2.0, 3.0),
        pavement_parking=0.2,
        oblique_share=0.3,
        people=0.35,
    ),
)  # fmt: skip


def draw_district(style: PlaceStyle, rng: np.random.Generator) -> District:
    """One of ``DISTRICTS`` with shares of its own, or the plain town if the style has no others."""
    if not style.districts:
        return PLAIN
    shares = np.array([district.frequency for district in DISTRICTS])
    district = DISTRICTS[int(rng.choice(len(DISTRICTS), p=shares / shares.sum()))]
    return replace(
        district,
        land=_vary(district.land, 0.6, rng),
        traffic=_vary(district.traffic, 0.8, rng),
        headway=float(np.exp(rng.normal(0.05, 0.55))),
        people=district.people * float(np.exp(rng.normal(0.0, 0.5))),
    )


def _vary(shares: Shares, spread: float, rng: np.random.Generator) -> Shares:
    """The shares times random factors; ``spread`` is the deviation of their logarithms."""
    factors = np.exp(rng.normal(0.0, spread, len(shares)))
    return {name: share * factor for (name, share), factor in zip(shares.items(), factors)}


def adapt_roads(
    plan: RoadPlan, district: District, style: PlaceStyle, rng: np.random.Generator
) -> RoadPlan:
    """The plan with the district's widths, surfaces, slopes and crossings.

    It is handed back as it came for the plain town.
    """
    if district is PLAIN:
        return plan
    lanes, lane = int(rng.choice(district.lanes)), float(rng.choice(district.lane_m))
    sides = {side: _roadside(district, rng) for side in (-1, 1)}
    crossings = tuple(
        CrossStreet(each.s_m, _street_half(rng, lane), each.pavement_m, each.corner_m, each.sides)
        for each in plan.crossings
    )
    return replace(
        plan,
        lane_m=lane,
        lanes=lanes,
        median_m=float(rng.choice(district.median_m)) if lanes > 1 else 0.0,
        sides=sides,
        crossings=crossings if rng.random() < district.crossing_share else (),
        relief=np.concatenate([plan.relief, _hills(style, rng)]),
        is_marked=bool(rng.random() < district.marking_share),
        has_signals=bool(rng.random() < district.signal_share),
    )


def _street_half(rng: np.random.Generator, lane_m: float) -> float:
    return lane_m if rng.random() < 0.8 else 2 * lane_m


def _roadside(district: District, rng: np.random.Generator) -> RoadSide:
    bank = Bank(0.0, 0.0)
    forecourt = float(rng.choice(district.forecourt_m))
    if district.bank_m and forecourt >= 3.0:
        bank = Bank(float(rng.uniform(-1, 1) * district.bank_m), forecourt - CELL_M)
    return RoadSide(
        bay_m=float(rng.choice(_BAYS_M)) if rng.random() < district.bay_share else 0.0,
        verge_m=float(rng.choice(district.verge_m)),
        pavement_m=float(rng.choice(district.pavement_m)),
        forecourt_m=forecourt,
        verge=str(rng.choice(district.verges)),
        pavement=str(rng.choice(district.pavements)),
        bay=str(rng.choice(["road", "parking", "drive"])),
        bank=bank,
    )


def _hills(style: PlaceStyle, rng: np.random.Generator) -> np.ndarray:
    """One long swell along the road, as a row of ``RoadPlan.relief``."""
    grade = style.max_grade * rng.uniform(0.0, 1.0) ** 1.5
    number = 2 * np.pi / rng.uniform(220.0, 420.0)
    return np.array([[grade / number, number, 0.2 * number * rng.normal(), rng.uniform(0, 6.28)]])
