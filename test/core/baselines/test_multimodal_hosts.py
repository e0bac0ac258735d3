"""OccMamba and M-CONet as models of this library, with VLMFusionOcc3D's parts on them."""

from dataclasses import replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.baselines.mconet import GatedFusion, MConetConfig, WeightedPyramid
from occ_core.baselines.occmamba.encoder import OccMambaConfig, OccMambaEncoder
from occ_core.build import build_model
from occ_core.checkpoint import load_checkpoint, save_checkpoint
from occ_core.config import OccupancyConfig, SurroundOccConfig, debug
from occ_core.engine import OccupancyEngine
from occ_core.losses.daga import daga_loss
from occ_core.model import OccupancyModel
from occ_core.prompts import PROMPTS, LanguageConfig
from occ_core.taxonomy import NUM_CLASSES
from occ_core.types import DriveContext

# every voxel that may be occupied is refined: untrained models hardly predict any
EAGER = replace(debug(), refine_above=0.05)
CONFIGS = {
    "occmamba": replace(
        EAGER,
        occmamba=OccMambaConfig(channels=8, layers=(1, 1), state=2, patches=(5,), patch_channels=8),
    ),
    "mconet": replace(EAGER, mconet=MConetConfig(kernel=3, blocks=(1, 1, 1))),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> OccupancyConfig:
    return CONFIGS[request.param]


def prompted(config: OccupancyConfig, *, filled: bool = True) -> OccupancyModel:
    """The host with InstVLM and WeathFusion, whose prompts have random embeddings or none."""
    model = build_model(replace(config, language=LanguageConfig(width=6))).eval()
    assert isinstance(model, OccupancyModel)
    if filled:
        model.prompts.fill(torch.randn(len(PROMPTS), 6))
    return model


def test_the_hosts_have_their_own_parts(config: OccupancyConfig):
    model = build_model(config)
    assert isinstance(model, OccupancyModel)
    if config.occmamba is not None:
        assert isinstance(model.volume_encoder, OccMambaEncoder)
    else:
        assert isinstance(model.volume_encoder, WeightedPyramid)
        assert isinstance(model.fusion, GatedFusion)


@torch.inference_mode()
def test_a_frame_becomes_occupancy(config: OccupancyConfig, make_frame):
    model = build_model(config).eval()
    prediction = model(make_frame())
    assert prediction.head.coarse.shape == (1, 17, 50, 50, 4)
    assert len(prediction.head.fine) == len(prediction.head.children) > 0
    labels = OccupancyEngine(model, precision="bf16").step(make_frame()).labels
    assert labels.shape == (1, 100, 100, 8)


@torch.inference_mode()
def test_children_read_the_volume_and_in_mconet_the_images(config: OccupancyConfig, make_frame):
    """With the volume and what is refined held fixed, other images change M-CONet's children alone,
    and other points those of neither.
    """
    model, frame = build_model(config).eval(), make_frame()
    volume = torch.randn(1, config.channels, 50, 50, 4)
    first, second = make_frame(seed=0), make_frame(seed=1)
    expected = model.head(
        volume, model.lidar_encoder(frame.points).fine, model.image_branch(first).sampler
    )
    points = model.head(
        volume, model.lidar_encoder(second.points).fine, model.image_branch(first).sampler
    )
    images = model.head(
        volume, model.lidar_encoder(frame.points).fine, model.image_branch(second).sampler
    )
    assert torch.equal(points.children, expected.children)
    assert torch.equal(points.fine, expected.fine)
    changed = bool((images.fine - expected.fine).abs().max() > 1e-3)
    assert changed == (config.mconet is not None)


@torch.inference_mode()
def test_pixels_of_a_masked_camera_change_no_bit(config: OccupancyConfig, make_frame):
    model, frame = build_model(config).eval(), make_frame()
    mask = torch.tensor([[True, False, True]])
    other = frame.images.clone()
    other[:, 1] = 255 - other[:, 1]
    first, second = (
        model(replace(frame, images=images, camera_mask=mask)).volume
        for images in (frame.images, other)
    )
    assert torch.equal(first, second)
    assert (first - model(replace(frame, images=other)).volume).abs().max() > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_without_a_sensor_there_is_a_prediction(
    training: bool, config: OccupancyConfig, make_frame
):
    model, frame = build_model(config).train(training), make_frame()
    blind = replace(frame, camera_mask=torch.zeros(1, 3, dtype=torch.bool))
    for missing in (blind, replace(frame, points=(torch.zeros(0, 5),))):
        assert torch.isfinite(model(missing).head.coarse).all()


def test_gradient_reaches_every_parameter(config: OccupancyConfig, make_frame):
    model = prompted(config).train()
    every_class = torch.ones(1, NUM_CLASSES, dtype=torch.bool)
    prediction = model(make_frame(), None, every_class)
    head = prediction.head
    loss = head.coarse.square().sum() + head.fine.square().sum() + prediction.depth_logits.sum()
    loss.backward()
    without = [name for name, each in model.named_parameters() if each.grad is None]
    assert without == []
    for part in (model.fusion, model.volume_encoder, model.head, model.weather_fusion):
        assert all(each.grad.any() for each in part.parameters())
    for part in (model.image_attention, model.lidar_attention):
        assert all(each.grad.any() for each in part.parameters())


@torch.inference_mode()
def test_prompts_that_are_not_filled_leave_the_host_as_it_was(config: OccupancyConfig, make_frame):
    host = build_model(config).eval()
    model = prompted(config, filled=False)
    missing, unknown = model.load_state_dict(host.state_dict(), strict=False)
    parts = {name.split(".")[0] for name in missing}
    assert parts == {"prompts", "image_attention", "lidar_attention", "weather_fusion"}
    assert not unknown
    frame = replace(make_frame(), context=(DriveContext("rain", "boston-seaport"),))
    assert torch.equal(model(frame).head.coarse, host(frame).head.coarse)


@torch.inference_mode()
def test_weather_region_and_classes_change_the_volume(config: OccupancyConfig, make_frame):
    model, frame = prompted(config), make_frame()
    bus = torch.zeros(1, NUM_CLASSES, dtype=torch.bool)
    bus[0, 3] = True
    plain = model(frame)
    rain = model(replace(frame, context=(DriveContext("rain"),)))
    boston = model(replace(frame, context=(DriveContext(region="boston-seaport"),)))
    for other in (rain, boston, model(frame, None, bus)):
        assert (other.volume - plain.volume).abs().max() > 1e-3
    assert plain.sensor_weights is not None and rain.sensor_weights is not None
    assert (rain.sensor_weights - plain.sensor_weights).abs().max() > 1e-5  # an untrained gate
    assert plain.memory is not None and plain.memory.classes is not None


def test_daga_aligns_the_image_volume(config: OccupancyConfig, make_frame):
    """It teaches the camera branch; the LiDAR volume is its reference."""
    model = build_model(config)
    assert isinstance(model, OccupancyModel)
    daga_loss(*model(make_frame()).sensor_volumes).backward()
    assert any(
        each.grad is not None and each.grad.any() for each in model.view_transform.parameters()
    )
    assert all(each.grad is None for each in model.lidar_encoder.parameters())


@torch.inference_mode()
def test_hosts_can_be_saved_and_loaded(config: OccupancyConfig, make_frame, tmp_path):
    model = prompted(config)
    save_checkpoint(tmp_path / "model.safetensors", model, {})
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert torch.equal(loaded(make_frame()).head.fine, model(make_frame()).head.fine)


def test_nonsense_is_refused(config: OccupancyConfig):
    for change in (
        {"lidar": False},
        {"adaptive_fusion": AdaptiveFusionConfig()},
        {"occmamba": OccMambaConfig(), "mconet": MConetConfig()},
    ):
        with pytest.raises(ValueError, match="occmamba and .mconet"):
            replace(config, **change)
    with pytest.raises(ValueError, match="are complete models"):
        replace(config, surroundocc=SurroundOccConfig())
