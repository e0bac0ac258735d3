from pathlib import Path

import cv2
import numpy as np

from training.figures.robustness import COLOURS, draw_curves


def _table(*mious: tuple[float, float]) -> dict:
    rows = []
    for name, two in zip(("base", "full"), mious, strict=True):
        conditions = {
            condition: {"miou": {"mean": miou, "stderr": None}}
            for condition, miou in zip("ab", two, strict=True)
        }
        rows.append({"name": f"out/{name}", "conditions": conditions})
    return {"rows": rows}


def _pixels_of(image: np.ndarray, colour: str) -> int:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return int((np.abs(image[..., ::-1].astype(int) - rgb).max(axis=-1) < 12).sum())


def test_every_row_has_a_curve_in_every_panel(tmp_path: Path):
    path = tmp_path / "pictures" / "curves.png"
    draw_curves(_table((0.2, 0.1), (0.3, 0.25)), [("cameras fail", [(0.0, "a"), (1.0, "b")])], path)
    one = cv2.imread(str(path))
    draw_curves(
        _table((0.2, 0.1), (0.3, 0.25)),
        [(title, [(0.0, "a"), (1.0, "b")]) for title in ("cameras", "LiDAR")],
        path,
    )
    two = cv2.imread(str(path))
    assert one.shape == two.shape
    half = two.shape[1] // 2
    for colour in COLOURS[:2]:
        assert _pixels_of(one, colour) > 100
        assert _pixels_of(two[:, :half], colour) > 50 and _pixels_of(two[:, half:], colour) > 50
    assert _pixels_of(two, COLOURS[2]) == 0


def test_a_better_row_lies_above(tmp_path: Path):
    path = tmp_path / "curves.png"
    draw_curves(_table((0.1, 0.1), (0.3, 0.3)), [("LiDAR fails", [(0.0, "a"), (1.0, "b")])], path)
    image = cv2.imread(str(path))
    rows = []
    for colour in COLOURS[:2]:
        rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        found = np.abs(image[..., ::-1].astype(int) - rgb).max(axis=-1) < 12
        # In the middle, where the legend is not.
        rows.append(found[:, image.shape[1] // 2].nonzero()[0].mean())
    assert rows[1] < rows[0]
