import json
from dataclasses import asdict, replace

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.checkpoint import (
    SHIPPED,
    CheckpointError,
    checkpoint_id,
    config_from_dict,
    load_checkpoint,
    save_checkpoint,
    start_from,
)
from occ_core.config import PRESETS, OccupancyConfig, SurroundOccConfig, TPVFormerConfig, debug
from occ_core.image_encoder import ImageEncoderConfig
from occ_core.prompts import PROMPTS, LanguageConfig
from occ_core.temporal import TemporalConfig


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = build_model(debug())
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, {"command": "test", "seed": 0})
    return path, model


def test_round_trip(saved):
    path, model = saved
    loaded, description = load_checkpoint(path)
    assert loaded.config == model.config and not loaded.training
    assert all(
        torch.equal(tensor, model.state_dict()[name])
        for name, tensor in loaded.state_dict().items()
    )
    assert (
        description["made_by"] == {"command": "test", "seed": 0}
        and description["frame_id"] == "lidar"
    )


WHOLE = replace(
    debug(),
    adaptive_fusion=AdaptiveFusionConfig(),
    temporal=TemporalConfig(),
    language=LanguageConfig(),
)
CAMERA_ONLY = replace(debug(), lidar=False, cascade_ratio=1)


@pytest.mark.parametrize(
    "config",
    [
        *(pytest.param(preset(), id=name) for name, preset in PRESETS.items()),
        pytest.param(WHOLE, id="whole"),
        pytest.param(replace(CAMERA_ONLY, tpvformer=TPVFormerConfig()), id="tpvformer"),
        pytest.param(replace(CAMERA_ONLY, surroundocc=SurroundOccConfig()), id="surroundocc"),
    ],
)
def test_a_config_survives_json(config: OccupancyConfig):
    read = config_from_dict(json.loads(json.dumps(asdict(config))))
    assert read == config and repr(read) == repr(config)


def test_keys_that_an_older_config_lacks_take_their_defaults():
    values = asdict(debug())
    for name in ("tpvformer", "surroundocc", "language", "max_refined"):
        del values[name]
    assert config_from_dict(values) == debug()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        pytest.param({"chanels": 8}, "chanels", id="unknown"),
        pytest.param({"depth": {"maximum_m": 3.0}}, "maximum_m", id="unknown_in_a_part"),
        pytest.param({"channels": "8"}, "channels", id="wrong_type"),
        pytest.param({"temporal": {"mode": "both"}}, "temporal.mode", id="wrong_choice"),
        pytest.param({"temporal": {"frames": 0}}, "frames", id="out_of_range"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused_by_the_name_of_its_key(change, key, saved):
    described = saved[0].with_suffix(".json")
    description = json.loads(described.read_text())
    description["config"] |= change
    described.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match=f"does not describe a model.*{key}"):
        load_checkpoint(saved[0])


def test_the_embeddings_of_the_prompts_are_stored_with_the_weights(tmp_path):
    model = build_model(replace(debug(), language=LanguageConfig(width=4)))
    model.prompts.fill(torch.randn(len(PROMPTS), 4))
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model, {})
    loaded, _ = load_checkpoint(path)
    assert loaded.config.language == LanguageConfig(width=4)
    assert torch.equal(loaded.prompts.embeddings, model.prompts.embeddings)


def test_the_id_tells_weights_apart_in_whatever_folder(tmp_path):
    """SHA-256 of "abc", an example of FIPS 180-2."""
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for folder in ("a", "b"):
        path = tmp_path / folder / "model.safetensors"
        path.parent.mkdir()
        path.write_bytes(b"abc")
        assert checkpoint_id(path) == f"model.safetensors sha256:{digest}"


def test_missing_files_are_named(saved, tmp_path):
    path, _ = saved
    with pytest.raises(CheckpointError, match="absent.safetensors.*does not exist"):
        load_checkpoint(tmp_path / "absent.safetensors")
    path.with_suffix(".json").unlink()
    with pytest.raises(CheckpointError, match="model.json.*does not exist"):
        load_checkpoint(path)


def test_another_format_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a .safetensors file"):
        load_checkpoint(tmp_path / "model.pth")


def test_weights_of_another_model_are_refused(saved):
    path, _ = saved
    description = json.loads(path.with_suffix(".json").read_text())
    description["config"]["channels"] = 16
    path.with_suffix(".json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="do not fit the configuration"):
        load_checkpoint(path)


def test_truncated_weights_and_foreign_json_are_refused(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="is not a file of weights"):
        load_checkpoint(path)
    path.with_suffix(".json").write_text('{"model": "other"}')
    with pytest.raises(CheckpointError, match="does not describe a model"):
        load_checkpoint(path)


def test_a_description_without_the_grids_frame_is_refused(saved):
    described = saved[0].with_suffix(".json")
    description = json.loads(described.read_text())
    del description["frame_id"]
    described.write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="frame_id"):
        load_checkpoint(saved[0])


def test_shipped_checkpoint_is_small_and_loads():
    assert SHIPPED.stat().st_size + SHIPPED.with_suffix(".json").stat().st_size <= 12e6
    model, description = load_checkpoint(SHIPPED)
    assert model.config.grid.shape == (200, 200, 16)
    assert {"command", "seed", "scores"} <= description["made_by"].keys()
    assert " /" not in description["made_by"]["command"]  # no place on the machine of its training


def test_a_larger_model_starts_as_the_smaller_one_was(saved, make_frame):
    """Adaptive fusion and ConvLSTM start by adding nothing, and in a first frame the voxel filter
    has no past.
    """
    trained = load_checkpoint(saved[0])[0]
    torch.manual_seed(1)
    larger = build_model(
        replace(trained.config, adaptive_fusion=AdaptiveFusionConfig(), temporal=TemporalConfig())
    ).eval()
    new = start_from(larger, saved[0])
    assert {name.split(".")[0] for name in new} == {"fusion", "temporal", "head"}
    with torch.inference_mode():
        expected, got = (model(make_frame()).head for model in (trained, larger))
    torch.testing.assert_close(got.coarse, expected.coarse, atol=1e-4, rtol=1e-4)


def test_heights_and_further_blocks_start_without_influence(saved, make_frame):
    trained = load_checkpoint(saved[0])[0]
    torch.manual_seed(1)
    first, *others = trained.config.volume_blocks
    larger = build_model(
        replace(trained.config, ground_height=True, volume_blocks=(first + 1, *others))
    ).eval()
    new = start_from(larger, saved[0])
    assert {name.split(".")[0] for name in new} == {"ground_height", "volume_encoder"}
    with torch.inference_mode():
        expected, got = (model(make_frame()).head for model in (trained, larger))
    torch.testing.assert_close(got.coarse, expected.coarse, atol=1e-4, rtol=1e-4)
    assert torch.equal(got.children, expected.children) and len(got.children)
    torch.testing.assert_close(got.fine, expected.fine, atol=1e-4, rtol=1e-4)


def test_parts_are_left_out_by_name(saved):
    path, model = saved
    other = replace(
        model.config,
        image_encoder=ImageEncoderConfig(
            backbone="efficientnet_lite0", out_channels=model.config.image_encoder.out_channels
        ),
    )
    with pytest.raises(CheckpointError, match=r"is not contained.*image_encoder"):
        start_from(build_model(other), path)
    torch.manual_seed(1)
    started = build_model(other)
    before = {name: weight.clone() for name, weight in started.state_dict().items()}
    new = start_from(started, path, without=("image_encoder",))
    after = started.state_dict()
    assert {name.split(".")[0] for name in new} == {"image_encoder"}
    assert all(torch.equal(after[name], before[name]) for name in new)
    trained = model.state_dict()
    assert all(torch.equal(after[name], trained[name]) for name in after if name not in new)


def test_a_part_of_a_part_is_left_out(saved):
    path, model = saved
    new = start_from(build_model(model.config), path, without=("head.refine",))
    assert new and all(name.startswith("head.refine.") for name in new)


def test_a_part_that_the_trained_model_lacks_cannot_be_left_out(saved):
    path, model = saved
    with pytest.raises(CheckpointError, match=r"no part named 'images'.*image_encoder"):
        start_from(build_model(model.config), path, without=("images",))
    with pytest.raises(CheckpointError, match="no part named 'head.none'"):
        start_from(build_model(model.config), path, without=("head.none",))


def test_a_model_cannot_start_from_one_with_more_parts(saved):
    path, model = saved
    with pytest.raises(CheckpointError, match="is not contained"):
        start_from(build_model(replace(model.config, lidar=False)), path)
