"""TPVFormer and SurroundOcc as models of this library: what they see, what they give, and that they
train and are kept.
"""

from dataclasses import replace

import pytest
import torch

from occ_core.baselines.tpvformer import TPVFormer, pillar_points
from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import OccupancyConfig, SurroundOccConfig, TPVFormerConfig, debug
from occ_core.engine import OccupancyEngine
from occ_core.voxel_grid import VoxelGrid

ALONE = replace(
    debug(), lidar=False, cascade_ratio=1, image_encoder=replace(debug().image_encoder, stride=8)
)
CONFIGS = {
    "tpvformer": replace(
        ALONE,
        tpvformer=TPVFormerConfig(
            channels=16, heads=2, layers=2, pillars=(2, 4, 4), samples=(4, 4, 8), levels=4
        ),
    ),
    "surroundocc": replace(
        ALONE,
        surroundocc=SurroundOccConfig(channels=(32, 32), layers=(1, 2), samples=(2, 4), heads=2),
    ),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> OccupancyConfig:
    return CONFIGS[request.param]


@torch.inference_mode()
def test_every_voxel_is_classified(config: OccupancyConfig, make_frame):
    torch.manual_seed(0)
    model = build_model(config).eval()
    prediction = model(make_frame())
    assert prediction.head.coarse.shape == (1, 17, 100, 100, 8) and len(prediction.head.fine) == 0
    shapes = [tuple(logits.shape[2:]) for logits in prediction.coarser]
    assert shapes == ([(25, 25, 2), (50, 50, 4)] if config.surroundocc is not None else [])
    occupancy = OccupancyEngine(model).step(make_frame())
    assert occupancy.labels.shape == (1, 100, 100, 8)


@torch.inference_mode()
def test_pixels_of_a_masked_camera_change_no_bit(config: OccupancyConfig, make_frame):
    torch.manual_seed(0)
    model, frame = build_model(config).eval(), make_frame()
    mask = torch.tensor([[True, False, True]])
    other = frame.images.clone()
    other[:, 1] = 255 - other[:, 1]
    first, second = (
        model(replace(frame, images=images, camera_mask=mask)).head.coarse
        for images in (frame.images, other)
    )
    assert torch.equal(first, second)
    assert not torch.equal(
        first, model(replace(frame, images=other)).head.coarse
    )  # the test would see a leak


@pytest.mark.parametrize("training", [False, True])
def test_without_any_camera_there_is_a_prediction(
    training: bool, config: OccupancyConfig, make_frame
):
    model = build_model(config).train(training)
    blind = replace(make_frame(), camera_mask=torch.zeros(1, 3, dtype=torch.bool))
    assert torch.isfinite(model(blind).head.coarse).all()


@torch.inference_mode()
def test_bfloat16_is_taken(config: OccupancyConfig, make_frame):
    labels = OccupancyEngine(build_model(config), precision="bf16").step(make_frame()).labels
    assert labels.shape == (1, 100, 100, 8)


def test_gradient_reaches_every_parameter(config: OccupancyConfig, make_frame):
    torch.manual_seed(0)
    model = build_model(config)
    prediction = model(make_frame())
    sum(
        logits.square().mean() for logits in (prediction.head.coarse, *prediction.coarser)
    ).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@torch.inference_mode()
def test_they_come_back_from_disk(config: OccupancyConfig, make_frame, tmp_path):
    model = build_model(config).eval()
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == config
    assert torch.equal(loaded(make_frame()).head.coarse, model(make_frame()).head.coarse)


def test_a_voxel_is_the_sum_of_its_three_cells():
    """Planes that are constant along one axis: 100 a of xy, 10 b of xz, c of yz, halfway between
    the cells by bilinear steps.
    """
    config = replace(
        CONFIGS["tpvformer"],
        grid=VoxelGrid((0.0, 0.0, 0.0, 8.0, 8.0, 8.0), 1.0),
        volume_blocks=(1,),
    )
    model = build_model(config)
    assert isinstance(model, TPVFormer) and model.sides == (4, 4, 4)
    cell = torch.arange(4.0)
    planes = [
        cell[:, None] * 100 + 0 * cell,
        10 * cell + 0 * cell[:, None],
        cell[:, None] + 0 * cell,
    ]
    voxels = model.voxels([plane.flatten()[None, :, None].expand(1, -1, 16) for plane in planes])
    # cells 0..3 at twice the resolution: 0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3
    finer = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0])
    expected = 100 * finer[:, None, None] + 10 * finer + finer[:, None]
    torch.testing.assert_close(voxels[0, ..., 0], expected)


def test_pillars_stand_on_their_cells():
    grid = VoxelGrid((0.0, -2.0, -1.0, 4.0, 2.0, 3.0), 2.0)  # 2 x 2 x 2 voxels
    points = pillar_points(grid, 0, 2, 1, 4)  # the plane xz: pillars along y
    assert points.shape == (4, 4, 3)
    assert (
        points[1, :, 0].tolist() == [1.0] * 4 and points[1, :, 2].tolist() == [2.0] * 4
    )  # x of cell 0, z of cell 1
    assert points[1, :, 1].tolist() == [-1.5, -0.5, 0.5, 1.5]


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="models of their own"):
        replace(CONFIGS["tpvformer"], surroundocc=CONFIGS["surroundocc"].surroundocc)
    with pytest.raises(ValueError, match="models of their own"):
        replace(debug(), tpvformer=TPVFormerConfig())
    with pytest.raises(ValueError, match="must be multiples of pillars"):
        TPVFormerConfig(samples=(3, 64, 64))
    with pytest.raises(ValueError, match="of every level"):
        SurroundOccConfig(layers=(1,))
