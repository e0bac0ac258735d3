"""Files of splits that are none; good ones are in ``test_nuscenes``."""

from pathlib import Path

import pytest

from occ_core.datasets.splits import split_scenes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", 'must hold {"name of a split": '),
        ("3", "must hold"),
        ('{"val": 5}', "must hold"),
        ('{"val": "scene-0061"}', "must hold"),
        ('{"val": [["scene-0061"]]}', "must hold"),
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
    ],
)
def test_a_malformed_file_of_splits_is_named(tiny_nuscenes: Path, text: str, words: str) -> None:
    path = tiny_nuscenes / "v1.0-mini" / "splits.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as raised:
        split_scenes(tiny_nuscenes, None, "val")
    assert str(path) in str(raised.value) and "correct it or take it" in str(raised.value)
