"""Features at labelled points: which points are drawn, and whose features they get."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from occ_core.build import build_model
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.taxonomy import CLASS_ID
from training.scoring import point_features as module
from training.scoring.point_features import point_features

DRIVES = [[0, 1], [2]]


@pytest.fixture
def frames(box_town: Path) -> NuScenesFrames:
    return NuScenesFrames(box_town, None, None, debug().image_size, 1, debug().grid)


def model(**changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(replace(debug(), **changes)).eval()


def test_every_kind_of_feature_at_every_point(frames: NuScenesFrames) -> None:
    points = point_features(model(), frames, DRIVES, points=50, seed=0)
    config = debug()
    image, lidar, volume = config.image_encoder.out_channels, config.channels, config.channels
    assert {name: tuple(each.shape) for name, each in points.features.items()} == {
        "image": (150, image),
        "lidar": (150, lidar),
        "fused": (150, lidar + volume),
        "fused_and_image": (150, lidar + volume + image),
    }
    assert points.drive.tolist() == [0] * 100 + [1] * 50
    assert points.classes.min() >= 1 and points.classes.max() <= 16
    assert points.range_m.min() > 0
    # a drawn point has a return in its own voxel, and is seen by a camera
    assert points.features["lidar"].abs().sum(dim=1).min() > 0
    assert points.features["image"].abs().sum(dim=1).min() > 0


def test_the_seed_decides_which_points_are_drawn(frames: NuScenesFrames) -> None:
    first, again, other = (
        point_features(model(), frames, [[0]], points=50, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.range_m, again.range_m)
    assert not torch.equal(first.range_m, other.range_m)


@pytest.mark.parametrize(
    ("changes", "names"),
    [({"camera": False}, ["lidar", "fused"]), ({"lidar": False}, ["image", "fused"])],
)
def test_a_model_of_one_sensor_has_no_features_of_the_other(
    frames: NuScenesFrames, changes: dict[str, bool], names: list[str]
) -> None:
    features = point_features(model(**changes), frames, [[0]], points=20, seed=0).features
    assert [name for name in features if name in ("image", "lidar", "fused")] == names


def test_classes_are_drawn_by_the_square_root_of_their_number() -> None:
    road, car = CLASS_ID["driveable_surface"], CLASS_ID["car"]
    classes = torch.tensor([road] * 90_000 + [car] * 10_000)
    drawn = classes[module._draw(classes, 1000, torch.Generator().manual_seed(0))]
    # sqrt(90000) : sqrt(10000) = 300 : 100, so that a quarter are cars; 6 standard deviations
    # of 1000 draws are 6 * sqrt(1000 * 0.25 * 0.75) = 82
    assert abs(int((drawn == car).sum()) - 250) < 82
    few = module._draw(torch.tensor([car, road, road]), 10, torch.Generator().manual_seed(0))
    assert sorted(few.tolist()) == [0, 1, 2]  # each once


def test_masked_cameras_see_no_point(
    frames: NuScenesFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, _ = frames[0]
    points = torch.tensor([[0.0, 10.0, -1.0], [0.0, -10.0, -1.0]])
    assert module._seen(frame, points).tolist() == [True, True]
    front = torch.tensor([[False, True, False, False, False, False]])
    assert module._seen(replace(frame, camera_mask=front), points).tolist() == [True, False]
    monkeypatch.setattr(module, "_seen", lambda frame, xyz_m: torch.zeros(len(xyz_m), dtype=bool))
    with pytest.raises(ValueError, match="no camera of .* sees a labelled LiDAR point"):
        point_features(model(), frames, [[0]], points=20, seed=0)
