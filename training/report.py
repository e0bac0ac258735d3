"""The tables of the documentation: ``python -m training.report`` prints ``docs/results.md``.

``--write`` writes that page from ``docs/results/*.json``, and renews the tables between
``<!-- table: NAME -->`` and ``<!-- end -->`` in the README and the other pages.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from training.results import code_tables, yardstick_tables
from training.results import result_tables as tables
from training.results.costs_table import costs_table
from training.results.labels_table import labels_table
from training.results.plan_table import stored_plan_table
from training.results.real_voxels_table import real_voxels_table
from training.results.realism_table import realism_table
from training.results.ros_table import ros_table
from training.results.soak_table import soak_table

ROOT = Path(__file__).parents[1]
TEST, WEATHERS = "`data/town_test`", "`data/town_weathers`"


@dataclass(frozen=True)
class ReportConfig:
    """What is read, and whether the documents are written."""

    results: Path = ROOT / "docs" / "results"
    """Folder of the JSON files."""
    write: bool = False
    """Renews the tables in the documents instead of printing them."""


@dataclass(frozen=True)
class Section:
    """A section of ``docs/results.md``."""

    title: str
    file: str
    """The JSON file under ``docs/results``."""
    text: str
    table: Callable[[Path], str]
    command: str = ""
    """What writes the file, where the file itself does not say it."""
    also: tuple[str, ...] = ()
    """Further files that the table reads."""

    def markdown(self, results: Path) -> str:
        """Title, source and table; where the file is missing, the command that writes it."""
        path = results / self.file
        stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        command = self.command or stored.get("command", "")
        about = [self.text]
        if stored:
            machines = stored.get("machines") or [stored.get("machine", "")]
            known = [machine for machine in machines if machine]
            about += [f"Measured on: {' and '.join(known)}."] if known else []
        place = f"[`{self.file}`](results/{self.file})" if stored else f"`{self.file}`"
        source = f"Stored in {place}, written by `{command}`."
        table = self.table(results) if stored else "*Not stored yet.*"
        return "\n\n".join([f"## {self.title}", " ".join([*about, source]), table])


def _evaluate(options: str) -> str:
    return f"python -m training.evaluate {options}"


TINY = (
    "Four checkpoints at the size `tiny`, each trained for 700 steps from `tiny_town`'s weights, "
    "one seed: *base* as before, *context* with memory, prompts, WeathFusion and the alignment "
    "loss, *TACOcc* with its fuser and memory, *GaussRender* with its loss."
)
PAIRED = (
    "Size `nano`, 800 steps. Rows that others are compared to show their scores in %, the others "
    "the mean of the paired differences in points ± its standard error over the seeds. *Time* is a "
    "keyframe's, untrained, over the first row's."
)
SECTIONS = (
    Section(
        "Unseen towns",
        "tiny/context_town_test.json",
        f"{TINY} Eight drives ({TEST}), ten keyframes each.",
        partial(tables.scores_table, "town_test"),
        _evaluate("--data data/town_test --json docs/results/tiny/context_town_test.json"),
    ),
    Section(
        "Unseen towns, each in three weathers",
        "tiny/context_town_weathers.json",
        f"The same checkpoints on 24 drives ({WEATHERS}): eight towns in clear weather, in rain "
        "and at night.",
        partial(tables.scores_table, "town_weathers"),
        _evaluate("--data data/town_weathers --json docs/results/tiny/context_town_weathers.json"),
    ),
    Section(
        "Classes",
        "tiny/context_town_weathers.json",
        "The same, class by class.",
        tables.classes_table,
        _evaluate("--data data/town_weathers --json docs/results/tiny/context_town_weathers.json"),
    ),
    Section(
        "The shipped weights on unseen towns",
        "shipped.json",
        f"Plain towns ({TEST}); these weights are made for real streets, which follow below.",
        tables.shipped_table,
        _evaluate("--data data/town_test --json docs/results/shipped.json"),
    ),
    Section(
        "By region and sensor",
        "yardsticks.json",
        f"The shipped checkpoint on the eight drives of {TEST}: in the whole grid and where a "
        "camera sees, by range (the larger of |x| and |y|) and weather, and what voxels of each "
        "ground class are predicted as. *One sweep*: instead of ten. *Without*: the sensor is "
        "masked, which says how much this model relies on it, not what it is worth.",
        yardstick_tables.yardsticks_table,
    ),
    Section(
        "What features know of classes",
        "point_probe.json",
        "An MLP names LiDAR points by the frozen features of the shipped checkpoint, trained on "
        f"five drives of {TEST} and scored on the other three; points are drawn with "
        "sqrt-balanced classes. *Image*: the image features alone. *LiDAR*: those of the point's "
        "own voxel. *Fused*: these, and the volume that the head reads.",
        yardstick_tables.point_probe_table,
    ),
    Section(
        "Real drives",
        "real/semantic_kitti.json",
        "Data sets that the weights have never seen: labelled points of SemanticKITTI's "
        "sequences 00 and 05 (one camera, five scans joined), one nuScenes keyframe (a single "
        "sweep) and three of DDAD (three cameras). The last two have boxes: vehicles count within "
        "40 m, in boxes grown by half a metre. The other files lie beside this one.",
        yardstick_tables.real_table,
        _evaluate("--data DATAROOT --benchmark real --json docs/results/real/semantic_kitti.json"),
        also=("real/nuscenes.json", "real/ddad.json"),
    ),
    Section(
        "Trained on real voxels",
        "real/voxels_05.json",
        "A proof that the way from a folder to submission files works, **not a score to compare**: "
        "`tiny_semantic_kitti`, stopped after 200 of 300 steps on the two labelled scans of a "
        "ten-scan piece of SemanticKITTI's sequence 00, scored on two of sequence 05 and on its "
        "own two. The labels are not the official ones: they are derived from the ten scans, and "
        "most voxels count as not seen. [How](data.md#train-and-score-on-a-folder-of-voxels). The "
        "weights are not distributed.",
        real_voxels_table,
        _evaluate(
            "--benchmark semantic_kitti --data data/semantic_kitti --scenes 05 "
            "--checkpoint out/train/tiny_semantic_kitti/model.safetensors "
            "--json docs/results/real/voxels_05.json"
        ),
        also=("real/voxels_00.json",),
    ),
    Section(
        "The live node",
        "demo.json",
        "A generated drive at 2 Hz, from a clear day into rain at night, over DDS. Latency runs "
        "from the LiDAR's stamp to the arrival of the answer. Beside busy loops, other processes "
        "spin while the drive is played, and the node computes with one thread.",
        tables.demo_table,
        "make demo; cp out/demo/summary.json docs/results/demo.json; "
        "OMP_NUM_THREADS=1 python -m training.demo --busy-loops 2 --out out/demo_busy; "
        "cp out/demo_busy/summary.json docs/results/demo_busy.json",
        also=("demo_busy.json",),
    ),
    Section(
        "The live node under faults",
        "soak.json",
        "A made-up drive, at most at the rate stated, over DDS, with random faults: cameras drop "
        "out, images and clouds are damaged, clocks jump, the process is stopped, messages come in "
        "bursts, subscribers come and go.",
        soak_table,
    ),
    Section(
        "Where a keyframe's time goes",
        "profile.json",
        "A keyframe of the shipped model, batch 1, on two threads, with nothing else on the "
        "machine. Processor time is the sum over the threads.",
        tables.profile_table,
    ),
    Section(
        "What time and memory grow with",
        "cost_curves.json",
        "An answer of the shipped model, of which one thing at a time is changed. Processor time "
        "is the sum over the threads. *Knee*: the value at which an answer takes twice as long as "
        "at the cheapest one.",
        costs_table,
    ),
    Section(
        "Time and memory",
        "efficiency.json",
        "A keyframe, batch 1, with TACOcc's fuser and memory except in *base alone*; random "
        "weights (TACOcc, Table VII).",
        tables.efficiency_table,
    ),
    Section(
        "TACOcc's parts",
        "tacocc.json",
        f"{PAIRED} *Small*: pedestrian, cone, bicycle, motorcycle.",
        partial(tables.ablation_table, "tacocc", tables.TACOCC),
    ),
    Section(
        "VLMFusionOcc3D's parts",
        "vlmfusion.json",
        f"{PAIRED} Scored on {WEATHERS}.",
        partial(tables.ablation_table, "vlmfusion", tables.VLMFUSION),
    ),
    Section(
        "GaussRender's cameras, terms and models",
        "gaussrender.json",
        f"{PAIRED} TPVFormer, SurroundOcc: 3200 steps; Symphonies: 1600. The loss sets in halfway.",
        partial(tables.ablation_table, "gaussrender", tables.GAUSSRENDER),
    ),
    Section(
        "Wrong weather and failing sensors",
        "tiny/robustness.json",
        "*Base* and *context* as above; a share of the keyframes has no camera, or no LiDAR.",
        tables.robustness_table,
    ),
    Section(
        "Sky masks and LiDAR filter",
        "preprocessing.json",
        f"No network; against what the generated towns in {TEST} know.",
        tables.preprocessing_table,
        _evaluate(
            "--data data/town_test --benchmark preprocessing --json docs/results/preprocessing.json"
        ),
    ),
    Section(
        "Realism of generated worlds",
        "realism.json",
        "Means of simple statistics of real frames and of 24 drives of each world "
        "(`training.make_world --seed 61 --scenes 24 --keyframes 1 --image-size 198 352 --weathers "
        "clear`), and distances between them. *Distance*: Wasserstein's between a world and a real "
        "data set, over the standard deviation of the real samples (of log2 values, as it is), "
        "averaged over the data sets. *Nearest*: the same for the drive that comes nearest to "
        "each. The hard world varies on purpose, so it holds a drive like each data set rather "
        "than being like all of them.",
        realism_table,
    ),
    Section(
        "Labels made from drives",
        "labels.json",
        "`training.make_labels` on drives whose labels are known exactly (`training.make_world "
        "--scenes 6 --seed 5 --keyframes 40 --image-size 64 176`, each as long as one of nuScenes; "
        "in three the car moves 7 m at most), and on twenty real scans, where the truth is a vote "
        "of their points without any filling. [What counts](data.md#labels-of-your-own-drives). "
        "*Found*: share of the true voxels that are occupied at all; *agreement*: of these, where "
        "a class was given, the share that has the right one. Filled ground between two classes "
        "has none: in the towns it counts as occupied, on SemanticKITTI, whose layout calls it "
        "invalid, not at all.",
        labels_table,
    ),
    Section(
        "Plan for full data sets",
        "plan.json",
        "Measured costs of a keyframe, and what they come to for nuScenes' trainval and for ten "
        "times as much; see [Plan a full data set](planning.md). On a CPU with a small model: "
        "measure again on the machines that will do the work.",
        stored_plan_table,
        "python -m training.plan data/town_test --out docs/results/plan.json",
    ),
    Section(
        "The robot's side",
        "ros.json",
        "Results of all implementations are compared before they are timed. *Passes*: a drive that "
        "is played three times, as a looped bag; each sweep should give a set. *Frame*: "
        "a generated drive at nuScenes' sizes, with JPEG files that take as long to decode as its "
        "own, every output subscribed to, one thread. *nuscenes_to_bag*: 72 images, 20 sweeps/s.",
        ros_table,
    ),
)


def results_page(results: Path) -> str:
    """``docs/results.md``."""
    head = (
        "# Results\n\n"
        "This page is written by `python -m training.report --write` from the JSON files in "
        "`docs/results`. Do not edit it.\n\n"
        "All towns are **synthetic**, and no figure on them is comparable with published nuScenes "
        "results. How each run was done, and what was tried besides, is in the "
        "[log](results/LOG.md)."
    )
    return "\n\n".join([head, *(section.markdown(results) for section in SECTIONS)]) + "\n"


FUSION_ROWS = (
    "add",
    "conv",
    "fixed k = 3",
    "dynamic k",
    "both directions",
    "pyramid (the whole fuser)",
)
MEMORY_ROWS = ("base + memory", "fuser + memory")
RENDERER_ROWS = ("fuser + memory", "voxels rendered", "points too", "and L_rgb")
TERM_ROWS = (
    "GaussRender",
    "from the first step",
    "camera",
    "camera, its depth",
    "camera, its depth, above",
)
CAMERA_ROWS = (
    "GaussRender",
    "cameras: sensor",
    "cameras: elevated",
    "cameras: random",
    "cameras: dynamic",
    "as released",
)
MODEL_ROWS = (
    "GaussRender",
    "whole model + GaussRender",
    "TPVFormer + GaussRender",
    "SurroundOcc + GaussRender",
)
_tacocc = partial(tables.ablation_table, "tacocc", tables.TACOCC)
_gaussrender = partial(tables.ablation_table, "gaussrender", tables.GAUSSRENDER)
BLOCKS: dict[str, Callable[[Path], str]] = {
    "results": tables.readme_table,
    "tacocc fusion": partial(_tacocc, chosen=FUSION_ROWS),
    "tacocc memory": partial(_tacocc, chosen=MEMORY_ROWS),
    "tacocc renderer": partial(_tacocc, chosen=RENDERER_ROWS),
    "vlmfusion": partial(tables.ablation_table, "vlmfusion", tables.VLMFUSION),
    "gaussrender terms": partial(_gaussrender, chosen=TERM_ROWS),
    "gaussrender cameras": partial(_gaussrender, chosen=CAMERA_ROWS),
    "gaussrender models": partial(_gaussrender, chosen=MODEL_ROWS),
    "parameters": lambda _: code_tables.parameters_table(),
    "launch arguments": lambda _: code_tables.launch_table(ROOT / "launch" / "bringup.launch.py"),
    "presets": lambda _: code_tables.presets_table(),
    "models": lambda _: code_tables.models_table(),
    "label sets": lambda _: code_tables.label_sets_table(),
    "protocols": lambda _: code_tables.protocols_table(),
    "recipes": lambda _: code_tables.recipes_table(),
    "training options": lambda _: code_tables.options_table(),
}
"""The tables that pages hold, by the name in their marker."""
BLOCK = re.compile(r"(<!-- table: ([^>]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str, results: Path) -> str:
    """The page with its tables as they are now.

    Raises:
        ValueError: a marker names no table.
    """

    def renewed(block: re.Match[str]) -> str:
        if block[2] not in BLOCKS:
            raise ValueError(f"there is no table '{block[2]}'; there are {', '.join(BLOCKS)}")
        return f"{block[1]}\n{BLOCKS[block[2]](results)}\n\n{block[3]}"

    return BLOCK.sub(renewed, page)


def pages(root: Path) -> list[Path]:
    """The documents that may hold tables."""
    docs = root / "docs"
    return [root / "README.md", *sorted({*docs.glob("*.md"), docs / "results.md"})]


def write(root: Path, results: Path) -> list[Path]:
    """Renews ``docs/results.md`` and the tables of all pages; returns the files that changed."""
    changed = []
    for path in pages(root):
        old = path.read_text() if path.exists() else ""
        new = results_page(results) if path.name == "results.md" else filled(old, results)
        if new != old:
            path.write_text(new)
            changed.append(path)
    return changed


def main() -> None:
    """Command line."""
    config = tyro.cli(ReportConfig, prog="training.report", description=__doc__)
    try:
        if config.write:
            for path in write(ROOT, config.results):
                print(f"{path.relative_to(ROOT)} renewed")
        else:
            print(results_page(config.results), end="")
    except (FileNotFoundError, ValueError) as err:
        sys.exit(f"training.report: {err}")


if __name__ == "__main__":
    main()
