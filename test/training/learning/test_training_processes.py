"""Two processes over gloo, started as ``python -m training.train --processes 2`` starts them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from training.learning.config import TrainConfig
from training.train import train

STEPS = 8
PROGRAM = f"""
import sys
from dataclasses import replace
from pathlib import Path
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.recipes import debug
from training.train import train

data, out = map(Path, sys.argv[1:])
model = replace(
    debug().model, grid=SURROUNDOCC_GRID.coarser(4), image_size=(32, 64), lidar_voxel_m=2.0,
    volume_blocks=(0,), image_encoder=replace(
        debug().model.image_encoder, backbone="efficientnet_lite0"
    ),
)
train(replace(
    debug(), model=model, data=data, out=out, steps={STEPS}, epoch_steps={STEPS // 2},
    warmup_steps=1, learning_rate=3e-3, sweeps=0, augment=None, validation_frames=1,
    device="cpu", precision="fp32", processes=2,
), resume=True)
"""


UNDER_TORCHRUN = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from occ_core.voxel_grid import SURROUNDOCC_GRID
from training.recipes import debug
from training.train import train

data, out, processes = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
model = replace(
    debug().model, grid=SURROUNDOCC_GRID.coarser(4), image_size=(32, 64), lidar_voxel_m=2.0,
    volume_blocks=(0,),
)
try:
    train(replace(
        debug(), model=model, data=data, out=out, steps=1, epoch_steps=1, warmup_steps=1, sweeps=0,
        augment=None, validation_frames=1, device="cpu", precision="fp32",
        processes=None if processes == "None" else int(processes),
    ))
except ValueError as error:
    sys.exit(str(error))
print("one training of", torch.distributed.get_world_size())
"""


def start(program: Path, data: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, program, data, out],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
    )


def children(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes that a process has started (Linux)."""
    found = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in found.read_text().split()]


def distance(weights: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> float:
    """Root of the sum of the squared differences of all weights."""
    squares = [(weights[name].double() - others[name].double()).square().sum() for name in others]
    return float(torch.stack(squares).sum().sqrt())


def test_two_processes_train_as_one_with_twice_the_batches(
    smallest: TrainConfig, box_town: Path, tmp_path: Path
):
    """One of the two is killed after half the steps; both end, and a second start goes on from the
    stored state. Batch norm would tell one image from two: the backbone is one whose norms rest.
    """
    program, out = tmp_path / "program.py", tmp_path / "two"
    program.write_text(PROGRAM)
    first = start(program, box_town, out)
    deadline = time.monotonic() + 600
    while not (out / "state.pt").exists():
        assert first.poll() is None and time.monotonic() < deadline, "no state was stored"
        time.sleep(0.01)
    helpers = [
        child
        for child in children(first)
        if str(program).encode() in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(helpers) == 1
    os.kill(helpers[0], signal.SIGKILL)
    assert first.wait(timeout=600) != 0
    assert start(program, box_town, out).wait(timeout=600) == 0

    model = replace(
        smallest.model,
        image_encoder=replace(smallest.model.image_encoder, backbone="efficientnet_lite0"),
    )
    alone = replace(
        smallest, model=model, steps=STEPS, epoch_steps=STEPS, accumulate=2, precision="fp32"
    )
    expected, trained = load_file(train(alone)), load_file(out / "model.safetensors")
    single = load_file(train(replace(alone, out=tmp_path / "single", accumulate=1)))
    assert trained.keys() == expected.keys()
    # Where a gradient is next to nothing, rounding decides Adam's step, and further steps amplify
    # it. After these few the mean of a weight is at most 3e-4 apart; with single batches that of
    # the LiDAR encoder's is 4e-3 or more. Over all weights, rounding makes 2 % of what single
    # batches make.
    for name, weight in expected.items():
        assert (trained[name].float() - weight.float()).abs().mean() < 1e-3, name
    assert distance(trained, expected) < 0.1 * distance(single, expected)
    moved = torch.load(out / "state.pt", weights_only=True)["step"]
    assert moved == STEPS


def test_processes_that_torchrun_starts_are_one_training(box_town: Path, tmp_path: Path):
    """Another number of processes than torchrun's is refused by both of them."""
    program = tmp_path / "program.py"
    program.write_text(UNDER_TORCHRUN)

    def torchrun(processes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
            + [program, box_town, tmp_path / "out", processes],
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            timeout=600,
        )

    wrong = torchrun("3")
    assert wrong.returncode != 0 and not (tmp_path / "out").exists()
    assert "torchrun has started 2 processes on this machine, but --processes is 3" in wrong.stderr
    done = torchrun("None")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("one training of 2") == 2
