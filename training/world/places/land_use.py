"""Fills the plots along the streets: buildings, gardens, car parks, yards, building sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from training.world.places.districts import PLAIN
from training.world.places.green_plots import meadow, thicket, wood
from training.world.places.homes import home
from training.world.places.land_parts import block_walls, put_border
from training.world.places.oblique_streets import ObliqueStreet
from training.world.places.plots import Plot, divide_into_plots
from training.world.places.stage import SCENERY_REACH_M, Stage
from training.world.things.buildings import (
    BOSTON_STYLES,
    SINGAPORE_STYLES,
    draw_background_block,
    draw_building,
    draw_pavilion,
)
from training.world.things.greenery import draw_treeline
from training.world.things.props.fences import draw_material_pile
from training.world.things.props.furniture import draw_bench, draw_column, draw_planter
from training.world.things.vehicles.cars import draw_pickup
from training.world.things.vehicles.construction import draw_excavator, draw_loader, draw_roller
from training.world.things.vehicles.trucks import draw_lorry, draw_trailer


def fill_plots(stage: Stage, streets: Sequence[ObliqueStreet] = ()) -> None:
    """Uses every plot within reach of the drive, and puts a background around the town. Plots that
    ``streets`` lead through stay open land.

    In the plain town, the plots nearest to the drive include one each of the uses that a drive
    should not lack.
    """
    rng = stage.rng
    plots = [
        plot
        for plot in divide_into_plots(rng, stage.plan)
        if stage.distance(*plot.middle) < SCENERY_REACH_M + 20
    ]
    on_street = [plot for plot in plots if plot.on_street]
    on_street.sort(key=lambda plot: float(stage.distance(*plot.middle)))
    nearest = rng.permutation(np.array(on_street[:9], object))
    required = dict(zip(map(id, nearest), (_building_site, _car_park, _garden, _yard)))
    if stage.district.land:
        required.clear()
    shares = stage.district.land or (_SINGAPORE if stage.tropical else _BOSTON)
    names, weights = list(shares), np.array(list(shares.values()))
    for plot in plots:
        if any(street.crosses(plot) for street in streets):
            _open_land(stage, plot)
            continue
        draw = int(rng.choice(len(names), p=weights / weights.sum()))
        required.get(id(plot), USES[names[draw]])(stage, plot)
        if plot.on_street and names[draw] in _GREEN:
            _border(stage, plot)
    _background(stage)


def _building(stage: Stage, plot: Plot) -> None:
    rng = stage.rng
    style = str(rng.choice(SINGAPORE_STYLES if stage.tropical else BOSTON_STYLES))
    setback = float(rng.choice([1.0, 2.0, 4.0, 6.0])) if style != "shophouse" else 1.0
    gap = float(rng.choice([0.5, 1.0, 2.5]))
    depth = min(plot.depth - setback - 1.5, float(rng.uniform(11, 22)))
    front_d, rear_d = plot.d_at(setback), plot.d_at(setback + depth)
    if plot.on_street or setback < 3:
        paved = 0.5 if stage.district is PLAIN else 0.75
        surface = "pavement" if rng.random() < paved else "yard"
        stage.ground.paint(surface, (plot.s0, plot.s1), (plot.near_d, front_d))
    elif rng.random() < 0.5:
        stage.hedge((plot.s0 + 1, plot.d_at(0.8)), (plot.s1 - 1, plot.d_at(0.8)))
    stage.ground.paint("yard", (plot.s0, plot.s1), (front_d, rear_d))
    mesh = draw_building(rng, style, plot.width - 2 * gap, depth)
    stage.put_once(mesh, plot.middle[0], front_d, plot.turn)
    block_walls(stage, plot.s0 + gap, plot.s1 - gap, front_d, rear_d)
    for fraction in rng.uniform(0.1, 0.9, 3):
        if plot.depth - setback - depth > 5 and rng.random() < 0.7:
            stage.tree(plot.s0 + fraction * plot.width, plot.d_at(setback + depth + 3.0))
    if plot.on_street and setback >= 2:
        for fraction in rng.uniform(0.08, 0.92, int(rng.integers(0, 5))):
            stage.bush(plot.s0 + fraction * plot.width, plot.d_at(setback - 0.9))


def _garden(stage: Stage, plot: Plot) -> None:
    """Trees and bushes behind a hedge or fence, often with a path and benches."""
    rng = stage.rng
    path = round((plot.s0 + plot.s1) / 2)
    if rng.random() < 0.6:
        stage.ground.paint("pavement", (path - 1, path + 1), (plot.near_d, plot.far_d))
        bench_d = plot.d_at(plot.depth * 0.4)
        for along, turn in ((-1.8, 0.0), (1.8, np.pi)):
            stage.put("bench", draw_bench, path + along, bench_d, turn, blocks_m=0.9)
    edge = rng.random()
    if edge < 0.4:
        stage.hedge((plot.s0 + 1, plot.d_at(0.8)), (path - 2, plot.d_at(0.8)))
        stage.hedge((path + 2, plot.d_at(0.8)), (plot.s1 - 1, plot.d_at(0.8)))
    elif edge < 0.7:
        d = plot.d_at(0.5)
        kind = "railing" if rng.random() < 0.6 else "wall"
        stage.fence(kind, (plot.s0 + 0.5, d), (path - 1.6, d))
        stage.fence("railing", (path + 1.6, d), (plot.s1 - 0.5, d))
    for _ in range(int(plot.width * plot.depth / (38 if stage.tropical else 55))):
        s = rng.uniform(plot.s0 + 2, plot.s1 - 2)
        if abs(s - path) > 2.5:
            stage.tree(s, plot.d_at(rng.uniform(3, plot.depth - 2)))
    for _ in range(int(plot.width / 3)):
        s = rng.uniform(plot.s0 + 1.5, plot.s1 - 1.5)
        if abs(s - path) > 2.2:
            stage.bush(s, plot.d_at(rng.uniform(2, plot.depth - 1)))


def _car_park(stage: Stage, plot: Plot) -> None:
    """One or two rows of parked cars between hedges and trees."""
    inner = (plot.s0 + 1.5, plot.s1 - 1.5)
    stage.ground.paint("parking", inner, (plot.d_at(1.5), plot.d_at(plot.depth - 1.5)))
    gate = plot.gate_s
    if plot.on_street:
        _driveway(stage, plot)
    stage.hedge((plot.s0 + 1, plot.d_at(0.8)), (gate - 4, plot.d_at(0.8)))
    stage.hedge((gate + 4, plot.d_at(0.8)), (plot.s1 - 1, plot.d_at(0.8)))
    if plot.depth >= 7:
        spaces = np.arange(inner[0] + 1.6, inner[1] - 1.2, 2.7)
        at_gate = plot.on_street & (np.abs(spaces - gate) < 4.2)
        _park_row(stage, plot, spaces[~at_gate], depth=4.0, facing=-1)
        if plot.depth >= 17:
            _park_row(stage, plot, spaces, depth=plot.depth - 4.0, facing=1)
    for s in (plot.s0 + 0.8, plot.s1 - 0.8):
        for d in np.arange(4, plot.depth - 3, 7.0):
            stage.tree(s, plot.d_at(d), ("young", "round"))


def _park_row(stage: Stage, plot: Plot, spaces: np.ndarray, depth: float, facing: int) -> None:
    """Parks vehicles side by side at each s of ``spaces``; facing +1 is away from the road."""
    rng = stage.rng
    for s in spaces:
        if stage.distance(s, plot.d_at(depth)) > 60 or rng.random() < 0.25:
            continue
        backwards = np.pi if rng.random() < 0.3 else 0.0
        turn = plot.side * facing * np.pi / 2 + backwards + rng.normal(0, 0.02)
        pickup = not stage.tropical and rng.random() < 0.12
        mesh = draw_pickup(rng) if pickup else stage.catalogue.car()
        pose = stage.on_road(
            s, plot.d_at(depth + rng.normal(0, 0.15)), turn, level_m=stage.ground.level_m("parking")
        )
        stage.add_actor(mesh, pose, "vehicle.parked")


def _driveway(stage: Stage, plot: Plot) -> None:
    """A way from the carriageway to the plot's gate, over a dropped kerb."""
    plan, side = stage.plan, plot.side
    inner, outer = plan.pavement_m(side)
    s = (plot.gate_s - 3.0, plot.gate_s + 3.0)
    stage.ground.paint("parking", s, (side * plan.kerb_m(side), plot.d_at(2.0)))
    stage.ground.paint("dropped", s, (side * inner, side * outer))


def _yard(stage: Stage, plot: Plot) -> None:
    """A yard with trailers and lorries before a warehouse."""
    rng, gate = stage.rng, plot.gate_s
    stage.ground.paint("yard", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    asphalt_d = (plot.d_at(0.5), plot.d_at(min(16.0, plot.depth)))
    stage.ground.paint("parking", (plot.s0 + 2, plot.s1 - 2), asphalt_d)
    if plot.on_street:
        _driveway(stage, plot)
    kind, fence_d = "mesh" if rng.random() < 0.5 else "wall", plot.d_at(0.3)
    stage.fence(kind, (plot.s0 + 0.5, fence_d), (gate - 3.5, fence_d))
    stage.fence(kind, (gate + 3.5, fence_d), (plot.s1 - 0.5, fence_d))
    if plot.depth > 22:
        mesh = draw_building(rng, "warehouse", plot.width - 2, plot.depth - 17.5)
        stage.put_once(mesh, plot.middle[0], plot.d_at(16.5), plot.turn)
    d = plot.d_at(8.5)
    for s in np.arange(plot.s0 + 4, plot.s1 - 2.5, 4.0):
        turn = plot.side * np.pi / 2 + (np.pi if rng.random() < 0.5 else 0.0)
        draw = rng.random()
        if stage.distance(s, d) > 65 or draw > 0.8:
            continue
        if draw < 0.45:
            mesh = draw_trailer(rng, str(rng.choice(["semi", "container", "light"])))
        else:
            load = str(rng.choice(["box", "flatbed", "canopy", "tipper"]))
            mesh = draw_lorry(rng, load, heavy=bool(rng.random() < 0.6))
        stage.add_actor(
            mesh,
            stage.on_road(s, d, turn, level_m=stage.ground.level_m("parking")),
            "vehicle.parked",
        )


def _building_site(stage: Stage, plot: Plot) -> None:
    """Bare soil behind hoardings or barriers, with machines and piles of material."""
    rng = stage.rng
    stage.ground.paint("soil", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    gate = plot.s0 + plot.width * 0.5
    for s in (plot.s0 + 0.4, plot.s1 - 0.4):
        stage.fence("hoarding", (s, plot.d_at(1)), (s, plot.far_d))
    if rng.random() < 0.6:
        kind = str(rng.choice(["plastic", "concrete", "works"]))
        stage.barriers(plot.s0 + 1.5, plot.s1 - 1.5, plot.d_at(0.6), kind)
    else:
        stage.fence("hoarding", (plot.s0 + 0.5, plot.d_at(0.4)), (gate - 4, plot.d_at(0.4)))
        stage.fence("hoarding", (gate + 4, plot.d_at(0.4)), (plot.s1 - 0.5, plot.d_at(0.4)))
    machines = (draw_excavator, draw_loader, draw_roller)
    for fraction, pick in zip((0.25, 0.5, 0.75), rng.permutation(3)):
        s, d = plot.s0 + fraction * plot.width, plot.d_at(rng.uniform(5, 9))
        pose = stage.on_road(s, d, rng.uniform(0, 6.28), level_m=stage.ground.level_m("soil"))
        stage.add_actor(machines[pick](rng), pose, "vehicle.parked")
    for _ in range(4):
        s = rng.uniform(plot.s0 + 2, plot.s1 - 2)
        d = plot.d_at(rng.uniform(9, max(10.0, plot.depth - 2)))
        name, turn = f"pile {int(rng.integers(3))}", rng.uniform(0, 6.28)
        stage.put(name, lambda: draw_material_pile(rng), s, d, turn, blocks_m=1.6)
    if plot.depth > 20:
        mesh = draw_pavilion(rng, plot.width * 0.7, 9.0)
        stage.put_once(mesh, plot.middle[0], plot.d_at(plot.depth - 9.5), plot.turn)


def _plaza(stage: Stage, plot: Plot) -> None:
    """A paved square with planters, benches, trees and columns, often before a building."""
    rng = stage.rng
    stage.ground.paint("yard", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    if rng.random() < 0.4:
        middle = plot.d_at(plot.depth / 2)
        stage.ground.paint("gravel", (plot.s0, plot.s1), (middle - 2, middle + 2))
    for _ in range(int(plot.width / 4)):
        s = rng.uniform(plot.s0 + 2, plot.s1 - 2)
        d = plot.d_at(rng.uniform(2, plot.depth - 3))
        draw = rng.random()
        if draw < 0.35:
            stage.put("planter", draw_planter, s, d, rng.choice([0, np.pi / 2]), blocks_m=1.2)
            stage.bush(s, d)
        elif draw < 0.6:
            stage.put("bench", draw_bench, s, d, rng.uniform(0, 6.28), blocks_m=0.9)
        elif draw < 0.8:
            stage.tree(s, d, ("young", "round"))
        else:
            stage.put("column", lambda: draw_column(4.0), s, d, blocks_m=0.6)
    if plot.depth > 20:
        _building(stage, Plot(plot.side, plot.s0, plot.s1, plot.d_at(12), plot.far_d, False))


def _pavilion(stage: Stage, plot: Plot) -> None:
    stage.ground.paint("yard", (plot.s0, plot.s1), (plot.near_d, plot.far_d))
    mesh = draw_pavilion(stage.rng, plot.width - 3, min(plot.depth - 3, 14.0))
    stage.put_once(mesh, plot.middle[0], plot.d_at(2.0), plot.turn)
    for fraction in stage.rng.uniform(0.1, 0.9, 4):
        stage.bush(plot.s0 + fraction * plot.width, plot.d_at(1.0))


def _open_land(stage: Stage, plot: Plot) -> None:
    surface = str(stage.rng.choice(["grass", "grass", "grass", "yard", "gravel"]))
    stage.ground.paint(surface, (plot.s0, plot.s1), (plot.near_d, plot.far_d))


def _background(stage: Stage) -> None:
    """High blocks on the plain land around the town."""
    rng, plan = stage.rng, stage.plan
    (s0, s1), (d0, d1) = plan.s_range_m, plan.d_range_m
    if stage.district.is_rural:
        _far_woods(stage)
        return
    for edge, turn in ((d1 + 6, 0.0), (d0 - 6, np.pi)):
        for s in np.arange(s0, s1, 30.0):
            if rng.random() < 0.75:
                mesh = draw_background_block(rng, float(rng.uniform(14, 28)))
                d = edge + np.sign(edge) * rng.uniform(0, 12)
                stage.put_once(mesh, s + 15, d, turn)
    for edge, turn in ((s1 + 6, -np.pi / 2), (s0 - 6, np.pi / 2)):
        for d in np.arange(d0, d1, 30.0):
            if abs(d + 15) > 24 and rng.random() < 0.8:  # not across the road
                mesh = draw_background_block(rng, float(rng.uniform(14, 28)))
                s = edge + np.sign(edge - s0) * rng.uniform(0, 10)
                stage.put_once(mesh, s, d + 15, turn)


def _far_woods(stage: Stage) -> None:
    """Edges of woods on the plain land around the district, with gaps."""
    rng, plan = stage.rng, stage.plan
    (s0, s1), (d0, d1) = plan.s_range_m, plan.d_range_m
    for s in np.arange(s0 - 30, s1 + 30, 30.0):
        for edge, turn in ((d1 + 6, 0.0), (d0 - 6, np.pi)):
            if rng.random() < 0.75:
                mesh = draw_treeline(rng, 32.0, stage.season.tint())
                stage.put_once(mesh, s + 15, edge + np.sign(edge) * rng.uniform(0, 25), turn)
    for edge, turn in ((s1 + 12, -np.pi / 2), (s0 - 12, np.pi / 2)):
        for d in np.arange(d0, d1, 30.0):
            if abs(d + 15) > 24:  # not across the road
                mesh = draw_treeline(rng, 32.0, stage.season.tint())
                stage.put_once(mesh, edge, d + 15, turn)


def _border(stage: Stage, plot: Plot) -> None:
    """Separates a plot from the road as is usual in the district."""
    borders = stage.district.borders
    if borders:
        shares = np.array(list(borders.values()))
        kind = str(stage.rng.choice(list(borders), p=shares / shares.sum()))
        put_border(stage, kind, (plot.s0, plot.d_at(0.3)), (plot.s1, plot.d_at(0.3)))


USES: dict[str, Callable[[Stage, Plot], None]] = {
    "building": _building,
    "garden": _garden,
    "car park": _car_park,
    "plaza": _plaza,
    "yard": _yard,
    "pavilion": _pavilion,
    "site": _building_site,
    "home": home,
    "wood": wood,
    "meadow": meadow,
    "thicket": thicket,
}
"""What a plot may be used for."""
_GREEN = ("garden", "wood", "meadow", "thicket")
_PLAIN_USES = ("building", "garden", "car park", "plaza", "yard", "pavilion")
_BOSTON = dict(zip(_PLAIN_USES, (0.62, 0.14, 0.08, 0.06, 0.04, 0.06), strict=True))
_SINGAPORE = dict(zip(_PLAIN_USES, (0.52, 0.22, 0.08, 0.07, 0.03, 0.08), strict=True))
"""Shares of the plain town's uses by region."""
