"""Lines the edges of pavements with posts, poles, signs, young trees and low shrubs."""

from __future__ import annotations

import numpy as np

from training.world.places.look_alikes import put_pole, put_post
from training.world.places.planting import plant_shrub
from training.world.places.stage import Stage
from training.world.things.props.signals import draw_sign

_KINDS = ("post", "sign", "pole", "tree", "shrub")
_SHARES = (0.24, 0.16, 0.1, 0.22, 0.28)
_SPACING_M = (6.0, 25.0)
"""Mean distance between them, of the fullest and of the emptiest roadside."""


def line_pavement(stage: Stage, side: int) -> None:
    """Puts narrow things along both edges of the pavement on one side (+1 left, -1 right).

    They are as high and as wide as people: a model must tell them apart by more than that.
    """
    rng, plan = stage.rng, stage.plan
    inner, outer = plan.pavement_m(side)
    spacing = float(rng.uniform(*_SPACING_M))
    for start, end in stage.stretches(margin_m=3.0):
        s = start + rng.uniform(0, spacing)
        while s < end:
            d = side * (inner + 0.25 if rng.random() < 0.4 else outer + rng.uniform(-0.2, 0.4))
            if stage.no_driveway(s, d, 1.0):
                _put(stage, s, d)
            s += spacing * rng.uniform(0.2, 1.8)


def _put(stage: Stage, s: float, d: float) -> None:
    rng = stage.rng
    kind, turn = str(rng.choice(_KINDS, p=_SHARES)), rng.uniform(0, 6.28)
    match kind:
        case "post":
            put_post(stage, int(rng.integers(3)), s, d, turn)
        case "sign":
            name, turn = f"sign {int(rng.integers(5))}", rng.choice([0.0, np.pi])
            stage.put(name, lambda: draw_sign(rng), s, d, turn, blocks_m=0.4)
        case "pole":
            put_pole(stage, int(rng.integers(3)), s, d, turn)
        case "tree":
            stage.tree(s, d, ("young", "sapling", "columnar"))
        case "shrub":
            plant_shrub(stage, s, d, largest=0.8)
