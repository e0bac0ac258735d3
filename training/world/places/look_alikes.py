"""Things beside the road that look like vehicles, cones or people, and are none."""

from __future__ import annotations

import numpy as np

from training.world.places.stage import Stage
from training.world.things.props.boxes import (
    as_statue,
    draw_advertising_column,
    draw_container,
    draw_kiosk,
    draw_post,
    draw_shed,
    draw_utility_pole,
)

_KINDS = ("post", "pole", "column", "statue", "kiosk", "shed", "container")
_SHARES = (0.34, 0.22, 0.08, 0.08, 0.09, 0.1, 0.09)


def put_look_alike(stage: Stage, s: float, d: float, side: int) -> None:
    """Puts one beside the road; what is as large as a vehicle stands behind the pavement."""
    rng = stage.rng
    kind = str(rng.choice(_KINDS, p=_SHARES))
    variant, turn = int(rng.integers(3)), rng.uniform(0, 6.28)
    behind = side * (stage.plan.plots_m(side) + rng.uniform(1.6, 4.0))
    match kind:
        case "post":
            for step in np.arange(int(rng.integers(1, 6))) * rng.uniform(0.9, 2.0):
                put_post(stage, variant, s + step, d, turn)
        case "pole":
            put_pole(stage, variant, s, d, turn)
        case "column":
            name = f"column {variant}"
            stage.put(name, lambda: draw_advertising_column(rng), s, d, turn, blocks_m=0.9)
        case "statue":
            person = stage.catalogue.pedestrian("adult", str(rng.choice(["standing", "walking"])))
            stage.put(f"statue {variant}", lambda: as_statue(person, rng), s, d, turn, blocks_m=0.6)
        case "kiosk":
            to_road = -side * np.pi / 2
            stage.put(f"kiosk {variant}", lambda: draw_kiosk(rng), s, behind, to_road, blocks_m=2.0)
        case "shed":
            stage.put(f"shed {variant}", lambda: draw_shed(rng), s, behind, turn, blocks_m=2.4)
        case "container":
            along = rng.normal(0, 0.15)
            stage.put_once(draw_container(rng), s, behind, along)
            xy = stage.plan.world(s + np.array([-2.0, 0.0, 2.0]), np.full(3, behind))
            stage.clearance.block(xy, 1.5)


def put_post(stage: Stage, variant: int, s: float, d: float, turn: float) -> None:
    """Puts one of three posts."""
    stage.put(f"post {variant}", lambda: draw_post(stage.rng), s, d, turn, blocks_m=0.3)


def put_pole(stage: Stage, variant: int, s: float, d: float, turn: float) -> None:
    """Puts one of three utility poles."""
    stage.put(f"pole {variant}", lambda: draw_utility_pole(stage.rng), s, d, turn, blocks_m=0.3)
