"""The rows of the papers' ablation tables and what each of them switches on, for
``training.ablate``.

Rows of the same name are the same training in every table but ``streets``, and it is run only once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.baselines.mconet import MConetConfig
from occ_core.baselines.occmamba.encoder import OccMambaConfig
from occ_core.config import (
    OccupancyConfig,
    SurroundOccConfig,
    SymphoniesConfig,
    TPVFormerConfig,
    nano,
)
from occ_core.losses.gauss_render.loss import GaussRenderConfig, authors_code
from occ_core.losses.sequential.renderer import SequentialRendererConfig
from occ_core.prompts import LanguageConfig
from occ_core.rendering.virtual_cameras import STRATEGIES
from occ_core.temporal import TemporalConfig
from training.recipes import GAUSS_RENDER

STREETS = "streets"
"""The table whose rows start from trained weights; those of the others start from none."""
DAGA = 0.2
"""lambda_daga of VLMFusionOcc3D's Eq. 7."""
GAUSS_RENDER_FROM = 0.5
"""Fraction of a row's short training after which GaussRender's loss sets in."""
FIRST_DIRECTION = AdaptiveFusionConfig(strides=(1,), lidar_queries=False)
"""Image voxels retrieve LiDAR voxels, at one level."""


@dataclass(frozen=True)
class Row:
    """One row of a table."""

    name: str
    switches: tuple[str, ...] = ()
    """Ticks in the paper's table."""
    model: dict[str, object] = field(default_factory=dict)
    """Fields of ``OccupancyConfig`` that differ from the first row's."""
    rendering: SequentialRendererConfig | None = None
    """TACOcc's renderer in training."""
    gauss_render: GaussRenderConfig | None = None
    """GaussRender's loss in training."""
    gauss_render_from: float | None = GAUSS_RENDER_FROM
    """Fraction of the steps after which GaussRender's loss sets in, if the row has it."""
    daga: float = 0.0
    """Weight of the alignment loss in training."""
    conet_labels: bool = False
    """Whether the coarse voxels are labelled by CONet's rule."""
    by_drive: bool = False
    """Whether keyframes come drive by drive, as for a memory, although there is none."""
    blind: bool = False
    """Whether it is trained and scored without a single image."""
    seed_offset: int = 0
    """Added to every seed: a row that differs in nothing else shows what seeds alone do."""
    steps_factor: int = 1
    """Factor on the table's number of steps."""
    reference: str | None = None
    """Name of the row to which this one is compared; None: the first."""

    def model_config(self, first: OccupancyConfig) -> OccupancyConfig:
        """Configuration of this row's model, given the first row's."""
        return replace(first, **self.model)  # type: ignore[arg-type]


def tacocc() -> list[Row]:
    """TACOcc's Table III, plus alternatives to its fuser. Every row extends the base.

    A memory needs keyframes drive by drive, each in a forward pass of its own, and this order alone
    changes what is learned. Rows with a memory are therefore compared to a base trained in the same
    order.
    """
    fuser, memory = AdaptiveFusionConfig(), TemporalConfig()
    # nano's images are small already; the gradient of L_pc takes only the sign from the result of
    # the inner optimisation, so few steps of it will do
    rendering = SequentialRendererConfig(image_scale=0.5, most_anchors=4000, inner_steps=2)
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
        Row("base + memory", ("memory",), {"temporal": memory}, reference=ordered.name),
        Row("fuser + memory", steps, whole, reference=ordered.name),
        Row(
            "voxels rendered",
            (*steps, "l_pc"),
            whole,
            replace(rendering, points=False),
            reference=ordered.name,
        ),
        Row("points too", (*steps, "l_pc", "dga"), whole, rendering, reference=ordered.name),
        Row(
            "and L_rgb",
            (*steps, "l_pc", "dga", "l_rgb"),
            whole,
            replace(rendering, photometric_weight=1.0),
            reference=ordered.name,
        ),
    ]


def vlmfusion() -> list[Row]:
    """VLMFusionOcc3D's Table III with every combination of its parts, the other fusers of its Table
    IV, both papers together, and the two models of its Table I with and without its parts.
    """
    parts = {"InstVLM": "instances", "WeathFusion": "weather", "DAGA": "daga"}
    rows = [Row("base")]
    for chosen in (names for size in (1, 2, 3) for names in combinations(parts, size)):
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
            reference="fuser + memory",
        ),
        *_vlmfusion_hosts(tuple(parts.values())),
    ]


def _vlmfusion_hosts(switches: tuple[str, ...]) -> list[Row]:
    """M-CONet and OccMamba, alone and with InstVLM, WeathFusion and DAGA."""
    # nano's volume has 50 x 50 x 4 voxels
    occmamba = OccMambaConfig(
        channels=16, layers=(1, 1, 1), state=8, patches=(5,), patch_channels=16
    )
    hosts: dict[str, dict[str, object]] = {
        "M-CONet": {"mconet": MConetConfig(kernel=3, blocks=(1, 1, 1))},
        "OccMamba": {"occmamba": occmamba},
    }
    rows = []
    for name, model in hosts.items():
        host = Row(name, (name,), model, conet_labels=True)
        whole = replace(
            host,
            name=f"{name} + all",
            switches=(name, *switches),
            model=model | {"language": LanguageConfig()},
            daga=DAGA,
            reference=name,
        )
        rows += [host, whole]
    return rows


def neighbourhoods() -> list[Row]:
    """TACOcc's Tables IV and V: fixed and adaptive numbers of retrieved neighbours."""
    candidates = {"k = 1": (1,), "k = 2": (2,), "k = 3": (3,), "k of 1, 2": (1, 2)}
    fusers = {name: AdaptiveFusionConfig(candidates=ks) for name, ks in candidates.items()}
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
    """GaussRender's Tables 5 (cameras) and 6 (terms) on the base, the settings of the authors'
    code, and other models with and without the loss.

    The loss sets in halfway through training, except in two rows that show its effect from the
    first step.
    """
    paper = GaussRenderConfig(weight=GAUSS_RENDER)
    terms = ("cam", "depth", "bev", "bev_depth")
    in_other_rows = (paper.strategy, authors_code().strategy)
    strategies = [name for name in STRATEGIES if name not in in_other_rows]
    depth = replace(paper, bev=False, bev_depth=False)
    above = replace(paper, bev_depth=False)
    full = GaussRenderConfig()
    # on SurroundOcc's grid, with voxels drawn as in the other rows
    released = replace(
        authors_code(),
        weight=1.0,
        min_opacity=full.min_opacity,
        inside_only=False,
        max_depths_m=None,
    )
    return [
        Row("base"),
        Row("GaussRender", terms, gauss_render=paper),
        Row("from the first step", terms, gauss_render=paper, gauss_render_from=None),
        Row("ten times the weight", terms, gauss_render=full, gauss_render_from=None),
        Row("camera", ("cam",), gauss_render=replace(depth, camera_depth=False)),
        Row("camera, its depth", ("cam", "depth"), gauss_render=depth),
        Row("camera, its depth, above", ("cam", "depth", "bev"), gauss_render=above),
        *(
            Row(f"cameras: {name}", (name,), gauss_render=replace(paper, strategy=name))
            for name in strategies
        ),
        Row("as released", ("released",), gauss_render=released),
        *(
            row
            for baseline in _gaussrender_baselines()
            for row in (baseline, _with_loss(baseline, terms, paper))
        ),
    ]


def _gaussrender_baselines() -> list[Row]:
    """Models that GaussRender's loss is added to."""
    whole = {
        "adaptive_fusion": AdaptiveFusionConfig(),
        "temporal": TemporalConfig(),
        "language": LanguageConfig(),
    }
    # on this grid TPVFormer's planes, SurroundOcc's finest volume and Symphonies' scene have 2 m
    # cells, and the images are small
    camera_only = {
        "lidar": False,
        "cascade_ratio": 1,
        "image_encoder": replace(nano().image_encoder, stride=8),
    }
    tpvformer = TPVFormerConfig(
        channels=32, heads=4, layers=2, pillars=(4, 8, 8), samples=(8, 16, 16), levels=3
    )
    surroundocc = SurroundOccConfig(channels=(32, 64), layers=(1, 3), samples=(2, 4), heads=4)
    symphonies = SymphoniesConfig(channels=32, heads=4, layers=2, instances=20, levels=2)
    # camera-only models take longer to recognise more than the ground; Symphonies has half as many
    # steps as the others, since one takes about a second on a core
    baselines: dict[str, tuple[dict[str, object], int]] = {
        "whole model": (whole, 1),
        "TPVFormer": (camera_only | {"tpvformer": tpvformer}, 4),
        "SurroundOcc": (camera_only | {"surroundocc": surroundocc}, 4),
        "Symphonies": (camera_only | {"symphonies": symphonies}, 2),
    }
    return [
        Row(name, (name,), model, steps_factor=steps_factor)
        for name, (model, steps_factor) in baselines.items()
    ]


def streets() -> list[Row]:
    """The parts of the three papers, and the cameras, on the model for real streets.

    All rows are trained further from the same weights, those of ``bench_streets``.
    """
    fuser, memory = AdaptiveFusionConfig(), TemporalConfig(stride=2)
    both = {"adaptive_fusion": fuser, "temporal": memory}
    ordered = Row("base, drive by drive", ("order",), by_drive=True)
    rendering = SequentialRendererConfig(
        image_scale=0.5, most_anchors=4000, inner_steps=2, points=False
    )
    return [
        Row("base"),
        Row("base, other seeds", ("null",), seed_offset=100),
        Row("without cameras", ("blind",), blind=True),
        Row("InstVLM", ("instances",), {"language": LanguageConfig(weather=False)}),
        Row("WeathFusion", ("weather",), {"language": LanguageConfig(instances=False)}),
        Row("DAGA", ("daga",), daga=DAGA),
        Row(
            "all three", ("instances", "weather", "daga"), {"language": LanguageConfig()}, daga=DAGA
        ),
        Row(
            "fixed k = 3",
            ("fix_k",),
            {"adaptive_fusion": replace(FIRST_DIRECTION, candidates=(3,))},
        ),
        Row("whole fuser", ("dyn_k", "bi_k", "mspf"), {"adaptive_fusion": fuser}),
        ordered,
        Row("memory", ("memory",), {"temporal": memory}, reference=ordered.name),
        Row("fuser + memory", ("fuser", "memory"), both, reference=ordered.name),
        Row("renderer too", ("fuser", "memory", "l_pc"), both, rendering, reference=ordered.name),
        Row(
            "GaussRender",
            ("cam", "depth", "bev", "bev_depth"),
            gauss_render=GaussRenderConfig(weight=GAUSS_RENDER),
            gauss_render_from=None,
        ),
    ]


def _with_loss(baseline: Row, terms: tuple[str, ...], loss: GaussRenderConfig) -> Row:
    return replace(
        baseline,
        name=f"{baseline.name} + GaussRender",
        switches=(baseline.name, *terms),
        gauss_render=loss,
        reference=baseline.name,
    )


TABLES: dict[str, Callable[[], list[Row]]] = {
    "tacocc": tacocc,
    "neighbourhoods": neighbourhoods,
    "gaussrender": gaussrender,
    "vlmfusion": vlmfusion,
    STREETS: streets,
}
