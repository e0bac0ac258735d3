from dataclasses import replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.config import OccupancyConfig, base, debug, nano, small, tiny
from occ_core.prompts import LanguageConfig
from occ_core.types import collate_frames


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(debug()).eval()


def differ(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether two results differ by far more than rounding."""
    return bool((first - second).abs().max() > 1e-3)


@torch.inference_mode()
def test_shapes(model, make_frame):
    """100 m and 8 m in coarse voxels of 2 m; 56 m of depth in bins of 2 m; three images of 64 x 192
    pixels at stride 16.
    """
    prediction = model(make_frame())
    assert prediction.head.coarse.shape == (1, 17, 50, 50, 4)
    assert prediction.head.fine.shape[1] == 17
    assert prediction.depth_logits.shape == (3, 28, 4, 12)
    assert [volume.shape for volume in prediction.sensor_volumes] == [(1, 8, 50, 50, 4)] * 2
    assert prediction.memory is None and prediction.sensor_weights is None


@pytest.mark.parametrize("training", [False, True])
def test_pixels_of_a_masked_camera_change_no_bit(training: bool, make_frame):
    # in training, batch norm could leak statistics of the masked image
    model = build_model(debug()).train(training)
    frame = make_frame()
    mask = torch.tensor([[True, False, True]])
    other = frame.images.clone()
    other[:, 1] = 255 - other[:, 1]
    first, second = (
        model(replace(frame, images=images, camera_mask=mask)) for images in (frame.images, other)
    )
    assert torch.equal(first.head.coarse, second.head.coarse)
    assert torch.equal(first.head.fine, second.head.fine)
    unmasked = model(replace(frame, images=other))
    assert differ(first.head.coarse, unmasked.head.coarse)  # the test would see a leak


@torch.inference_mode()
def test_without_any_sensor_data_there_is_a_prediction(model, make_frame):
    frame = make_frame()
    nothing = replace(
        frame, camera_mask=torch.zeros(1, 3, dtype=torch.bool), points=(torch.zeros(0, 5),)
    )
    assert torch.isfinite(model(nothing).head.coarse).all()


@torch.inference_mode()
def test_batch_equals_each_alone(model, make_frame):
    """Up to rounding, as convolutions of another batch size may add in another order."""
    frames = [make_frame(0), make_frame(1, points=500)]
    both = model(collate_frames(frames)).head.coarse
    for number, frame in enumerate(frames):
        torch.testing.assert_close(
            both[number : number + 1], model(frame).head.coarse, atol=1e-3, rtol=1e-3
        )


@pytest.mark.parametrize(("camera", "lidar"), [(True, False), (False, True)])
@torch.inference_mode()
def test_single_sensor(camera: bool, lidar: bool, make_frame):
    model = build_model(replace(debug(), camera=camera, lidar=lidar)).eval()
    frame = make_frame()
    prediction = model(frame)
    image_volume, lidar_volume = prediction.sensor_volumes
    assert image_volume.shape == (1, 8 * camera, 50, 50, 4)
    assert lidar_volume.shape == (1, 8 * lidar, 50, 50, 4)
    assert (prediction.depth_logits is None) == (not camera)
    coarse = prediction.head.coarse
    without_points = model(replace(frame, points=(torch.zeros(0, 5),))).head.coarse
    without_images = model(replace(frame, images=torch.zeros_like(frame.images))).head.coarse
    assert differ(coarse, without_points) if lidar else torch.equal(coarse, without_points)
    assert differ(coarse, without_images) if camera else torch.equal(coarse, without_images)


def test_gradient_reaches_every_parameter(make_frame):
    model = build_model(debug())
    prediction = model(make_frame())
    head, depth_logits = prediction.head, prediction.depth_logits
    (head.coarse.sum() + head.fine.square().sum() + depth_logits.sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_config_refuses_nonsense_by_name_and_value():
    with pytest.raises(ValueError, match="camera and lidar are both off"):
        OccupancyConfig(camera=False, lidar=False)
    with pytest.raises(ValueError, match="channels must be a multiple of 8.*got 12"):
        OccupancyConfig(channels=12)
    with pytest.raises(ValueError, match=r"image_size.*\(100, 352\)"):
        OccupancyConfig(image_size=(100, 352))
    with pytest.raises(ValueError, match="adaptive_fusion joins camera and lidar"):
        OccupancyConfig(lidar=False, adaptive_fusion=AdaptiveFusionConfig())
    with pytest.raises(ValueError, match="language.weather weights camera and lidar"):
        OccupancyConfig(camera=False, language=LanguageConfig())


def test_wrong_image_size_says_both_sizes(model, make_frame):
    frame = make_frame()
    with pytest.raises(ValueError, match=r"\(32, 192\).*\(64, 192\)"):
        model(replace(frame, images=frame.images[..., :32, :]))


@pytest.mark.parametrize(
    ("preset", "image_size", "depths", "channels"),
    [(small, (256, 704), (3, 4, 6, 3), 80), (base, (896, 1600), (3, 4, 23, 3), 128)],
)
def test_presets_are_those_of_the_papers(preset, image_size, depths, channels):
    config = preset()
    assert (config.image_size, config.image_encoder.depths) == (image_size, depths)
    assert config.channels == channels


def test_grids_of_the_presets():
    for preset in (tiny(), small(), base()):
        assert preset.grid.shape == (200, 200, 16) and preset.coarse_grid.shape == (100, 100, 8)
    assert nano().grid.range_m == tiny().grid.range_m and nano().grid.shape == (100, 100, 8)
