from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from occ_core.build import build_model
from occ_core.types import HeadOutput, TemporalMemory
from training.learning.config import TrainConfig
from training.learning.sequential_rendering import Past
from training.learning.state import TrainingState

KEYS = [
    "model",
    "average",
    "optimiser",
    "schedule",
    "rng",
    "step",
    "memories",
    "pasts",
    "renderer",
    "encoder",
    "gauss_render",
]
"""Keys of ``state.pt``; renaming one would make stopped trainings unreadable."""
PAST_KEYS = ["intrinsics", "camera_from_grid", "images", "valid", "world_from_grid", "stamp_ns"]
MEMORY_KEYS = ["state", "volumes", "world_from_grid", "stamp_ns", "head", "classes"]


@pytest.fixture
def fresh(smallest: TrainConfig) -> partial[TrainingState]:
    def make(seed: int) -> TrainingState:
        torch.manual_seed(seed)
        model = build_model(smallest.model)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 / (1 + step))
        return TrainingState(model, AveragedModel(model), optimiser, schedule)

    return partial(make)


def past() -> Past:
    pose = torch.eye(4, dtype=torch.float64)
    images, valid = torch.rand(1, 3, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)
    return Past(torch.eye(3)[None], torch.eye(4)[None], images, valid, pose, 500)


def memory(head: HeadOutput | None) -> TemporalMemory:
    pose = torch.eye(4, dtype=torch.float64)[None]
    return TemporalMemory(state=(torch.rand(1, 2, 2, 2, 1),), world_from_grid=(pose,), head=head)


def test_a_state_survives_its_file(fresh: partial[TrainingState], tmp_path: Path):
    state = fresh(1)
    sum(weight.sum() for weight in state.model.parameters()).backward()
    state.optimiser.step()
    state.schedule.step()
    head = HeadOutput.dense(torch.rand(1, 17, 2, 2, 1))
    state.memories = {(0, 2): memory(head), (0, 4): memory(None)}
    state.pasts = {(0, 2): (past(),)}
    state.step = 7
    torch.save(state.state_dict(), tmp_path / "state.pt")
    drawn = torch.rand(3)

    stored = torch.load(tmp_path / "state.pt", weights_only=True)  # plain containers
    restored = fresh(2)
    restored.load_state_dict(stored)
    assert torch.equal(torch.rand(3), drawn)
    assert restored.step == 7 and restored.schedule.get_last_lr() == [1e-3 / 2]
    for part in ("model", "average", "optimiser"):
        old, new = (getattr(each, part).state_dict() for each in (state, restored))
        torch.testing.assert_close(new, old, rtol=0, atol=0)
    torch.testing.assert_close(restored.pasts, state.pasts, rtol=0, atol=0)
    old, new = state.memories[0, 2], restored.memories[0, 2]
    assert new.head is not None and torch.equal(new.head.coarse, head.coarse)
    assert torch.equal(new.state[0], old.state[0])
    assert new.world_from_grid[0].dtype == torch.float64
    assert restored.memories[0, 4].head is None


def test_the_keys_of_stored_states_stay(fresh: partial[TrainingState]):
    state = fresh(1)
    state.memories, state.pasts = {(0, 2): memory(None)}, {(0, 2): (past(),)}
    stored = state.state_dict()
    assert list(stored) == KEYS
    (kept,) = stored["pasts"][0, 2]
    assert list(kept) == PAST_KEYS
    assert list(stored["memories"][0, 2]) == MEMORY_KEYS
    assert stored["memories"][0, 2]["head"] == ()
