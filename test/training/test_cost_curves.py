import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import tyro

from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, load_checkpoint, save_checkpoint
from occ_core.config import debug
from occ_core.datasets.frames import NuScenesFrames
from occ_core.types import Frame
from training import cost_curves as module
from training.cost_curves import (
    VALUES,
    CostCurvesConfig,
    changed,
    changed_model,
    cost_curves,
    drawn_points,
    fitted,
    knee,
    measure,
)


@pytest.fixture(scope="module")
def shipped():
    return load_checkpoint(SHIPPED)[0]


@pytest.fixture
def frame(box_town: Path) -> Frame:
    shape = debug()
    return NuScenesFrames(box_town, None, None, shape.image_size, 9, shape.grid)[0][0]


@pytest.mark.parametrize("quantity", VALUES)
def test_the_shipped_model_can_have_every_value(shipped, quantity):
    for value in VALUES[quantity]:
        config = changed(shipped.config, quantity, value)
        with torch.device("meta"):
            build_model(config)  # raises where a grid cannot be halved


def test_one_quantity_changes_at_a_time(shipped):
    config = shipped.config
    wide = changed(config, "range_m", 32.0)
    assert wide.grid.range_m == (-32, -32, -5, 32, 32, 3) and wide.grid.voxel_size_m == 0.5
    assert changed(config, "voxel_m", 0.4).lidar_grid.shape == (256, 256, 32)  # 102.4 and 12.8 m
    assert changed(config, "image_height", 256).image_size == (256, 704)
    assert changed(config, "frames", 3).temporal.frames == 3
    assert changed(config, "points", 10) is config


def test_a_frame_gets_as_many_cameras_points_and_samples_as_asked(frame):
    cameras = frame.images.shape[1]
    more = fitted(frame, "cameras", cameras + 1)
    assert more.images.shape[1] == cameras + 1
    assert torch.equal(more.images[:, cameras], frame.images[:, 0])  # from the start again
    blind = fitted(frame, "cameras", 0)
    assert blind.images.shape[1] == 1 and not blind.camera_mask.any()
    assert len(fitted(frame, "points", 7).points[0]) == 7
    assert fitted(frame, "batch", 3).batch_size == 3
    assert fitted(frame, "frames", 3) is frame


def test_points_beyond_those_of_the_frame_lie_beside_them():
    points = torch.arange(20.0).view(4, 5)
    few, many = drawn_points(points, 3), drawn_points(points, 9)
    assert len({tuple(row) for row in few.tolist()} & {tuple(row) for row in points.tolist()}) == 3
    assert torch.equal(many[:4].sort(dim=0).values, points)
    beside = (many[4:8] - many[:4])[:, :3].abs()
    assert 0 < beside.max() < 1  # noise of 0.1 m
    assert torch.equal(many[4:8, 3:], many[:4, 3:])


def test_weights_that_fit_are_those_of_the_checkpoint(shipped):
    wider = changed_model(SHIPPED, "range_m", 16.0)
    shipped_weight = shipped.head.refine[0].weight
    assert torch.equal(wider.head.refine[0].weight, shipped_weight)
    assert wider.config.grid.shape == (64, 64, 16)  # 32 m and 8 m in voxels of 0.5 m


def test_the_knee_is_where_the_time_has_doubled():
    costs = [{"value": v, "cpu_ms": ms} for v, ms in ((1, 50.0), (2, 99.0), (4, 100.0), (8, 300.0))]
    assert knee(costs) == 4
    assert knee(costs[:2]) is None


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A checkpoint of the smallest model."""
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, build_model(debug()), {})
    return path


def one_point(quantity: str, value: float, data: Path, checkpoint: Path) -> CostCurvesConfig:
    """One value of one quantity, measured once."""
    return CostCurvesConfig(
        quantities=(quantity,), values=(value,), data=data, checkpoint=checkpoint, repeats=1
    )


def test_a_grid_that_has_no_labels_is_measured_too(box_town: Path, small: Path):
    """Labels are those of SurroundOcc's range alone, and no answer needs them."""
    config = one_point("range_m", 32.0, box_town, small)
    assert measure(replace(config, here=True)).cpu_ms > 0


def test_curves_are_measured_written_and_drawn(
    box_town: Path, small: Path, tmp_path: Path, monkeypatch, capfd
):
    def here(program: str, name: str, options: list[str]) -> dict[str, float]:
        assert program == "training.cost_curves"
        return asdict(measure(tyro.cli(CostCurvesConfig, args=["--here", *options])))

    monkeypatch.setattr(module, "measure_in_own_process", here)
    config = replace(
        one_point("points", 10.0, box_town, small),
        out=tmp_path / "curves.json",
        picture=tmp_path / "curves.png",
    )
    cost_curves(config)
    (cost,) = json.loads(config.out.read_text())["curves"]["points"]["costs"]
    assert cost["value"] == 10 and cost["cpu_ms"] > 0 and cost["memory_mib"] > 100
    assert config.picture.read_bytes().startswith(b"\x89PNG")
    assert "points 10" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"repeats": 0}, "repeats must be at least 1"),
        ({"values": (1.0,)}, "those of one quantity"),
        ({"here": True}, "exactly one value"),
        ({"quantities": ("cameras",), "values": (6.0, -1.0)}, "whole numbers from 0 on, got -1"),
        ({"quantities": ("points",), "values": (10.5,)}, "whole numbers from 1 on, got 10.5"),
        ({"quantities": ("batch",), "values": (0.0,)}, "whole numbers from 1 on, got 0"),
        ({"quantities": ("frames",), "values": (float("nan"),)}, "from 1 on, got nan"),
        ({"quantities": ("voxel_m",), "values": (0.0,)}, "must be positive, got 0"),
        ({"quantities": ("range_m",), "values": (float("inf"),)}, "must be positive, got inf"),
    ],
)
def test_nonsense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        CostCurvesConfig(**fields)
