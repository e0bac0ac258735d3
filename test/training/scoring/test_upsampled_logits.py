from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_nuscenes import write_tiny_nuscenes

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.datasets.samples import OccupancySample
from occ_core.engine import OccupancyEngine
from occ_core.head import decide
from occ_core.labels.benchmarks import OccupancyBenchmark
from occ_core.labels.sets import OPENOCCUPANCY
from occ_core.metrics.protocols import PROTOCOLS, ScoringProtocol
from occ_core.voxel_grid import VoxelGrid
from training.scoring.benchmark_scores import predict_by_model
from training.scoring.upsampled_logits import SLAB, LastLogits, upsampled_ids


def test_a_class_reaches_as_far_as_its_logits():
    """Along x one class has the logits -1 and 4 beside 0 of empty. Half as large voxels lie at
    quarters: -1, 0.75 * -1 + 0.25 * 4 = 0.25, 2.75, 4; the class wins three of four.
    """
    logits = torch.zeros(1, 2, 2, 1, 1)
    logits[0, 1, :, 0, 0] = torch.tensor([-1.0, 4.0])
    ids = upsampled_ids(logits, 2, empty=0)
    assert ids.shape == (4, 2, 2) and ids[:, 0, 0].tolist() == [0, 1, 1, 1]
    assert upsampled_ids(logits.flip(1), 2, empty=1)[:, 1, 1].tolist() == [1, 0, 0, 0]


def test_slabs_are_as_the_whole():
    """Two and a half slabs, at a ratio whose weights are exact."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, 2 * SLAB + SLAB // 2, 3, 2, generator=generator)
    whole = F.interpolate(logits, scale_factor=4, mode="trilinear", align_corners=False)
    assert torch.equal(upsampled_ids(logits, 4, empty=2), decide(whole, 2)[0][0])


def test_a_coarser_model_is_interpolated_where_the_protocol_says_so(tmp_path: Path):
    grid = VoxelGrid((-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), 0.5)
    benchmark = OccupancyBenchmark(labels=OPENOCCUPANCY, grid=grid, grid_frame="lidar")
    config = replace(
        debug(), grid=grid.coarser(2), labels=OPENOCCUPANCY, image_size=(32, 64), volume_blocks=(0,)
    )
    frame = NuScenesFrames(write_tiny_nuscenes(tmp_path), image_size=(32, 64)).frame(0)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    sample = OccupancySample("key0", "scene", frame, labels, {})
    torch.manual_seed(0)
    engine = OccupancyEngine(build_model(config), precision="fp32")
    coarse = engine.step(frame).labels[0]
    repeated = predict_by_model(engine, ScoringProtocol(benchmark=benchmark))(sample)
    assert np.array_equal(repeated[::2, ::2, ::2], coarse.numpy())
    logits = LastLogits(engine.model)
    with pytest.raises(RuntimeError, match="not predicted anything"):
        logits.dense()
    official = ScoringProtocol(benchmark=benchmark, upsamples_logits=True)
    found = predict_by_model(engine, official)(sample)
    assert np.array_equal(decide(logits.dense(), 0)[0][0].numpy(), coarse.numpy())
    assert np.array_equal(found, upsampled_ids(logits.dense(), 2, 0).numpy())
    assert not np.array_equal(found, repeated)
    chosen = [name for name, protocol in PROTOCOLS.items() if protocol.upsamples_logits]
    assert chosen == ["openoccupancy"]
