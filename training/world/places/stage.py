"""The stage on which a drive is set up: the scenery and actors placed so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from training.world.places.catalogue import Catalogue
from training.world.places.clearance import Clearance
from training.world.places.districts import PLAIN, District
from training.world.places.road.ground import Ground
from training.world.places.road.layout import RoadPlan
from training.world.places.trajectories import RouteMotion, StaticPose
from training.world.scene import Actor, Mesh
from training.world.style import PlaceStyle
from training.world.things.leaves import Season
from training.world.things.meshes import (
    category_name,
    centre_on_footprint,
    footprint_size,
    place_copies,
)
from training.world.things.plants import (
    LEAFY,
    TEMPERATE,
    TROPICAL,
    draw_bush,
    draw_hedge,
    draw_tree,
)
from training.world.things.props.fences import draw_fence
from training.world.things.props.signals import draw_street_lamp

SCENERY_REACH_M = 85.0
_ACTOR_REACH_M = 80.0
_BARRIER_REACH_M = 60.0
"""Distances from the ego vehicle's path beyond which things are left out."""


class Stage:
    """Takes scenery and actors in road coordinates (s, d) and keeps them apart.

    In all methods ``turn`` is the yaw from the road's direction in radians. Things too far from the
    ego vehicle's path to be seen are left out.

    Attributes:
        rng: random numbers of the whole town.
        district: the kind of surroundings.
        actors: the actors so far; scenery is in ``scenery()``.
        ego_xy, ego_sd: ``[T, 2]``, world and road coordinates of the ego vehicle every 0.5 s.
        ends_s: ``[2]``, a time at the start and one after the end, for motions of constant speed.
        tropical: whether the town is in Singapore instead of Boston.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        plan: RoadPlan,
        ground: Ground,
        ego: RouteMotion,
        manoeuvre: str,
        duration_s: float,
        district: District,
        style: PlaceStyle,
    ) -> None:
        self.rng, self.plan, self.ground, self.ego = rng, plan, ground, ego
        self.district, self._style = district, style
        self.manoeuvre, self.duration_s = manoeuvre, duration_s
        self.ends_s = np.array([0.0, duration_s + 1.0])
        self.actors: list[Actor] = []
        self.clearance = Clearance(duration_s)
        times = np.arange(0.0, duration_s + 0.5, 0.5)
        self.ego_xy, _ = ego.xy_yaw(times)
        self.ego_sd = ego.route.at(np.interp(times, ego.times_s, ego.distance_m))
        self.tropical = plan.driving_side > 0
        self.catalogue = Catalogue(rng, self.tropical, district.traffic)
        # By name: a template, and position, yaw, scale, tint and reflectance of each copy.
        self._copies: dict[str, tuple[Mesh, list[tuple[float, ...]]]] = {}
        self._unique: list[Mesh] = []
        self._lamps: list[tuple[float, float, float]] = []

    @cached_property
    def season(self) -> Season:
        """Colours of the leaves, outside the plain town."""
        return Season(self.rng, self._style.colour_spread)

    def _leaf_tint(self) -> np.ndarray | None:
        return None if self.district is PLAIN else self.season.tint()

    def distance(self, s: float | np.ndarray, d: float | np.ndarray) -> np.ndarray:
        """Distance in metres from the ego vehicle's path."""
        xy = self.plan.world(s, d)
        return np.linalg.norm(xy[..., None, :] - self.ego_xy, axis=-1).min(axis=-1)

    def stretches(self, margin_m: float) -> list[tuple[float, float]]:
        """Stretches of the main road near the drive, ``margin_m`` away from crossings."""
        low = max(self.ego_sd[:, 0].min() - 75, self.plan.s_range_m[0])
        high = min(self.ego_sd[:, 0].max() + 75, self.plan.s_range_m[1])
        return self.plan.away_from_crossings(low, high, margin_m, shortest_m=4.0)

    def no_driveway(self, s: float, d: float, reach_m: float) -> bool:
        """Whether there is no driveway within ``reach_m`` along the road."""
        positions = s + np.array([-reach_m, 0.0, reach_m])
        return not self.ground.is_surface(positions, np.full(3, d), "parking", "dropped").any()

    def on_road(self, s: float, d: float, turn: float, level_m: float = 0.0) -> StaticPose:
        """A body at rest that follows the slope of the road, ``level_m`` above it."""
        return StaticPose.on_road(self.plan, s, d, turn, level_m)

    def upright(self, s: float, d: float, turn: float) -> StaticPose:
        """A body at rest that stands upright on the ground, whatever its surface."""
        return StaticPose.upright(self.plan, self.ground, s, d, turn)

    def add_actor(
        self, mesh: Mesh, motion: StaticPose | RouteMotion, attribute: str, margin_m: float = 0.1
    ) -> bool:
        """Adds an actor if it comes near and touches no other; returns whether it was added.

        Args:
            attribute: its nuScenes attribute, or ``""``.
            margin_m: added to its length and width; negative where things may lean together.
        """
        xy, _ = motion.xy_yaw(np.arange(0.0, self.duration_s + 0.5, 0.5))
        ego_xy = self.ego_xy if len(xy) == 1 else self.ego_xy[: len(xy)]
        if np.linalg.norm(xy - ego_xy, axis=1).min() > _ACTOR_REACH_M:
            return False
        length, width = footprint_size(mesh)
        if not self.clearance.admit(motion, length + margin_m, width + margin_m):
            return False
        mesh, size = centre_on_footprint(self._coat(mesh))
        category = category_name(mesh)
        name = f"{category}-{len(self.actors):03d}"
        self.actors.append(Actor(name, category, attribute, mesh, size, motion))
        return True

    def person(self, s: float, d: float, kind: str = "adult") -> None:
        """Adds a standing person who faces a random direction."""
        mesh = self.catalogue.pedestrian(kind, "standing")
        pose = self.upright(s, d, self.rng.uniform(0, 6.28))
        self.add_actor(mesh, pose, "pedestrian.standing")

    def cone(self, s: float, d: float) -> None:
        """Adds a traffic cone."""
        mesh = self.catalogue.cone()
        self.add_actor(mesh, self.upright(s, d, self.rng.uniform(0, 6.28)), "", margin_m=-0.2)

    def barriers(self, s_start: float, s_end: float, d: float, kind: str) -> None:
        """Adds a row of barriers along the road, of a kind of ``Catalogue.barrier``."""
        spacing = 2.7 if kind == "works" else 2.12
        for number, s in enumerate(np.arange(s_start + 1.05, s_end - 1.0, spacing)):
            if self.distance(s, d) > _BARRIER_REACH_M:
                continue
            mesh = self.catalogue.barrier(kind, number)
            pose = self.upright(s, d, self.rng.normal(0, 0.04))
            self.add_actor(mesh, pose, "", margin_m=-0.3)

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
        """Puts a copy of a template on the ground as scenery.

        Args:
            name: of the template, which ``draw`` draws when it is first needed.
            blocks_m: radius around it that actors keep out of.
        """
        if self.distance(s, d) > SCENERY_REACH_M:
            return
        _, copies = self._copies.setdefault(name, (self.catalogue.template(name, draw), []))
        x, y = self.plan.world(s, d)
        z, yaw = float(self.ground.height(s, d)), float(self.plan.heading(s)) + turn
        copies.append((x, y, z, yaw, *scale, *tint, self._reflectance()))
        if blocks_m:
            self.clearance.block(np.array([[x, y]]), blocks_m)

    def put_row(
        self,
        name: str,
        draw: Callable[[], Mesh],
        start: tuple[float, float],
        end: tuple[float, float],
        height: float = 1.0,
    ) -> None:
        """Puts a row of a template of 2 m along x from one point (s, d) to another.

        The copies are stretched to fill the row, and scaled to ``height`` times their own.
        """
        way = np.subtract(end, start)
        length, turn = float(np.hypot(*way)), float(np.arctan2(way[1], way[0]))
        count = max(1, round(length / 2.0))
        scale = (length / count / 2.0 + 0.01, 1.0, height)
        for fraction in (np.arange(count) + 0.5) / count:
            s, d = np.asarray(start) + way * fraction
            self.put(name, draw, s, d, turn, scale, blocks_m=0.6)

    def put_once(self, mesh: Mesh, s: float, d: float, turn: float) -> None:
        """Puts scenery on the ground that exists only once, however far away."""
        x, y = self.plan.world(s, d)
        position = np.array([[x, y, float(self.ground.height(s, d))]])
        yaw = np.array([float(self.plan.heading(s)) + turn])
        self._unique.append(place_copies(self._coat(mesh), position, yaw))

    def _reflectance(self) -> float:
        """A factor on the reflectivity of one object."""
        spread = self._style.reflectance_spread
        return float(np.exp(self.rng.normal(0.0, spread))) if spread else 1.0

    def _coat(self, mesh: Mesh) -> Mesh:
        """The mesh with a shade and reflectivity of its own."""
        spread = self._style.colour_spread
        if not spread:
            return mesh
        shade = np.exp(self.rng.normal(0.0, 0.5 * spread)) * np.exp(
            self.rng.normal(0.0, 0.1 * spread, 3)
        )
        reflectance = mesh.reflectance * np.float32(self._reflectance())
        return replace(mesh, tint=mesh.tint * shade.astype(np.float32), reflectance=reflectance)

    def tree(self, s: float, d: float, forms: tuple[str, ...] | None = None) -> None:
        """Puts a tree of one of the forms, by default of all that grow in the region."""
        rng = self.rng
        usual = TROPICAL if self.tropical else TEMPERATE
        form = str(rng.choice(forms or (usual if self.district is PLAIN else LEAFY)))
        variant = int(rng.integers(3))
        tall, wide = rng.uniform(0.92, 1.25), rng.uniform(0.85, 1.15)
        self.put(
            f"tree {form} {variant}",
            lambda: draw_tree(rng, form, self.tropical, self._leaf_tint()),
            s,
            d,
            turn=rng.uniform(0, 6.28),
            scale=(wide, wide, tall),
            blocks_m=0.45,
            tint=tuple(rng.uniform(0.85, 1.15, 3)),
        )

    def bush(self, s: float, d: float) -> None:
        """Puts one of three bushes, in any size."""
        rng = self.rng
        size = float(rng.uniform(0.6, 1.5))
        name = f"bush {int(rng.integers(3))}"
        turn, scale = rng.uniform(0, 6.28), (size, size, size)
        self.put(
            name,
            lambda: draw_bush(rng, self.tropical, self._leaf_tint()),
            s,
            d,
            turn,
            scale,
            0.75 * size,
        )

    def hedge(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Puts a hedge between two points (s, d)."""
        height = float(self.rng.uniform(0.7, 1.7))
        self.put_row("hedge", lambda: draw_hedge(self.rng, self.tropical), start, end, height)

    def fence(self, kind: str, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Puts a fence between two points (s, d), of a kind of ``draw_fence``."""
        self.put_row(f"fence {kind}", lambda: draw_fence(kind), start, end)

    def lamp(self, s: float, d: float, turn: float) -> None:
        """Puts a street lamp whose arm reaches in direction ``turn``."""
        height, arm = (8.0, 1.8) if self.tropical else (9.0, 2.2)
        self.put("lamp", lambda: draw_street_lamp(height, arm), s, d, turn, blocks_m=0.35)
        x, y = self.plan.world(s, d)
        yaw, z = float(self.plan.heading(s)) + turn, float(self.ground.height(s, d))
        self._lamps.append((x + arm * np.cos(yaw), y + arm * np.sin(yaw), z + height - 0.1))

    def scenery(self) -> list[Mesh]:
        """All scenery as meshes in the world frame."""
        meshes = list(self._unique)
        for template, copies in self._copies.values():
            parts = np.split(np.array(copies), (3, 4, 7, 10), axis=1)
            position, yaw, scale, tint, reflectance = parts
            meshes.append(
                place_copies(template, position, yaw[:, 0], scale, tint, reflectance[:, 0])
            )
        return meshes

    def lamps(self) -> np.ndarray:
        """World positions of the street lamps in metres, float32 ``[L, 3]``."""
        return np.array(self._lamps, np.float32).reshape(-1, 3)
