"""The rows of the papers' ablation tables: what each row switches on. ``training.ablate`` trains
and scores them.

Rows of the same name are the same training, in whichever table: it is done once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.config import OccupancyConfig, SurroundOccConfig, TPVFormerConfig, nano
from occ_core.losses.gauss_render.loss import GaussRenderConfig, released
from occ_core.losses.sequential.renderer import RenderingConfig
from occ_core.prompts import LanguageConfig
from occ_core.rendering.virtual_cameras import STRATEGIES
from occ_core.temporal import TemporalConfig
from training.recipes import GAUSS_RENDER

DAGA = 0.2
"""lambda_daga of VLMFusionOcc3D's Eq. 7."""
GAUSS_RENDER_FROM = 0.5
"""The share of a row's short training after which GaussRender's loss begins."""
FIRST_DIRECTION = AdaptiveFusionConfig(strides=(1,), lidar_queries=False)
"""Image voxels retrieve LiDAR voxels, at one level."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    switches: tuple[str, ...] = ()
    """The ticks of the paper's table."""
    model: dict[str, object] = field(default_factory=dict)
    """Fields of ``OccupancyConfig`` that differ from the first row."""
    rendering: RenderingConfig | None = None
    """Of the training."""
    gauss_render: GaussRenderConfig | None = None
    """Of the training."""
    gauss_render_from: float | None = GAUSS_RENDER_FROM
    """Of the training, where it has that loss."""
    daga: float = 0.0
    """What the alignment loss counts in training."""
    by_drive: bool = False
    """The training's order is that of a memory, without one."""
    longer: int = 1
    """Times the table's steps."""
    over: str | None = None
    """The row that this one is compared to; None is the first."""

    def of(self, first: OccupancyConfig) -> OccupancyConfig:
        """This row's model, given the first row's."""
        return replace(first, **self.model)  # type: ignore[arg-type]


def tacocc() -> list[Row]:
    """TACOcc's Table III, and the rivals of its parts. Every row builds on the base; "memory" rows
    remember.

    A memory needs keyframes drive by drive, each in a forward pass of its own, which by itself
    changes what is learned: rows with a memory are compared to a base that was trained in the same
    order.
    """
    fuser, memory = AdaptiveFusionConfig(), TemporalConfig()
    # nano's images are small already; of what the inner optimisation gives, L_pc's gradient has the
    # sign alone
    rendering = RenderingConfig(image_scale=0.5, most_anchors=4000, inner_steps=2)
    whole = {"adaptive_fusion": fuser, "temporal": memory}
    steps = ("dyn_k", "bi_k", "mspf", "memory")
    ordered = Row("base, drive by drive", ("order",), by_drive=True)
    return [
        Row("base"),
        ordered,
        Row("add", ("add",), {"fusion": "add"}),
        Row("conv", ("conv",), {"fusion": "conv"}),
        Row(
            "fixed k = 3",
            ("fix_k",),
            {"adaptive_fusion": replace(FIRST_DIRECTION, candidates=(3,))},
        ),
        Row("dynamic k", ("dyn_k",), {"adaptive_fusion": FIRST_DIRECTION}),
        Row(
            "both directions",
            ("dyn_k", "bi_k"),
            {"adaptive_fusion": AdaptiveFusionConfig(strides=(1,))},
        ),
        Row("pyramid (the whole fuser)", ("dyn_k", "bi_k", "mspf"), {"adaptive_fusion": fuser}),
        Row("base + memory", ("memory",), {"temporal": memory}, over=ordered.name),
        Row("fuser + memory", steps, whole, over=ordered.name),
        Row(
            "voxels rendered",
            (*steps, "l_pc"),
            whole,
            replace(rendering, points=False),
            over=ordered.name,
        ),
        Row("points too", (*steps, "l_pc", "dga"), whole, rendering, over=ordered.name),
        Row(
            "and L_rgb",
            (*steps, "l_pc", "dga", "l_rgb"),
            whole,
            replace(rendering, photometric_weight=1.0),
            over=ordered.name,
        ),
    ]


def vlmfusion() -> list[Row]:
    """VLMFusionOcc3D's Table III, every combination of its parts; the other fusers of its Table IV;
    both papers together.
    """
    parts = {"InstVLM": "instances", "WeathFusion": "weather", "DAGA": "daga"}
    rows = [Row("base")]
    for chosen in (chosen for size in (1, 2, 3) for chosen in combinations(parts, size)):
        switches = tuple(parts[name] for name in chosen)
        model: dict[str, object] = {}
        if switches != ("daga",):
            model["language"] = LanguageConfig(
                instances="instances" in switches, weather="weather" in switches
            )
        rows.append(
            Row(" + ".join(chosen), switches, model, daga=DAGA if "daga" in switches else 0.0)
        )
    both = {"adaptive_fusion": AdaptiveFusionConfig(), "temporal": TemporalConfig()}
    language = {"language": LanguageConfig()}
    return [
        *rows,
        Row("add", ("add",), {"fusion": "add"}),
        Row("conv", ("conv",), {"fusion": "conv"}),
        Row("fuser + memory", ("tacocc",), both),
        Row(
            "TACOcc + all",
            ("tacocc", *parts.values()),
            both | language,
            daga=DAGA,
            over="fuser + memory",
        ),
    ]


def neighbourhoods() -> list[Row]:
    """TACOcc's Tables IV and V: how many neighbours a voxel may retrieve, fixed or chosen."""
    candidates = {"k = 1": (1,), "k = 2": (2,), "k = 3": (3,), "k of 1, 2": (1, 2)}
    fusers = {name: AdaptiveFusionConfig(candidates=one) for name, one in candidates.items()}
    return [
        Row("base"),
        *(Row(name, (name,), {"adaptive_fusion": fuser}) for name, fuser in fusers.items()),
        Row(
            "pyramid (the whole fuser)",
            ("k of 1, 2, 3",),
            {"adaptive_fusion": AdaptiveFusionConfig()},
        ),
    ]


def gaussrender() -> list[Row]:
    """GaussRender's Tables 5 (cameras) and 6 (terms) on the base, what was released, and three
    models with and without the loss.

    It begins at half of the training, but for two rows that show what it does from the first step.
    """
    paper = GaussRenderConfig(weight=GAUSS_RENDER)
    terms = ("cam", "depth", "bev", "bev_depth")
    strategies = [one for one in STRATEGIES if one not in (paper.strategy, released().strategy)]
    depth = replace(paper, bev=False, bev_depth=False)
    whole = {
        "adaptive_fusion": AdaptiveFusionConfig(),
        "temporal": TemporalConfig(),
        "language": LanguageConfig(),
    }
    # at the ablations' grid the planes and the finest volume have 2 m cells, and the images are
    # small
    alone = {
        "lidar": False,
        "cascade_ratio": 1,
        "image_encoder": replace(nano().image_encoder, stride=8),
    }
    tpvformer = TPVFormerConfig(
        channels=32, heads=4, layers=2, pillars=(4, 8, 8), samples=(8, 16, 16), levels=3
    )
    surroundocc = SurroundOccConfig(channels=(32, 64), layers=(1, 3), samples=(2, 4), heads=4)
    hosts: dict[
        str, tuple[dict[str, object], int]
    ] = {  # after the table's steps cameras alone tell the ground and little else
        "whole model": (whole, 1),
        "TPVFormer": (alone | {"tpvformer": tpvformer}, 4),
        "SurroundOcc": (alone | {"surroundocc": surroundocc}, 4),
    }
    return [
        Row("base"),
        Row("GaussRender", terms, gauss_render=paper),
        Row("from the first step", terms, gauss_render=paper, gauss_render_from=None),
        Row(
            "ten times the weight", terms, gauss_render=GaussRenderConfig(), gauss_render_from=None
        ),
        Row("camera", ("cam",), gauss_render=replace(depth, camera_depth=False)),
        Row("camera, its depth", ("cam", "depth"), gauss_render=depth),
        Row(
            "camera, its depth, above",
            ("cam", "depth", "bev"),
            gauss_render=replace(paper, bev_depth=False),
        ),
        *(
            Row(f"cameras: {one}", (one,), gauss_render=replace(paper, strategy=one))
            for one in strategies
        ),
        Row("as released", ("released",), gauss_render=replace(released(), weight=1.0)),
        *(
            row
            for name, (model, longer) in hosts.items()
            for row in (
                Row(name, (name,), model, longer=longer),
                Row(
                    f"{name} + GaussRender",
                    (name, *terms),
                    model,
                    gauss_render=paper,
                    longer=longer,
                    over=name,
                ),
            )
        ),
    ]


TABLES: dict[str, Callable[[], list[Row]]] = {
    "tacocc": tacocc,
    "neighbourhoods": neighbourhoods,
    "gaussrender": gaussrender,
    "vlmfusion": vlmfusion,
}
