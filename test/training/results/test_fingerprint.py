import json
from dataclasses import asdict, replace
from pathlib import Path

from training.recipes import nano_town
from training.results.fingerprint import fingerprint, stored_fingerprint


def test_a_training_is_recognised_by_all_but_seed_and_folder():
    nano = nano_town()
    known = fingerprint(nano)
    assert fingerprint(replace(nano, seed=nano.seed + 1, out=Path("elsewhere"))) == known
    assert fingerprint(replace(nano, steps=nano.steps + 1)) != known
    assert fingerprint(replace(nano, by_drive=True)) != known


def test_a_stored_configuration_has_the_same_fingerprint(tmp_path: Path):
    config = asdict(nano_town()) | {"an_option_of_the_past": False, "another": None}
    (tmp_path / "config.json").write_text(json.dumps(config, default=str))
    assert stored_fingerprint(tmp_path) == fingerprint(nano_town())
