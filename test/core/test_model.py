from dataclasses import replace

import pytest
import torch

from occ_core.build import build_model
from occ_core.config import OccupancyConfig, base, debug, nano, small, tiny
from occ_core.types import collate_frames
from occ_core.volume_encoder import Pointwise


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(debug()).eval()


@torch.inference_mode()
def test_shapes(model, make_frame):
    prediction = model(make_frame())
    assert prediction.head.coarse.shape == (1, 17, 50, 50, 4)  # 100 m at 2 m, 8 m at 2 m
    assert prediction.head.fine.shape[1] == 17
    assert prediction.depth_logits.shape == (
        3,
        28,
        4,
        12,
    )  # 56 m in bins of 2 m; 64 x 192 at stride 16


@pytest.mark.parametrize("training", [False, True])
def test_pixels_of_a_masked_camera_change_no_bit(training: bool, make_frame):
    torch.manual_seed(0)
    model = build_model(debug()).train(
        training
    )  # in training batch norm could leak what it has seen
    frame = make_frame()
    mask = torch.tensor([[True, False, True]])
    other = frame.images.clone()
    other[:, 1] = 255 - other[:, 1]
    first, second = (
        model(replace(frame, images=images, camera_mask=mask)) for images in (frame.images, other)
    )
    assert torch.equal(first.head.coarse, second.head.coarse)
    assert torch.equal(first.head.fine, second.head.fine)
    third = model(replace(frame, images=other))
    assert not torch.equal(first.head.coarse, third.head.coarse)  # the test would see a leak


@torch.inference_mode()
def test_without_any_sensor_data_there_is_a_prediction(model, make_frame):
    frame = make_frame()
    nothing = replace(
        frame, camera_mask=torch.zeros(1, 3, dtype=torch.bool), points=(torch.zeros(0, 5),)
    )
    assert torch.isfinite(model(nothing).head.coarse).all()


@torch.inference_mode()
def test_batch_equals_each_alone(model, make_frame):
    """To float32's rounding: convolutions of another batch size may add in another order."""
    frames = [make_frame(0), make_frame(1, points=500)]
    both = model(collate_frames(frames)).head.coarse
    for number, frame in enumerate(frames):
        torch.testing.assert_close(
            both[number : number + 1], model(frame).head.coarse, atol=1e-3, rtol=1e-3
        )


@pytest.mark.parametrize(("camera", "lidar"), [(True, False), (False, True)])
def test_single_modality(camera: bool, lidar: bool, make_frame):
    torch.manual_seed(0)
    model = build_model(replace(debug(), camera=camera, lidar=lidar)).eval()
    frame = make_frame()
    with torch.inference_mode():
        full = model(frame)
        without_points = model(replace(frame, points=(torch.zeros(0, 5),)))
        without_images = model(replace(frame, images=torch.zeros_like(frame.images)))
    assert torch.equal(full.head.coarse, without_points.head.coarse) == (not lidar)
    assert torch.equal(full.head.coarse, without_images.head.coarse) == (not camera)
    assert (full.depth_logits is None) == (not camera)


def test_gradient_reaches_every_parameter(make_frame):
    torch.manual_seed(0)
    model = build_model(debug())
    prediction = model(make_frame())
    (
        prediction.head.coarse.sum()
        + prediction.head.fine.square().sum()
        + prediction.depth_logits.sum()
    ).backward()
    untouched = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert untouched == []


def test_config_refuses_nonsense_by_name_and_value():
    with pytest.raises(ValueError, match="camera and lidar are both off"):
        OccupancyConfig(camera=False, lidar=False)
    with pytest.raises(ValueError, match="channels must be a multiple of 8.*got 12"):
        OccupancyConfig(channels=12)
    with pytest.raises(ValueError, match=r"image_size.*\(100, 352\)"):
        OccupancyConfig(image_size=(100, 352))


def test_wrong_image_size_says_both_sizes(model, make_frame):
    frame = make_frame()
    with pytest.raises(ValueError, match=r"\(32, 192\).*\(64, 192\)"):
        model(replace(frame, images=frame.images[..., :32, :]))


def test_presets_are_those_of_the_papers():
    assert (
        base().image_size == (896, 1600)
        and base().image_encoder.depths == (3, 4, 23, 3)
        and base().channels == 128
    )
    assert (
        small().image_size == (256, 704)
        and small().image_encoder.depths == (3, 4, 6, 3)
        and small().channels == 80
    )
    for preset in (tiny(), small(), base()):
        assert preset.grid.shape == (200, 200, 16) and preset.coarse_grid.shape == (100, 100, 8)
    assert nano().grid.range_m == tiny().grid.range_m and nano().grid.shape == (100, 100, 8)


def test_pointwise_equals_torch_s_own_convolution_in_values_and_gradients():
    generator = torch.Generator().manual_seed(0)
    ours = Pointwise(4, 6)
    theirs = torch.nn.Conv3d(4, 6, 1)
    theirs.load_state_dict(ours.state_dict())
    volume = torch.randn(2, 4, 3, 5, 2, generator=generator)
    (ours(volume).square().sum()).backward()
    (theirs(volume).square().sum()).backward()
    torch.testing.assert_close(
        ours(volume), theirs(volume), atol=1e-6, rtol=1e-5
    )  # float32, four products a sum
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, atol=1e-4, rtol=1e-5)
