"""TPVFormer, SurroundOcc and Symphonies as models of this library: inputs, outputs, training,
checkpoints.
"""

from dataclasses import replace

import pytest
import torch

from occ_core.baselines.tpvformer import TPVFormer, pillar_points
from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import (
    OccupancyConfig,
    SurroundOccConfig,
    SymphoniesConfig,
    TPVFormerConfig,
    debug,
)
from occ_core.engine import OccupancyEngine
from occ_core.voxel_grid import VoxelGrid

CAMERA_ONLY = replace(
    debug(), lidar=False, cascade_ratio=1, image_encoder=replace(debug().image_encoder, stride=8)
)
CONFIGS = {
    "tpvformer": replace(
        CAMERA_ONLY,
        tpvformer=TPVFormerConfig(
            channels=16, heads=2, layers=2, pillars=(2, 4, 4), samples=(4, 4, 8), levels=4
        ),
    ),
    "surroundocc": replace(
        CAMERA_ONLY,
        surroundocc=SurroundOccConfig(channels=(32, 32), layers=(1, 2), samples=(2, 4), heads=2),
    ),
    "symphonies": replace(
        CAMERA_ONLY,
        symphonies=SymphoniesConfig(
            channels=16, heads=2, layers=2, instances=5, samples=2, levels=2
        ),
    ),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> OccupancyConfig:
    return CONFIGS[request.param]


@torch.inference_mode()
def test_every_voxel_is_classified(config: OccupancyConfig, make_frame):
    model = build_model(config).eval()
    prediction = model(make_frame())
    assert prediction.head.coarse.shape == (1, 17, 100, 100, 8) and len(prediction.head.fine) == 0
    shapes = [tuple(logits.shape[2:]) for logits in prediction.coarser]
    assert shapes == ([(25, 25, 2), (50, 50, 4)] if config.surroundocc is not None else [])
    occupancy = OccupancyEngine(model).step(make_frame())
    assert occupancy.labels.shape == (1, 100, 100, 8)


@torch.inference_mode()
def test_pixels_of_a_masked_camera_change_no_bit(config: OccupancyConfig, make_frame):
    model, frame = build_model(config).eval(), make_frame()
    mask = torch.tensor([[True, False, True]])
    other = frame.images.clone()
    other[:, 1] = 255 - other[:, 1]
    first, second = (
        model(replace(frame, images=images, camera_mask=mask)).head.coarse
        for images in (frame.images, other)
    )
    assert torch.equal(first, second)
    unmasked = model(replace(frame, images=other)).head.coarse
    assert (first - unmasked).abs().max() > 1e-3  # the test would see a leak


@pytest.mark.parametrize("training", [False, True])
def test_without_any_camera_there_is_a_prediction(
    training: bool, config: OccupancyConfig, make_frame
):
    model = build_model(config).train(training)
    blind = replace(make_frame(), camera_mask=torch.zeros(1, 3, dtype=torch.bool))
    assert torch.isfinite(model(blind).head.coarse).all()


@torch.inference_mode()
def test_runs_in_bfloat16(config: OccupancyConfig, make_frame):
    labels = OccupancyEngine(build_model(config), precision="bf16").step(make_frame()).labels
    assert labels.shape == (1, 100, 100, 8)


def test_gradient_reaches_every_parameter(config: OccupancyConfig, make_frame):
    model = build_model(config)
    prediction = model(make_frame())
    outputs = (prediction.head.coarse, *prediction.coarser)
    loss = sum(logits.square().mean() for logits in outputs)
    if prediction.depth_logits is not None:
        loss = loss + prediction.depth_logits.square().mean()
    loss.backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@torch.inference_mode()
def test_baselines_can_be_saved_and_loaded(config: OccupancyConfig, make_frame, tmp_path):
    model = build_model(config).eval()
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == config
    assert torch.equal(loaded(make_frame()).head.coarse, model(make_frame()).head.coarse)


def test_a_voxel_is_the_sum_of_its_three_cells():
    """Plane xy holds 100 times its cell along x, xz 10 times its cell along z, and yz its cell
    along y; between the cells they are interpolated.
    """
    config = replace(
        CONFIGS["tpvformer"],
        grid=VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 8.0), 1.0),
        volume_blocks=(1,),
    )
    model = build_model(config)
    assert isinstance(model, TPVFormer) and model.sides == (4, 4, 4)
    cell = torch.arange(4.0)
    planes = (100 * cell[:, None].expand(4, 4), 10 * cell.expand(4, 4), cell[:, None].expand(4, 4))
    voxels = model.voxels([plane.reshape(1, 16, 1).expand(1, -1, 16) for plane in planes])
    # cells 0..3 at twice the resolution
    finer = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    expected = 100 * finer[:, None, None] + 10 * finer + finer[:, None]  # [X, Y, Z]
    torch.testing.assert_close(voxels[0, ..., 0], expected)


def test_pillars_stand_on_their_cells():
    grid = VoxelGrid((0.0, -2.0, -1.0, 4.0, 2.0, 3.0), 2.0)  # 2 x 2 x 2 voxels
    points = pillar_points(grid, 0, 2, 1, 4)  # the plane xz, with pillars along y
    assert points.shape == (4, 4, 3)
    # cell 1 of the plane is cell 0 along x (0..2) and cell 1 along z (1..3)
    assert points[1].tolist() == [[1.0, y, 2.0] for y in (-1.5, -0.5, 0.5, 1.5)]


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="are complete models"):
        replace(CONFIGS["tpvformer"], surroundocc=CONFIGS["surroundocc"].surroundocc)
    with pytest.raises(ValueError, match="are complete models"):
        replace(debug(), tpvformer=TPVFormerConfig())
    with pytest.raises(ValueError, match="must be multiples of pillars"):
        TPVFormerConfig(samples=(3, 64, 64))
    with pytest.raises(ValueError, match="for every level"):
        SurroundOccConfig(layers=(1,))
    with pytest.raises(ValueError, match="must be a multiple of heads"):
        SymphoniesConfig(channels=20)
    with pytest.raises(ValueError, match="instances must be at least 1, got 0"):
        SymphoniesConfig(instances=0)
