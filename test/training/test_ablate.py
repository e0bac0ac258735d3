import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from occ_core.adaptive_fusion import AdaptiveFusionConfig
from occ_core.build import build_model
from occ_core.checkpoint import SHIPPED, save_checkpoint, start_from
from training import ablate as ablation
from training.ablate import AblateConfig, ablate, load_table, recipe
from training.ablation_tables import STREETS, TABLES, Row
from training.evaluate import EvaluateConfig
from training.learning.augment import AugmentConfig
from training.learning.config import TrainConfig
from training.recipes import bench_streets, nano_town
from training.results.ablation_table import format_table
from training.results.fingerprint import fingerprint

FUSER = AdaptiveFusionConfig(strides=(1,))
ROWS = [
    Row("base"),
    Row("fuser", ("dyn_k",), {"adaptive_fusion": FUSER}),
    replace(
        next(row for row in TABLES["tacocc"]() if row.name == "base + memory"),
        reference=None,
        steps_factor=2,
    ),
]
IOU = {"base": 0.25, "fuser": 0.5, "base___memory": 0.75}
"""What the pretended evaluation finds with seed 1, by folder; an eighth more with seed 2."""


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def of_name(table: str, name: str) -> Row:
    return next(row for row in TABLES[table]() if row.name == name)


# the tables


def test_every_row_is_a_training_of_its_own():
    for table, rows in TABLES.items():
        config = AblateConfig(table=table)
        first, *others = (recipe(row, 1, config) for row in rows() if not row.seed_offset)
        off = (
            first.rendering,
            first.gauss_render,
            first.gauss_render_from,
            first.language,
            first.losses.daga,
            first.by_drive,
        )
        # the others are compared to the base
        start = bench_streets() if table == STREETS else nano_town()
        assert first.model == start.model and not any(off)
        assert len({fingerprint(training) for training in (first, *others)}) == 1 + len(others)
        names = {row.name for row in rows()}
        assert len(names) == len(rows())
        assert {row.reference for row in rows()} <= {None, *names}


def test_rows_of_one_name_are_one_training_in_every_table():
    config = AblateConfig(table="tacocc")
    trainings: dict[str, set[str]] = {}
    folders = set()
    tables = [rows for table, rows in TABLES.items() if table != STREETS]
    for row in (row for rows in tables for row in rows()):
        training = recipe(row, 1, config)
        trainings.setdefault(row.name, set()).add(fingerprint(training))
        folders.add(training.out)
    assert {name for name, prints in trainings.items() if len(prints) > 1} == set()
    # and two names are two trainings
    assert len(set.union(*trainings.values())) == len(trainings) == len(folders)


def test_rows_on_streets_start_from_the_same_weights():
    """They lie in a folder of their own: a base of another table is another training."""
    config = AblateConfig(table=STREETS)
    trainings = {row.name: recipe(row, 3, config) for row in TABLES[STREETS]()}
    start = bench_streets()
    assert start.start_from == SHIPPED  # move the weights, and this recipe, with the next ones
    starts = {training.start_from for training in trainings.values()}
    assert starts == {start.out / "model.safetensors"}
    assert all(training.out.parts[-3] == STREETS for training in trainings.values())
    base, null = trainings["base"], trainings["base, other seeds"]
    assert fingerprint(base) == fingerprint(null) and base.out != null.out
    assert (base.seed, null.seed) == (3, 103)
    blind = trainings["without cameras"].augment
    assert blind is not None and base.augment is not None
    assert blind == replace(base.augment, drop_all_cameras=1.0)


@pytest.mark.parametrize(
    ("table", "test"),
    [("tacocc", "town_test"), ("gaussrender", "town_test"), ("vlmfusion", "town_weathers")],
)
def test_stored_tables_are_of_these_trainings_and_saved_alike(
    table: str, test: str, repository: Path, tmp_path: Path
):
    stored = repository / "docs" / "results" / f"{table}.json"
    shutil.copy(stored, tmp_path)
    config = AblateConfig(
        table=table, test=Path("data") / test, results=tmp_path, out=tmp_path / "out"
    )
    loaded = load_table(config)  # refuses rows whose fingerprints have changed
    loaded.document = {"machines": loaded.document["machines"]}  # so that it is written again
    loaded.save(loaded.document["machines"][0])
    assert (tmp_path / stored.name).read_bytes() == stored.read_bytes()


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no table is called 'tacoc'"):
        AblateConfig(table="tacoc")
    with pytest.raises(ValueError, match="has no row"):
        AblateConfig(table="tacocc", rows=("fuser",))


# bookkeeping, with pretended trainings


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Rows and seeds that were trained. Trainings, scores and latency are pretended."""
    done: list[str] = []

    def train(config: TrainConfig, *, resume: bool) -> Path:
        assert resume
        done.append(f"{config.out.parent.name} {config.seed}")
        config.out.mkdir(parents=True)
        text = json.dumps(asdict(config), default=str)
        (config.out / "config.json").write_text(text)
        return config.out / "model.safetensors"

    def evaluate(config: EvaluateConfig) -> dict[str, Any]:
        folder = config.checkpoint.parent
        seed = int(folder.name.removeprefix("seed_"))
        iou = IOU.get(folder.parent.name, 0.5) + (seed - 1) / 8
        scores = {"iou": iou, "miou": iou / 2, "flicker": 0.125}
        per_class = dict.fromkeys(ablation.SMALL, iou / 4)
        by_range = {side: {"miou": iou / 2} for side in ("25", "50", "100")}
        seen = {"ray_iou": iou, "depth_l1_m": 1.0, "bev": {"iou": iou}, "image": {"miou": iou}}
        return (
            scores
            | {"per_class": per_class, "by_range": by_range}
            | (seen if config.rendered else {})
        )

    monkeypatch.setattr(ablation, "train", train)
    monkeypatch.setattr(ablation, "evaluate", evaluate)
    monkeypatch.setattr(
        ablation, "latency", lambda rows, _: {"ms": {row.name: 20.0 for row in rows}}
    )
    return done


@pytest.fixture
def config(smallest: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AblateConfig:
    """The base, a fuser and a memory, one step of the smallest model each, the memory two."""
    monkeypatch.setattr(ablation, "nano_town", lambda: smallest)
    monkeypatch.setitem(TABLES, "tacocc", lambda: ROWS)
    return AblateConfig(
        table="tacocc",
        data=smallest.data,
        test=smallest.data,
        seeds=(1, 2),
        steps=1,
        out=tmp_path / "out",
        results=tmp_path / "results",
    )


def test_a_table_is_made_seed_by_seed_and_kept(config: AblateConfig, trained: list[str]):
    table = ablate(config)
    names = ["base", "fuser", "base___memory"]
    assert trained == [f"{name} {seed}" for seed in (1, 2) for name in names]
    assert read(config.results / "tacocc.json") == table
    base, fuser, memory = table["rows"]
    assert fuser["switches"] == ["dyn_k"] and [row["steps"] for row in table["rows"]] == [1, 1, 2]
    assert base["metrics"]["iou"]["values"] == [0.25, 0.375]
    assert base["metrics"]["iou_over_first"]["values"] == [0.0, 0.0]
    assert fuser["metrics"]["iou_over_first"]["values"] == [0.25, 0.25]  # 0.5 - 0.25
    # a quarter of 0.75, for each of the small classes
    assert memory["metrics"]["miou_small"]["values"][0] == 0.1875
    assert "miou_100" not in memory["metrics"] and "bev_iou" not in memory["metrics"]
    assert list(table["latency"]["ms"]) == ["base", "fuser", "base + memory"]
    trained.clear()
    assert ablate(config) == table and not trained
    shutil.rmtree(config.out)  # on another machine the table is all there is
    assert ablate(config) == table and not trained


def test_a_training_of_another_configuration_is_not_continued(
    config: AblateConfig, trained: list[str], tmp_path: Path
):
    ablate(config)
    with pytest.raises(ValueError, match="a different configuration"):
        ablate(replace(config, steps=2, results=tmp_path / "others"))


def test_what_is_done_stays_when_other_rows_are_trained(config: AblateConfig, trained: list[str]):
    ablate(replace(config, seeds=(1,), rows=("fuser",)))
    shutil.rmtree(config.out)
    table = ablate(replace(config, seeds=(2,), rows=("base",)))
    assert trained == ["base 1", "fuser 1", "base 2"]
    assert {row["name"]: row["seeds"] for row in table["rows"]} == {"base": [1, 2], "fuser": [1]}
    assert table["rows"][1]["metrics"]["iou_over_first"]["values"] == [0.25]


def test_rows_that_another_process_has_added_are_kept(
    config: AblateConfig, trained: list[str], monkeypatch: pytest.MonkeyPatch
):
    other = replace(config, seeds=(1,), rows=("base",), out=config.out / "other")
    pretended = ablation.train

    def train(training: TrainConfig, *, resume: bool) -> Path:
        monkeypatch.setattr(ablation, "train", pretended)
        ablate(other)  # while this one trains
        return pretended(training, resume=resume)

    monkeypatch.setattr(ablation, "train", train)
    table = ablate(replace(config, seeds=(2,), rows=("base",)))
    assert table["rows"][0]["seeds"] == [1, 2]


def test_a_table_of_other_trainings_is_not_overwritten(config: AblateConfig, trained: list[str]):
    first = replace(config, seeds=(1,), rows=("base",))
    ablate(first)
    shutil.rmtree(config.out)
    path = config.results / "tacocc.json"
    before = path.read_text()
    with pytest.raises(ValueError, match="holds 'base' from a different training"):
        ablate(replace(first, steps=2))
    with pytest.raises(ValueError, match="not on 'elsewhere'; choose another --results"):
        ablate(replace(first, test=Path("elsewhere")))
    assert path.read_text() == before and trained == ["base 1"]


def test_a_complete_table_is_returned_without_data(
    config: AblateConfig, trained: list[str], monkeypatch: pytest.MonkeyPatch
):
    table = ablate(replace(config, seeds=(1,)))
    path = config.results / "tacocc.json"
    before = path.stat().st_mtime_ns
    monkeypatch.setattr(ablation, "latency", lambda *_: pytest.fail("measured again"))
    assert ablate(replace(config, seeds=(1,))) == table
    assert path.stat().st_mtime_ns == before


def test_scores_beside_a_checkpoint_take_precedence(config: AblateConfig, trained: list[str]):
    first = replace(config, seeds=(1,), rows=("base",))
    ablate(first)
    path = config.out / "base" / "seed_1" / f"scores_{config.test.name}.json"
    path.write_text(json.dumps(read(path) | {"iou": 0.75}))
    assert ablate(first)["rows"][0]["metrics"]["iou"]["values"] == [0.75]
    # those on other towns do not count
    path.write_text(json.dumps(read(path) | {"iou": 1.0, "test": f"other/{config.test.name}"}))
    assert ablate(first)["rows"][0]["metrics"]["iou"]["values"] == [0.75]


def test_a_row_may_be_compared_to_another_than_the_first(
    config: AblateConfig, trained: list[str], monkeypatch: pytest.MonkeyPatch
):
    rows = [
        Row("base"),
        Row("add", ("add",), {"fusion": "add"}),
        Row("conv", ("conv",), {"fusion": "conv"}, reference="add"),
        Row("not asked for"),
    ]
    monkeypatch.setitem(TABLES, "tacocc", lambda: rows)
    table = ablate(replace(config, seeds=(1,), rows=("conv",)))
    assert [row["name"] for row in table["rows"]] == ["base", "add", "conv"]
    # 0.5 each, the base 0.25
    differences = [row["metrics"]["iou_over_first"]["mean"] for row in table["rows"]]
    assert differences == [0.0, 0.25, 0.0]


# real trainings


def test_rows_are_trained_scored_and_timed(config: AblateConfig):
    table = ablate(replace(config, seeds=(1,)))
    assert list(table["latency"]["over_first"]) == ["base", "fuser", "base + memory"]
    assert table["latency"]["over_first"]["base"] == 1.0
    for row in table["rows"]:
        assert {"iou", "miou", "miou_25", "miou_50", "flicker", "miou_clear"} <= set(row["metrics"])
    states = [config.out / name / "seed_1" / "config.json" for name in ("base", "base___memory")]
    assert [read(path)["steps"] for path in states] == [1, 2]


def test_a_training_is_scored_again_for_a_table_that_wants_more(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    """Where cameras teach, cameras score: the base of another table is trained only once."""
    rows = [Row("base"), of_name("gaussrender", "GaussRender")]
    monkeypatch.setitem(TABLES, "gaussrender", lambda: rows)
    ablate(replace(config, seeds=(1,), rows=("base",)))
    state = config.out / "base" / "seed_1" / "state.pt"  # only steps write it
    before = state.stat().st_mtime_ns
    table = ablate(replace(config, table="gaussrender", seeds=(1,)))
    base, gauss_render = (row["metrics"] for row in table["rows"])
    assert "bev_iou" in base and state.stat().st_mtime_ns == before
    assert {"ray_iou_over_first", "bev_iou_over_first", "image_miou", "depth_l1_m"} <= set(
        gauss_render
    )
    assert "RayIoU" in format_table(table)


def test_a_table_of_prompts_scores_each_weather(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("wordllama", reason="the sentence encoder's weights come with wordllama")
    rows = [Row("base"), of_name("vlmfusion", "InstVLM + WeathFusion + DAGA")]
    monkeypatch.setitem(TABLES, "vlmfusion", lambda: rows)
    table = ablate(replace(config, table="vlmfusion", seeds=(1,)))
    base, full = (row["metrics"]["miou_clear"]["mean"] for row in table["rows"])
    difference = table["rows"][1]["metrics"]["miou_clear_over_first"]["mean"]
    assert difference == pytest.approx(full - base, nan_ok=True)
    assert "clear" in format_table(table)


def test_rows_on_streets_are_trained_further_and_scored(
    config: AblateConfig, monkeypatch: pytest.MonkeyPatch
):
    """The seeds of the null row are others; the cameras of a blind row are masked in training."""
    torch.manual_seed(0)
    start = replace(recipe(Row("base"), 1, config), augment=AugmentConfig())
    path = start.out / "start" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_checkpoint(path, build_model(start.model), {})
    monkeypatch.setattr(ablation, "bench_streets", lambda: replace(start, out=path.parent))
    rows = [row for row in TABLES[STREETS]() if row.name in ("base", "base, other seeds")]
    rows.append(Row("without cameras", blind=True))
    monkeypatch.setitem(TABLES, STREETS, lambda: rows)
    table = ablate(replace(config, table=STREETS, seeds=(1,)))
    base, null, blind = (row["metrics"] for row in table["rows"])
    expected = {"miou", "iou", "camera_mask_miou", "one_sweep_miou", "one_sweep_camera_mask_miou"}
    assert expected | {"miou_clear", "camera_mask_miou_clear"} <= set(base)
    folders = [config.out / STREETS / name / "seed_1" for name in ("base", "base__other_seeds")]
    assert [read(folder / "config.json")["seed"] for folder in folders] == [1, 101]
    assert "seen" in format_table(table) and set(null) == set(blind)
    blind_training = read(config.out / STREETS / "without_cameras" / "seed_1" / "config.json")
    assert blind_training["augment"]["drop_all_cameras"] == 1.0
    assert table["start"].startswith("model.")
    # another start is another table
    save_checkpoint(path, build_model(start.model), {})
    with pytest.raises(ValueError, match="rows that started from 'model"):
        ablate(replace(config, table=STREETS, seeds=(1,)))


def test_a_blind_row_needs_an_augmentation(config: AblateConfig):
    with pytest.raises(ValueError, match="row 'blind' needs an augmentation"):
        recipe(Row("blind", blind=True), 1, config)


@pytest.mark.parametrize("name", [row.name for row in TABLES[STREETS]()])
def test_the_start_is_contained_in_every_row_on_streets(name: str, tmp_path: Path):
    """On the shipped model's shape: ``start_from`` refuses weights that do not fit."""
    config = AblateConfig(table=STREETS)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, build_model(bench_streets().model), {})
    start_from(build_model(recipe(of_name(STREETS, name), 1, config).model), path)


def test_the_shipped_model_contains_the_start_of_the_rows_on_streets():
    training = bench_streets()
    assert training.start_from is not None
    new = start_from(build_model(training.model), training.start_from, training.start_without)
    assert new == []
