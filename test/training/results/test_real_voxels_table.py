import json
from pathlib import Path

from training.results.real_voxels_table import real_voxels_table


def test_scores_and_the_classes_that_have_any(tmp_path: Path) -> None:
    """One sequence has cars, neither has bicycles; a class that nothing showed is null."""
    (tmp_path / "real").mkdir()
    official = {"iou": 41.26, "precision": 50.0, "recall": 60.04, "miou": 3.1}
    for name, car in (("voxels_05.json", 0.0), ("voxels_00.json", 0.25)):
        scores = {"official": official, "per_class": {"car": car, "bicycle": None}, "frames": 2}
        (tmp_path / "real" / name).write_text(json.dumps(scores))
    assert real_voxels_table(tmp_path).splitlines() == [
        "|  | sequence 05, not trained on, 2 scans | sequence 00, trained on, 2 scans |",
        "| --- | --- | --- |",
        "| IoU, % | 41.3 | 41.3 |",
        "| precision, % | 50.0 | 50.0 |",
        "| recall, % | 60.0 | 60.0 |",
        "| mIoU, % | 3.1 | 3.1 |",
        "| IoU of car, % | 0.0 | 25.0 |",
    ]
