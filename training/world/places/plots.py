"""The plots beside the streets: buildings, gardens, car parks, yards, building sites, plazas, and
the far background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from training.world.places.stage import SCENERY_REACH_M, Stage
from training.world.places.traffic import standing_on_road, standing_upright
from training.world.things import buildings, props, vehicles
from training.world.things.meshes import CATEGORY_ID


@dataclass(frozen=True)
class Plot:
    """A rectangle in road coordinates; ``near_d`` is its edge towards the main road."""

    side: int
    s0: float
    s1: float
    near_d: float
    far_d: float
    on_street: bool
    """Whether it lies at the main road, not behind another plot."""

    @property
    def middle(self) -> tuple[float, float]:
        return (self.s0 + self.s1) / 2, (self.near_d + self.far_d) / 2

    @property
    def width(self) -> float:
        return self.s1 - self.s0

    @property
    def depth(self) -> float:
        return abs(self.far_d - self.near_d)

    @property
    def away(self) -> float:
        """Turn from the road's direction of a thing whose x is the front's direction and whose y
        leads away from the road.
        """
        return 0.0 if self.side > 0 else np.pi

    def d_in(self, depth: float) -> float:
        """d of the place ``depth`` metres behind the near edge."""
        return self.near_d + self.side * depth


def _cut(
    rng: np.random.Generator, start: float, end: float, low: float, high: float
) -> list[tuple[float, float]]:
    """Pieces of random lengths between ``low`` and ``high``, in half metres."""
    pieces = []
    while end - start > 1.2 * low:
        length = round(float(rng.uniform(low, high)) * 2) / 2
        stop = end if end - start - length < low else start + length
        pieces.append((start, stop))
        start = stop
    return pieces


def _plots(stage: Stage) -> list[Plot]:
    plan, rng = stage.plan, stage.rng
    plots = []
    for side in (-1, 1):
        blocks = [plan.s_range_m]
        for cross in plan.crossings:
            if side in cross.arms:
                outer = cross.half_m + cross.walk_m
                blocks = [
                    piece
                    for a, b in blocks
                    for piece in ((a, min(b, cross.s_m - outer)), (max(a, cross.s_m + outer), b))
                    if piece[1] - piece[0] > 8
                ]
        limit = abs(plan.d_range_m[0] if side < 0 else plan.d_range_m[1])
        for start, end in blocks:
            depth, first = plan.plots_m(side), True
            while limit - depth > 10:
                row = round(float(rng.uniform(20, 34)) * 2) / 2
                row = limit - depth if limit - depth - row < 10 else row
                for s0, s1 in _cut(rng, start, end, 14.0, 38.0):
                    plots.append(Plot(side, s0, s1, side * depth, side * (depth + row), first))
                depth, first = depth + row, False
    return plots


def fill_plots(stage: Stage) -> None:
    """Uses every plot within reach; the ones nearest the drive get one of each kind that nobody
    should have to wait for.
    """
    rng = stage.rng
    plots = [plot for plot in _plots(stage) if stage.distance(*plot.middle) < SCENERY_REACH_M + 20]
    on_street = [plot for plot in plots if plot.on_street]
    on_street.sort(key=lambda plot: float(stage.distance(*plot.middle)))
    wanted: list[Callable[[Stage, Plot], None]] = [_site, _car_park, _garden, _yard]
    given = {
        id(plot): use
        for plot, use in zip(rng.permutation(np.array(on_street[:9], object)), wanted, strict=False)
    }
    uses: list[Callable[[Stage, Plot], None]] = [
        _building,
        _garden,
        _car_park,
        _plaza,
        _yard,
        _pavilion,
    ]
    share = (
        [0.62, 0.14, 0.08, 0.06, 0.04, 0.06]
        if not stage.tropical
        else [0.52, 0.22, 0.08, 0.07, 0.03, 0.08]
    )
    for plot in plots:
        draw = int(rng.choice(len(uses), p=share))
        given.get(id(plot), uses[draw])(stage, plot)
    _background(stage)


def _building(stage: Stage, plot: Plot) -> None:
    rng = stage.rng
    styles = buildings.SINGAPORE_STYLES if stage.tropical else buildings.BOSTON_STYLES
    style = str(rng.choice(styles))
    setback = float(rng.choice([1.0, 2.0, 4.0, 6.0])) if style != "shophouse" else 1.0
    gap = float(rng.choice([0.5, 1.0, 2.5]))
    depth = min(plot.depth - setback - 1.5, float(rng.uniform(11, 22)))
    if plot.on_street or setback < 3:
        stage.ground.paint(
            "walk" if rng.random() < 0.5 else "plot",
            (plot.s0, plot.s1),
            (plot.near_d, plot.d_in(setback)),
        )
    elif rng.random() < 0.5:
        stage.hedge((plot.s0 + 1, plot.d_in(0.8)), (plot.s1 - 1, plot.d_in(0.8)))
    stage.ground.paint("plot", (plot.s0, plot.s1), (plot.d_in(setback), plot.d_in(setback + depth)))
    mesh = buildings.draw_building(rng, style, plot.width - 2 * gap, depth)
    s, d = plot.middle[0], plot.d_in(setback)
    stage.own(mesh, s, d, plot.away)
    _block_rectangle(stage, plot.s0 + gap, plot.s1 - gap, d, plot.d_in(setback + depth))
    for share in rng.uniform(0.1, 0.9, 3):
        behind = plot.d_in(setback + depth + 3.0)
        if plot.depth - setback - depth > 5 and rng.random() < 0.7:
            stage.tree(plot.s0 + share * plot.width, behind)
    if plot.on_street and setback >= 2:
        for share in rng.uniform(0.08, 0.92, int(rng.integers(0, 5))):
            stage.bush(plot.s0 + share * plot.width, plot.d_in(setback - 0.9))


def _block_rectangle(stage: Stage, s0: float, s1: float, d0: float, d1: float) -> None:
    s, d = np.meshgrid(
        np.arange(s0 + 1, s1, 2.0),
        np.linspace(d0, d1, max(2, int(abs(d1 - d0) / 2.0))),
        indexing="ij",
    )
    inner = (s < s0 + 3) | (s > s1 - 3) | (np.abs(d - d0) < 3) | (np.abs(d - d1) < 3)
    stage.clearance.block(stage.plan.world(s[inner], d[inner]), 1.3)


def _garden(stage: Stage, plot: Plot) -> None:
    rng = stage.rng
    path = round((plot.s0 + plot.s1) / 2)
    if rng.random() < 0.6:
        stage.ground.paint("walk", (path - 1, path + 1), (plot.near_d, plot.far_d))
        for along in (-1.8, 1.8):
            stage.put(
                "bench",
                props.draw_bench,
                path + along,
                plot.d_in(plot.depth * 0.4),
                0.0 if along < 0 else np.pi,
                blocks_m=0.9,
            )
    edge = rng.random()
    if edge < 0.4:
        stage.hedge((plot.s0 + 1, plot.d_in(0.8)), (path - 2, plot.d_in(0.8)))
        stage.hedge((path + 2, plot.d_in(0.8)), (plot.s1 - 1, plot.d_in(0.8)))
    elif edge < 0.7:
        stage.fence(
            "railing" if rng.random() < 0.6 else "wall",
            (plot.s0 + 0.5, plot.d_in(0.5)),
            (path - 1.6, plot.d_in(0.5)),
        )
        stage.fence("railing", (path + 1.6, plot.d_in(0.5)), (plot.s1 - 0.5, plot.d_in(0.5)))
    for _ in range(int(plot.width * plot.depth / (38 if stage.tropical else 55))):
        s = rng.uniform(plot.s0 + 2, plot.s1 - 2)
        if abs(s - path) > 2.5:
            stage.tree(s, plot.d_in(rng.uniform(3, plot.depth - 2)))
    for _ in range(int(plot.width / 3)):
        s = rng.uniform(plot.s0 + 1.5, plot.s1 - 1.5)
        if abs(s - path) > 2.2:
            stage.bush(s, plot.d_in(rng.uniform(2, plot.depth - 1)))


def _car_park(stage: Stage, plot: Plot) -> None:
    rng, plan, side = stage.rng, stage.plan, plot.side
    inner = (plot.s0 + 1.5, plot.s1 - 1.5)
    stage.ground.paint("lot", inner, (plot.d_in(1.5), plot.d_in(plot.depth - 1.5)))
    gate = round((plot.s0 + plot.s1) / 2 * 2) / 2
    if plot.on_street:
        _driveway(stage, plot, gate)
    stage.hedge((plot.s0 + 1, plot.d_in(0.8)), (gate - 4, plot.d_in(0.8)))
    stage.hedge((gate + 4, plot.d_in(0.8)), (plot.s1 - 1, plot.d_in(0.8)))
    for row, facing in ((4.0, -1), (plot.depth - 4.0, 1)):
        if row > plot.depth - 3 or (facing > 0 and plot.depth < 17):
            continue
        for s in np.arange(inner[0] + 1.6, inner[1] - 1.2, 2.7):
            if facing < 0 and plot.on_street and abs(s - gate) < 4.2:
                continue
            if stage.distance(s, plot.d_in(row)) > 60 or rng.random() < 0.25:
                continue
            turn = (
                side * facing * np.pi / 2
                + (np.pi if rng.random() < 0.3 else 0.0)
                + rng.normal(0, 0.02)
            )
            mesh = (
                vehicles.draw_pickup(rng)
                if plan.traffic > 0 and rng.random() < 0.12
                else stage.car()
            )
            category = (
                "vehicle.car" if mesh.category[0] == CATEGORY_ID["vehicle.car"] else "vehicle.truck"
            )
            stage.act(
                category,
                "vehicle.parked",
                mesh,
                standing_on_road(plan, s, plot.d_in(row + rng.normal(0, 0.15)), turn, 0.04),
            )
    for s in (plot.s0 + 0.8, plot.s1 - 0.8):
        for d in np.arange(4, plot.depth - 3, 7.0):
            stage.tree(s, plot.d_in(d), ("young", "round"))


def _driveway(stage: Stage, plot: Plot, gate: float) -> None:
    """A way from the carriageway to the plot, over a dropped kerb."""
    plan, side = stage.plan, plot.side
    near, far = plan.walk_m(side)
    window = (gate - 3.0, gate + 3.0)
    stage.ground.paint("lot", window, (side * plan.kerb_m(side), plot.d_in(2.0)))
    stage.ground.paint("dropped", window, (side * near, side * far))


def _yard(stage: Stage, plot: Plot) -> None:
    """A yard with trailers, lorries and a warehouse."""
    rng, plan, side = stage.rng, stage.plan, plot.side
    stage.ground.paint("plot", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    stage.ground.paint(
        "lot", (plot.s0 + 2, plot.s1 - 2), (plot.d_in(0.5), plot.d_in(min(16.0, plot.depth)))
    )
    gate = round((plot.s0 + plot.s1) / 2 * 2) / 2
    if plot.on_street:
        _driveway(stage, plot, gate)
    kind = "mesh" if rng.random() < 0.5 else "wall"
    stage.fence(kind, (plot.s0 + 0.5, plot.d_in(0.3)), (gate - 3.5, plot.d_in(0.3)))
    stage.fence(kind, (gate + 3.5, plot.d_in(0.3)), (plot.s1 - 0.5, plot.d_in(0.3)))
    if plot.depth > 22:
        mesh = buildings.draw_building(rng, "warehouse", plot.width - 2, plot.depth - 17.5)
        stage.own(mesh, plot.middle[0], plot.d_in(16.5), plot.away)
    slots = np.arange(plot.s0 + 4, plot.s1 - 2.5, 4.0)
    for s in slots:
        turn = side * np.pi / 2 + (np.pi if rng.random() < 0.5 else 0.0)
        draw = rng.random()
        pose = standing_on_road(plan, s, plot.d_in(8.5), turn, 0.04)
        if stage.distance(s, plot.d_in(8.5)) > 65 or draw > 0.8:
            continue
        if draw < 0.45:
            stage.act(
                "vehicle.trailer",
                "vehicle.parked",
                vehicles.draw_trailer(rng, str(rng.choice(["semi", "container", "light"]))),
                pose,
            )
        else:
            load = str(rng.choice(["box", "flatbed", "canopy", "tipper"]))
            stage.act(
                "vehicle.truck",
                "vehicle.parked",
                vehicles.draw_lorry(rng, load, bool(rng.random() < 0.6)),
                pose,
            )


def _site(stage: Stage, plot: Plot) -> None:
    """A building site: bare soil, hoarding, machines, barriers in front, workers."""
    rng, plan = stage.rng, stage.plan
    stage.ground.paint("soil", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    gate = plot.s0 + plot.width * 0.5
    for edge in (plot.s0 + 0.4, plot.s1 - 0.4):
        stage.fence("hoarding", (edge, plot.d_in(1)), (edge, plot.far_d))
    open_front = rng.random() < 0.6
    if open_front:
        _barrier_row(stage, plot.s0 + 1.5, plot.s1 - 1.5, plot.d_in(0.6))
    else:
        stage.fence("hoarding", (plot.s0 + 0.5, plot.d_in(0.4)), (gate - 4, plot.d_in(0.4)))
        stage.fence("hoarding", (gate + 4, plot.d_in(0.4)), (plot.s1 - 0.5, plot.d_in(0.4)))
    draws = [vehicles.draw_excavator, vehicles.draw_loader, vehicles.draw_roller]
    for share, pick in zip((0.25, 0.5, 0.75), rng.permutation(3), strict=True):
        pose = standing_on_road(
            plan,
            plot.s0 + share * plot.width,
            plot.d_in(rng.uniform(5, 9)),
            rng.uniform(0, 6.28),
            0.11,
        )
        stage.act("vehicle.construction", "vehicle.parked", draws[pick](rng), pose)
    for _ in range(4):
        s, d = (
            rng.uniform(plot.s0 + 2, plot.s1 - 2),
            plot.d_in(rng.uniform(9, max(10.0, plot.depth - 2))),
        )
        name = f"pile {int(rng.integers(3))}"
        stage.put(
            name, lambda: props.draw_material_pile(rng), s, d, rng.uniform(0, 6.28), blocks_m=1.6
        )
    if plot.depth > 20:
        stage.own(
            buildings.draw_pavilion(rng, plot.width * 0.7, 9.0),
            plot.middle[0],
            plot.d_in(plot.depth - 9.5),
            plot.away,
        )


def _barrier_row(stage: Stage, s0: float, s1: float, d: float) -> None:
    barrier_row(stage, s0, s1, d, str(stage.rng.choice(["plastic", "concrete", "works"])))


def barrier_row(stage: Stage, s0: float, s1: float, d: float, kind: str) -> None:
    """A row of barriers along the road: ``plastic`` (red and white by turns), ``concrete`` or
    ``works``.
    """
    rng = stage.rng
    for number, s in enumerate(np.arange(s0 + 1.05, s1 - 1.0, 2.12 if kind != "works" else 2.7)):
        if stage.distance(s, d) > 60:
            continue
        if kind == "works":
            mesh = stage.template(
                f"works barrier {number % 4}", lambda: props.draw_works_barrier(rng)
            )
        elif kind == "plastic":
            colour = (0.90, 0.30, 0.16) if number % 2 else (1.0, 1.0, 1.0)
            mesh = stage.template(
                f"plastic barrier {number % 4}",
                partial(props.draw_jersey_barrier, rng, colour, "barrier_plastic"),
            )
        else:
            mesh = stage.template(
                f"concrete barrier {number % 3}",
                lambda: props.draw_jersey_barrier(rng, (1, 1, 1), "concrete"),
            )
        stage.act(
            "movable_object.barrier",
            "",
            mesh,
            standing_upright(stage.plan, stage.ground, s, d, rng.normal(0, 0.04)),
            margin_m=-0.3,
        )


def _plaza(stage: Stage, plot: Plot) -> None:
    rng = stage.rng
    stage.ground.paint("plot", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    if rng.random() < 0.4:
        middle = plot.d_in(plot.depth / 2)
        stage.ground.paint("gravel", (plot.s0, plot.s1), (middle - 2, middle + 2))
    for _ in range(int(plot.width / 4)):
        s, d = rng.uniform(plot.s0 + 2, plot.s1 - 2), plot.d_in(rng.uniform(2, plot.depth - 3))
        draw = rng.random()
        if draw < 0.35:
            stage.put("planter", props.draw_planter, s, d, rng.choice([0, np.pi / 2]), blocks_m=1.2)
            stage.bush(s, d)
        elif draw < 0.6:
            stage.put("bench", props.draw_bench, s, d, rng.uniform(0, 6.28), blocks_m=0.9)
        elif draw < 0.8:
            stage.tree(s, d, ("young", "round"))
        else:
            stage.put("column", lambda: props.draw_column(4.0), s, d, blocks_m=0.6)
    if plot.depth > 20:
        _building(stage, Plot(plot.side, plot.s0, plot.s1, plot.d_in(12), plot.far_d, False))


def _pavilion(stage: Stage, plot: Plot) -> None:
    stage.ground.paint("plot", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    depth = min(plot.depth - 3, 14.0)
    stage.own(
        buildings.draw_pavilion(stage.rng, plot.width - 3, depth),
        plot.middle[0],
        plot.d_in(2.0),
        plot.away,
    )
    for share in stage.rng.uniform(0.1, 0.9, 4):
        stage.bush(plot.s0 + share * plot.width, plot.d_in(1.0))


def _background(stage: Stage) -> None:
    """High slabs and a belt of trees on the plain land around."""
    rng, plan = stage.rng, stage.plan
    (s0, s1), (d0, d1) = plan.s_range_m, plan.d_range_m
    for edge, turn in ((d1 + 6, 0.0), (d0 - 6, np.pi)):
        for s in np.arange(s0, s1, 30.0):
            if rng.random() < 0.75:
                stage.own(
                    buildings.draw_background_slab(rng, float(rng.uniform(14, 28))),
                    s + 15,
                    edge + np.sign(edge) * rng.uniform(0, 12),
                    turn,
                )
    for edge, turn in ((s1 + 6, -np.pi / 2), (s0 - 6, np.pi / 2)):
        for d in np.arange(d0, d1, 30.0):
            if abs(d + 15) > 24 and rng.random() < 0.8:
                stage.own(
                    buildings.draw_background_slab(rng, float(rng.uniform(14, 28))),
                    edge + np.sign(edge - s0) * rng.uniform(0, 10),
                    d + 15,
                    turn,
                )
