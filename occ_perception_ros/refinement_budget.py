"""A goal for the time of a frame, held by refining fewer voxels: rather a coarser answer than none.

The voxels that the LiDAR hit and those that are most probably occupied are refined first; the
others keep the class of their coarse voxel.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from occ_perception_ros.frames import Engine

LEAST = 1 / 16
"""Smallest limit, as a fraction of the model's own."""
LARGEST_CUT = 0.5
"""A single late frame costs at most this factor: it may be late for another reason."""
SLACK = 0.9
"""Fraction of the goal below which there is time for more voxels."""
GROWTH = 1.1
"""Factor by which the limit grows with every frame that has time left."""


@runtime_checkable
class RefiningEngine(Protocol):
    """What an engine must have whose model can refine fewer voxels."""

    max_refined: int
    """Largest number of coarse voxels refined in a frame; 0 if the model refines none."""
    refined: int
    """Number of coarse voxels that were refined in the last frame."""


class RefinementBudget:
    """Adapts how many voxels an engine refines to the time that frames take.

    Args:
        engine: one that is no ``RefiningEngine``, as an exported model, always takes its own time.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine if isinstance(engine, RefiningEngine) else None
        self._most = self._engine.max_refined if self._engine else 0
        self._least = max(int(LEAST * self._most), 1)
        self._late_at_least = False
        """Whether the last frame missed the goal, and no fewer voxels can be refined."""

    def adapt(self, took_ms: float, goal_ms: float) -> None:
        """Sets the limit of the next frame.

        Args:
            took_ms: time of the frame that was just answered.
            goal_ms: time that frames are to take; 0: any.
        """
        limit = self._engine.max_refined if self._engine else 0
        self._late_at_least = 0 < goal_ms < took_ms and limit <= self._least
        if self._engine is None or self._most == 0:
            return
        if goal_ms == 0:
            self._engine.max_refined = self._most
        elif took_ms > goal_ms:
            # a limit above what was refined would change nothing
            voxels = min(self._engine.refined, self._engine.max_refined)
            cut = max(LARGEST_CUT, goal_ms / took_ms)
            self._engine.max_refined = max(self._least, int(cut * voxels))
        elif took_ms < SLACK * goal_ms:
            more = int(GROWTH * self._engine.max_refined) + 1
            self._engine.max_refined = min(self._most, more)

    def text(self, goal_ms: float) -> str:
        """What the next answer lacks, and why, or that the goal is out of reach; empty if
        neither.
        """
        if self._engine is None or self._most == 0:
            if not self._late_at_least:
                return ""
            late = f"frames take longer than {goal_ms:.0f} ms"
            return f"{late}, and this model cannot refine fewer voxels"
        if self._engine.max_refined >= self._most:
            return ""
        reduced = f"at most {self._engine.max_refined} instead of {self._most} voxels are refined"
        if self._late_at_least:
            return f"frames take longer than {goal_ms:.0f} ms, although {reduced}"
        return f"{reduced}, to answer within {goal_ms:.0f} ms"
