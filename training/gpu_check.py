"""What a GPU makes of this repository: ``python -m training.gpu_check``.

Every operator is compared with its twin on the CPU; time and memory of every preset stand beside
those of the papers, and then what GaussRender adds to a training step. The report is written to
``docs/results/gpu.json``.
"""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from occ_core.config import PRESETS
from occ_core.ops.sparse import HAS_CUDA
from training.benchmarks.own_process import measure_in_own_process
from training.benchmarks.timing import describe_machine
from training.gpu.costs import measure_gauss_render, measure_preset
from training.gpu.operators import TOLERANCE, OperatorResult, check_operators

RESULTS = Path("docs/results/gpu.json")

PAPERS = {
    "TACOcc, RTX A6000": {"latency_ms": 600.0, "memory_gb": 11.78},
    "DAOcc, PyTorch, RTX 4090": {"latency_ms": 1000 / 7.8},
    "DAOcc, TensorRT FP16, RTX 4090": {"latency_ms": 1000 / 104.9},
    "DAOcc, TensorRT INT8, RTX 4090": {"latency_ms": 1000 / 153.8},
}
"""Published figures for one keyframe; DAOcc's are 7.8, 104.9 and 153.8 frames a second."""


class NoGpuError(RuntimeError):
    """There is no GPU that torch and spconv can use; the text says what is missing."""


@dataclass(frozen=True, kw_only=True)
class GpuCheckConfig:
    """What is measured, and on which device."""

    device: str = "cuda"
    """cuda or cuda:N; with cpu, compiled loops are compared with torch's forms, to try this."""
    presets: tuple[str, ...] = tuple(PRESETS)
    """Which presets are timed."""
    data: Path = Path("data/town_test")
    """nuScenes data root with occupancy labels; its first keyframe is used."""
    repeats: int = 10
    """How many answers and training steps are timed; medians count."""
    out: Path | None = None
    """JSON file for the report; by default docs/results/gpu.json on CUDA, and none on the CPU."""
    here: bool = False
    """Measures a single preset in this process and prints JSON."""

    def __post_init__(self) -> None:
        if unknown := set(self.presets) - set(PRESETS):
            raise ValueError(
                f"there are no presets {sorted(unknown)}; choose from {sorted(PRESETS)}"
            )
        if self.repeats < 1 or (self.here and len(self.presets) != 1):
            raise ValueError("repeats must be at least 1, and --here takes exactly one preset")


def usable_device(name: str) -> torch.device:
    """The device of this name.

    Raises:
        NoGpuError: it is a GPU that torch or spconv cannot use.
    """
    device = torch.device(name)
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise NoGpuError(
            f"this torch ({torch.__version__}) finds no CUDA device, so there is nothing to check; "
            "--device cpu tries the comparison itself, on the CPU"
        )
    if not HAS_CUDA:
        raise NoGpuError(
            "the CPU build of spconv is installed: pip install --force-reinstall --no-deps "
            "spconv-cu120 cumm-cu120"
        )
    return device


def gpu_check(config: GpuCheckConfig) -> dict[str, Any]:
    """Makes the report, prints it as it grows, and writes it.

    Raises:
        NoGpuError: see ``usable_device``.
        RuntimeError: the process of a preset failed.
    """
    device = usable_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    operators = check_operators(device)
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "training.gpu_check", *sys.argv[1:]]),
        "data": f"the first keyframe of '{config.data}', batch 1, {config.repeats} repeats",
        "machine": describe_machine(),
        "device": name,
        "operators": {each.name: each.difference for each in operators},
        "papers": PAPERS,
        "presets": {},
    }
    print("\n".join(map(operator_text, operators)), flush=True)
    for preset in config.presets:
        options = ["--presets", preset, "--device", config.device, "--data", str(config.data)]
        options += ["--repeats", str(config.repeats)]
        cost = measure_in_own_process("training.gpu_check", f"preset '{preset}'", options)
        report["presets"][preset] = cost
        print(cost_text(preset, cost), flush=True)
    for paper, cost in PAPERS.items():
        print(cost_text(paper, cost))
    rendering = measure_gauss_render(config.data, device, config.repeats)
    report["gauss_render"] = asdict(rendering) | {"overhead": rendering.overhead}
    print(f"GaussRender: a training step takes {rendering.overhead:.0%} longer")
    out = config.out or (RESULTS if device.type == "cuda" else None)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=2) + "\n")
    return report


def operator_text(result: OperatorResult) -> str:
    """One operator as a line of text."""
    verdict = "equal" if result.is_equal else f"DIFFERS by more than {TOLERANCE:.0e}"
    return f"{result.name:32}{result.difference:10.1e}  {verdict}"


def cost_text(name: str, cost: dict[str, float]) -> str:
    """Time and memory of one model as a line of text."""
    memory = f"{cost['memory_gb']:8.2f} GB" if "memory_gb" in cost else ""
    return f"{name:32}{cost['latency_ms']:10.1f} ms{memory}"


def main() -> None:
    """Command line; the exit status is 1 where an operator differs."""
    try:
        config = tyro.cli(GpuCheckConfig, prog="training.gpu_check", description=__doc__)
        if config.here:
            device = usable_device(config.device)
            cost = measure_preset(config.presets[0], config.data, device, config.repeats)
            print(json.dumps(asdict(cost)))
            return
        differing = [
            name for name, size in gpu_check(config)["operators"].items() if size > TOLERANCE
        ]
    except (FileNotFoundError, ValueError, RuntimeError) as err:
        sys.exit(f"training.gpu_check: {err}")
    if differing:
        sys.exit(f"training.gpu_check: other results than on the CPU: {', '.join(differing)}")


if __name__ == "__main__":
    main()
