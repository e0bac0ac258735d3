"""The result tables of the documentation, as Markdown, from the JSON files in ``docs/results``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.results.stored import load_json

MODELS = {"base": "base", "context": "context", "tacocc": "TACOcc", "gaussrender": "GaussRender"}
"""Checkpoints at the size ``tiny``: file name and title."""


@dataclass(frozen=True)
class Column:
    """One metric: where it is in a JSON file, and how it is printed."""

    title: str
    path: str
    """Keys, joined by dots."""
    scale: float = 100.0
    digits: int = 2

    def value(self, scores: dict[str, Any]) -> float:
        """The number as printed, unrounded."""
        found: Any = scores
        for key in self.path.split("."):
            found = found[key]
        return self.scale * float(found)


SCORES = (
    Column("mIoU, %", "miou"),
    Column("mIoU of what cameras see, %", "visible.miou"),
    Column("mIoU within 25 m, %", "by_range.25.miou"),
    Column("mIoU within 50 m, %", "by_range.50.miou"),
    Column("IoU, %", "iou"),
    Column("IoU of what cameras see, %", "visible.iou"),
    Column("IoU within 25 m, %", "by_range.25.iou"),
    Column("IoU within 50 m, %", "by_range.50.iou"),
    Column("IoU of the voxelised LiDAR points, %", "lidar_iou"),
    Column("RayIoU, %", "ray_iou"),
    Column("BEV IoU, %", "bev.iou"),
    Column("BEV mIoU, %", "bev.miou"),
    Column("mIoU of images, %", "image.miou"),
    Column("depth error, cm", "depth_l1_m", digits=1),
    Column("flicker, %", "flicker"),
)
SMALL = Column("small", "miou_small")
MIOU, IOU, FLICKER = Column("mIoU", "miou"), Column("IoU", "iou"), Column("flicker", "flicker")
TACOCC = (MIOU, SMALL, IOU, FLICKER)
VLMFUSION = (MIOU, *(Column(name, f"miou_{name}") for name in ("clear", "rain", "night")), IOU)
GAUSSRENDER = (
    Column("RayIoU", "ray_iou"),
    Column("BEV IoU", "bev_iou"),
    Column("depth, cm", "depth_l1_m", digits=1),
    Column("images", "image_miou"),
    MIOU,
    IOU,
)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(value: float, digits: int) -> str:
    """A number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def signed(summary: dict[str, Any], column: Column) -> str:
    """A paired difference, ± one standard error where several seeds give one."""
    text = f"{column.scale * summary['mean']:+.{column.digits}f}".replace("-", "−")
    if summary["stderr"] is None:
        return text
    return f"{text} ± {column.scale * summary['stderr']:.{column.digits}f}"


def scores_table(data: str, results: Path) -> str:
    """The checkpoints at the size ``tiny`` side by side on one test set."""
    scores = [load_json(results / "tiny" / f"{name}_{data}.json") for name in MODELS]
    weathers = [
        Column(f"mIoU, {weather}, %", f"by_weather.{weather}.miou")
        for weather in scores[0]["by_weather"]
    ]
    rows = [
        [column.title, *(plain(column.value(each), column.digits) for each in scores)]
        for column in (*SCORES, *weathers)
    ]
    return markdown(["", *MODELS.values()], rows)


def shipped_table(results: Path) -> str:
    """Scores of the shipped checkpoint, and its IoU of every class."""
    scores = load_json(results / "shipped.json")
    rows = [
        ["RayIoU", plain(100 * scores["ray_iou"], 1)],
        ["IoU", plain(100 * scores["iou"], 1)],
        ["mIoU", plain(100 * scores["miou"], 1)],
        *([n.replace("_", " "), plain(100 * v, 1)] for n, v in scores["per_class"].items()),
    ]
    return markdown(["%", "shipped"], rows)


def classes_table(results: Path) -> str:
    """IoU of every class, of the same checkpoints, over all weathers."""
    scores = [load_json(results / "tiny" / f"{name}_town_weathers.json") for name in MODELS]
    names = scores[0]["per_class"]
    rows = [
        [name.replace("_", " "), *(plain(100 * each["per_class"][name], 1) for each in scores)]
        for name in names
    ]
    return markdown(["IoU, %", *MODELS.values()], rows)


def ablation_table(
    name: str, columns: Sequence[Column], results: Path, chosen: Sequence[str] = ()
) -> str:
    """The rows of an ablation: differences to the row that each is compared to, and the values of
    the rows that others are compared to.

    Args:
        chosen: rows that are shown, with those that they are compared to; all where none is named.
    """
    table = load_json(results / f"{name}.json")
    rows = table["rows"]
    wanted = {row["name"] for row in rows if not chosen or row["name"] in chosen}
    wanted |= {row["over"] for row in rows if row["name"] in wanted}
    references = {row["over"] for row in rows}
    ratios = table["latency"].get("over_first", {})
    lines = []
    for row in (row for row in rows if row["name"] in wanted):
        metrics = row["metrics"]
        if row["name"] in references:
            cells = [
                plain(column.scale * metrics[column.path]["mean"], column.digits)
                for column in columns
            ]
        else:
            cells = [signed(metrics[f"{column.path}_over_first"], column) for column in columns]
        over = "" if row["name"] in references else row["over"]
        ratio = f"{ratios[row['name']]:.2f}" if row["name"] in ratios else ""
        lines.append([row["name"], over, *cells, str(len(row["seeds"])), ratio])
    titles = [column.title for column in columns]
    return markdown(["row", "compared to", *titles, "seeds", "time"], lines)


def robustness_table(results: Path) -> str:
    """mIoU with a wrong weather and with sensors that fail."""
    table = load_json(results / "tiny" / "robustness.json")
    names = [Path(row["name"]).name for row in table["rows"]]
    rows = [
        [
            condition,
            *(
                plain(100 * row["conditions"][condition]["miou"]["mean"], 2)
                for row in table["rows"]
            ),
        ]
        for condition in table["rows"][0]["conditions"]
    ]
    return markdown(["mIoU, %", *names], rows)


def efficiency_table(results: Path) -> str:
    """Time and memory by image size and backbone."""
    rows = [
        [
            row["name"],
            row["image"].replace("x", " x "),
            row["backbone"],
            plain(row["parameters"] / 1e6, 1),
            plain(row["latency_ms"] / 1e3, 2),
            plain(row["peak_memory_mib"] / 1024, 1),
        ]
        for row in load_json(results / "efficiency.json")["rows"]
    ]
    head = ["model", "image", "backbone", "parameters, M", "time, s", "memory, GiB"]
    return markdown(head, rows)


def profile_table(results: Path) -> str:
    """Time of every part of the shipped model, the most expensive first."""
    measured = load_json(results / "profile.json")["models"]["shipped"]
    stages = sorted(measured["stages"].items(), key=lambda stage: -stage[1]["cpu_ms"])
    rows = [
        [f"`{name}`", plain(times["cpu_ms"], 1), plain(times["wall_ms"], 1)]
        for name, times in [*stages, ("step", measured["step"])]
        if times["cpu_ms"] >= 0.05  # parts that this model does not have
    ]
    return markdown(["part", "processor time, ms", "wall time, ms"], rows)


def preprocessing_table(results: Path) -> str:
    """Sky masks and the LiDAR filter against what generated towns know."""
    rows = [
        [name, plain(value, 3)]
        for name, value in _flat(load_json(results / "preprocessing.json"))
        if isinstance(value, float)
    ]
    return markdown(["", "value"], rows)


def demo_table(results: Path) -> str:
    """The live node on the demo's drive, alone and beside a busy loop on each core."""
    columns = [_demo_column(load_json(results / name)) for name in ("demo.json", "demo_busy.json")]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    return markdown(["", "alone", "beside busy loops"], rows)


def _demo_column(summary: dict[str, Any]) -> dict[str, str]:
    latency, memory_mib = summary["latency_ms"], summary["node_memory_mib"]
    figures = {
        "keyframes played, answered": f"{summary['frames_in']}, {summary['frames_out']}",
        "latency p50, p99, s": f"{latency['p50'] / 1e3:.2f}, {latency['p99'] / 1e3:.2f}",
        "mIoU, IoU, %": f"{100 * summary['miou']:.1f}, {100 * summary['iou']:.1f}",
        "every voxel equal to `occ_offline`'s": "yes" if summary["offline_equal"] else "no",
        "busy loops beside it": str(summary["busy_loops"]),
        "peak memory of the node, MiB": "–" if memory_mib is None else plain(memory_mib, 0),
    }
    stages = summary["stage_ms"].items()
    return figures | {f"stage `{name}`, ms": plain(value, 0) for name, value in stages}


def readme_table(results: Path) -> str:
    """The results of the README."""
    towns = load_json(results / "shipped.json")
    profile = load_json(results / "profile.json")
    shipped = profile["models"]["shipped"]
    kitti, nuscenes, ddad = (
        load_json(results / "real" / f"{name}.json")
        for name in ("semantic_kitti", "nuscenes", "ddad")
    )
    machine = profile["machine"].split(";")[0]
    unseen = "8 unseen generated towns, CPU"
    time = f"{shipped['step']['wall_ms'] / 1e3:.2f} s, {shipped['peak_memory_mib'] / 1024:.1f} GiB"
    rows = [
        ["mIoU", f"{100 * towns['miou']:.1f} %", unseen],
        ["IoU", f"{100 * towns['iou']:.1f} %", unseen],
        ["RayIoU", f"{100 * towns['ray_iou']:.1f} %", unseen],
        ["flicker: static voxels that change label", f"{100 * towns['flicker']:.1f} %", unseen],
        ["time and memory of a keyframe", time, f"{machine}, no GPU"],
        *(
            _boxes_row(scores, data)
            for scores, data in (
                (nuscenes, "one real nuScenes keyframe, CPU"),
                (ddad, "three real DDAD keyframes, CPU"),
            )
        ),
        [
            "labelled LiDAR points: mIoU, accuracy; road called road",
            f"{100 * kitti['point_miou']:.1f} %, {100 * kitti['accuracy']:.1f} %; "
            f"{100 * kitti['recall_as']['driveable_surface']['driveable_surface']:.1f} %",
            "ten real SemanticKITTI scans, CPU",
        ],
        _soak_row(load_json(results / "soak.json")),
    ]
    return markdown(["shipped model", "result", "measured on"], rows)


def _soak_row(soak: dict[str, Any]) -> list[str]:
    """A row of the README: the live node under faults, where a quick engine answers, and SIGINTs to
    a node with the shipped model.
    """
    growth, sigint = soak["memory_mib"]["growth_percent"], soak["interrupts"]
    return [
        "soak: growth of memory; clean SIGINTs; failed checks",
        f"{growth:.2f} %; {sigint['clean']} of {sigint['number']}; {len(soak['failures'])}",
        f"live node; {soak['frames']} frames, stand-in engine",
    ]


def _boxes_row(scores: dict[str, Any], data: str) -> list[str]:
    """A row of the README: a real drive with boxes."""
    precision, recall = (
        f"{100 * scores[f'vehicle_{name}']:.1f} %" for name in ("precision", "recall")
    )
    cars = f"{100 * scores['exact_class_in_boxes']['car']['accuracy']:.1f} %"
    return [
        "vehicle points: precision, recall; cars called cars",
        f"{precision}, {recall}; {cars}",
        data,
    ]


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested values with their keys joined by a space."""
    pairs = []
    for name, value in values.items():
        title = f"{prefix} {name}".strip().replace("_", " ")
        pairs += _flat(value, title) if isinstance(value, dict) else [(title, value)]
    return pairs
