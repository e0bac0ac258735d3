import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from occ_core.config import debug
from occ_core.export.package import Description, ExportedModel, ExportedModelError, read_description


def described(folder: Path, **changes: object) -> Path:
    """An exported model whose program is no program."""
    description = Description(
        kind="graph",
        device="cpu",
        precision="fp32",
        cameras=2,
        frame_id="lidar",
        checkpoint="a.safetensors",
        torch=torch.__version__,
        inputs=("images", "points"),
        outputs=("labels", "probability"),
        config=asdict(debug()),
    )
    path = folder / "model.pt2"
    path.write_bytes(b"no program")
    path.with_suffix(".json").write_text(json.dumps(asdict(description) | changes))
    return path


def test_a_description_is_read_back(tmp_path):
    description = read_description(described(tmp_path))
    assert description.inputs == ("images", "points") and description.cameras == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"torch": "1.0"}, "exported with torch 1.0.*export it again"),
        ({"cameras": "two"}, "does not describe an exported model"),
        ({"config": {"channels": 12}}, "does not describe.*multiple of 8"),
        ({"speed": 3}, "does not describe.*speed"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(changes, text, tmp_path):
    with pytest.raises(ExportedModelError, match=text):
        read_description(described(tmp_path, **changes))


def test_missing_and_damaged_files_are_named(tmp_path):
    path = described(tmp_path)
    with pytest.raises(ExportedModelError, match="cannot be loaded"):
        ExportedModel(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(ExportedModelError, match=r"model\.json' does not exist.*occ_export"):
        ExportedModel(path)
    with pytest.raises(ExportedModelError, match=r"\.pt2 file, got .*model\.safetensors"):
        read_description(tmp_path / "model.safetensors")
