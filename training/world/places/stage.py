"""The stage on which a drive is set up: what stands where, who acts, and the templates that scenery
is made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from training.world.places.ground import Ground
from training.world.places.layout import RoadPlan
from training.world.places.traffic import Clearance, Moving, Standing, mesh_size
from training.world.scene import Actor, Mesh
from training.world.things import people, plants, props, vehicles
from training.world.things.meshes import centred, repeated

SCENERY_REACH_M = 85.0
ACTOR_REACH_M = 80.0


class Stage:
    """Everything placed so far; scenery and actors are added in road coordinates (s, d)."""

    def __init__(
        self,
        rng: np.random.Generator,
        plan: RoadPlan,
        ground: Ground,
        ego: Moving,
        manoeuvre: str,
        duration_s: float,
    ) -> None:
        self.rng, self.plan, self.ground, self.ego = rng, plan, ground, ego
        self.manoeuvre, self.duration_s = manoeuvre, duration_s
        self.actors: list[Actor] = []
        self.clearance = Clearance(duration_s)
        self.ego_xy, _ = ego.places(np.arange(0.0, duration_s + 0.5, 0.5))
        lengths = np.interp(np.arange(0.0, duration_s + 0.5, 0.5), ego.times_s, ego.travelled_m)
        self.ego_sd = ego.route.at(lengths)
        self.tropical = plan.traffic < 0
        self._templates: dict[str, Mesh] = {}
        self._placed: dict[str, list[tuple[float, ...]]] = defaultdict(list)
        self._own: list[Mesh] = []
        self._lamps: list[np.ndarray] = []

    def distance(self, s: float | np.ndarray, d: float | np.ndarray) -> np.ndarray:
        """Least distance in metres from the ego vehicle's way."""
        xy = self.plan.world(s, d)
        return np.linalg.norm(xy[..., None, :] - self.ego_xy, axis=-1).min(axis=-1)

    def template(self, name: str, draw: Callable[[], Mesh]) -> Mesh:
        """The template of that name, drawn when first asked for."""
        if name not in self._templates:
            self._templates[name] = draw()
        return self._templates[name]

    def put(
        self,
        name: str,
        draw: Callable[[], Mesh],
        s: float,
        d: float,
        turn: float = 0.0,
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        blocks_m: float | None = None,
        tint: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ) -> None:
        """Stands a copy of a template on the ground, ``turn`` from the road's direction.

        ``blocks_m`` is the radius around it that actors keep out of.
        """
        if self.distance(s, d) > SCENERY_REACH_M:
            return
        self.template(name, draw)
        x, y = self.plan.world(s, d)
        self._placed[name].append(
            (
                x,
                y,
                float(self.ground.height(s, d)),
                float(self.plan.heading(s)) + turn,
                *scale,
                *tint,
            )
        )
        if blocks_m:
            self.clearance.block(np.array([[x, y]]), blocks_m)

    def line(
        self,
        name: str,
        draw: Callable[[], Mesh],
        start: tuple[float, float],
        end: tuple[float, float],
        scale: tuple[float, float, float] = (1.0, 1.0, 1.0),
        blocks_m: float = 0.6,
    ) -> None:
        """A row of a template that is 2 m long, from one place to another."""
        way = np.subtract(end, start)
        length = float(np.hypot(*way))
        count = max(1, round(length / 2.0))
        for share in (np.arange(count) + 0.5) / count:
            s, d = np.asarray(start) + way * share
            self.put(
                name,
                draw,
                s,
                d,
                float(np.arctan2(way[1], way[0])),
                (scale[0] * length / count / 2.0 + 0.01, *scale[1:]),
                blocks_m,
            )

    def own(self, mesh: Mesh, s: float, d: float, turn: float, sink_m: float = 0.0) -> None:
        """Scenery of which there is one."""
        x, y = self.plan.world(s, d)
        z = float(self.ground.height(s, d)) - sink_m
        self._own.append(
            repeated(mesh, np.array([[x, y, z]]), np.array([float(self.plan.heading(s)) + turn]))
        )

    def act(
        self,
        category: str,
        attribute: str,
        mesh: Mesh,
        motion: Standing | Moving,
        margin_m: float = 0.1,
    ) -> bool:
        """Adds an actor where it comes near and is in nobody's way; says whether it did."""
        xy, _ = motion.places(np.arange(0.0, self.duration_s + 0.5, 0.5))
        ego = self.ego_xy if len(xy) == 1 else self.ego_xy[: len(xy)]
        if np.linalg.norm(xy - ego, axis=1).min() > ACTOR_REACH_M:
            return False
        length, width = mesh_size(mesh)
        if not self.clearance.admit(motion, length + margin_m, width + margin_m):
            return False
        mesh, size = centred(mesh)
        self.actors.append(
            Actor(f"{category}-{len(self.actors):03d}", category, attribute, mesh, size, motion)
        )
        return True

    def pedestrian(self, kind: str, pose: str) -> Mesh:
        """One of a dozen people of that kind and pose."""
        variants = 12 if kind == "adult" else 4
        return self.template(
            f"{kind} {pose} {int(self.rng.integers(variants))}",
            lambda: people.draw_pedestrian(self.rng, kind, pose),
        )

    def car(self, kind: str | None = None) -> Mesh:
        """One of the town's cars: of a kind there are eight."""
        kind = kind or str(self.rng.choice(vehicles.CAR_KINDS))
        return self.template(
            f"car {kind} {int(self.rng.integers(8))}", lambda: vehicles.draw_car(self.rng, kind)
        )

    def tree(self, s: float, d: float, forms: tuple[str, ...] | None = None) -> None:
        """A tree of a kind that grows here; two of a kind seldom look the same."""
        rng = self.rng
        form = str(rng.choice(forms or (plants.TROPICAL if self.tropical else plants.TEMPERATE)))
        variant = int(rng.integers(3))
        stretch, wide = rng.uniform(0.92, 1.25), rng.uniform(0.85, 1.15)
        self.put(
            f"tree {form} {variant}",
            lambda: plants.draw_tree(rng, form, self.tropical),
            s,
            d,
            rng.uniform(0, 6.28),
            (wide, wide, stretch),
            blocks_m=0.45,
            tint=tuple(rng.uniform(0.85, 1.15, 3)),
        )

    def bush(self, s: float, d: float) -> None:
        size = float(self.rng.uniform(0.6, 1.5))
        name = f"bush {int(self.rng.integers(3))}"
        self.put(
            name,
            lambda: plants.draw_bush(self.rng, self.tropical),
            s,
            d,
            self.rng.uniform(0, 6.28),
            (size, size, size),
            0.75 * size,
        )

    def hedge(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        height = float(self.rng.uniform(0.7, 1.7))
        self.line(
            "hedge",
            lambda: plants.draw_hedge(self.rng, self.tropical),
            start,
            end,
            (1.0, 1.0, height),
        )

    def fence(self, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.line(f"fence {kind}", lambda: props.draw_fence(kind), start, end)

    def lamp(self, s: float, d: float, turn: float) -> None:
        """A street lamp whose arm reaches in direction ``turn``."""
        height, arm = (9.0, 2.2) if not self.tropical else (8.0, 1.8)
        self.put("lamp", lambda: props.draw_street_lamp(height, arm), s, d, turn, blocks_m=0.35)
        x, y = self.plan.world(s, d)
        way = float(self.plan.heading(s)) + turn
        self._lamps.append(
            np.array(
                [
                    x + arm * np.cos(way),
                    y + arm * np.sin(way),
                    float(self.ground.height(s, d)) + height - 0.1,
                ]
            )
        )

    def scenery(self) -> list[Mesh]:
        """All scenery as meshes in the world."""
        meshes = list(self._own)
        for name, places in self._placed.items():
            rows = np.array(places)
            meshes.append(
                repeated(
                    self._templates[name], rows[:, :3], rows[:, 3], rows[:, 4:7], rows[:, 7:10]
                )
            )
        return meshes

    def lamps(self) -> np.ndarray:
        """Positions of the street lamps, float32 ``[L, 3]``."""
        return np.array(self._lamps, np.float32).reshape(-1, 3)
