"""A model's step -> a graph of torch's operators (torch.export)."""

from __future__ import annotations

import torch
from torch.export import Dim, ExportedProgram
from torch.utils._pytree import tree_unflatten

from occ_core.config import OccupancyConfig
from occ_core.export.memory import first_memory
from occ_core.export.step import MIN_POINTS, ExportedStep, SensorTensors


def example_sensors(
    config: OccupancyConfig, cameras: int, device: torch.device | str = "cpu"
) -> SensorTensors:
    """Sensor tensors of the right sizes, in the program's order; their values mean nothing."""
    pose = torch.eye(4)
    sensors = {
        "images": torch.zeros(1, cameras, 3, *config.image_size, dtype=torch.uint8),
        "camera_mask": torch.ones(1, cameras, dtype=torch.bool),
        "intrinsics": pose[:3, :3].repeat(1, cameras, 1, 1),
        "grid_from_camera": pose.repeat(1, cameras, 1, 1),
        "points": torch.zeros(1000, 5),
        "world_from_grid": pose.double()[None],
        "weather": torch.zeros(1, dtype=torch.long),
        "region": torch.zeros(1, dtype=torch.long),
    }
    return {name: tensor.to(device) for name, tensor in sensors.items()}


def export_step(step: ExportedStep, cameras: int) -> ExportedProgram:
    """The step as a graph, for any number of points."""
    config = step.model.config
    device = next(step.parameters()).device
    sensors = example_sensors(config, cameras, device)
    memory = first_memory(config, device)
    if "logits" in memory:  # as after a frame, whose children have rows too
        memory["logits"] = memory["logits"].repeat(2, 1)
    varying = {"points": {0: Dim("points", min=MIN_POINTS)}, "logits": {0: Dim.AUTO}}
    sizes = tuple({name: varying.get(name) for name in group} for group in (sensors, memory))
    with torch.no_grad():
        return torch.export.export(
            step.eval(), (sensors, memory), dynamic_shapes=sizes, strict=False
        )


def tensor_names(program: ExportedProgram) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the tensors that a program takes and of those that it gives, in order."""
    names = []
    for spec in (program.call_spec.in_spec, program.call_spec.out_spec):
        assert spec is not None
        groups = tree_unflatten(list(range(spec.num_leaves)), spec)
        groups = groups[0] if spec is program.call_spec.in_spec else groups  # without keywords
        position = {name: number for group in groups for name, number in group.items()}
        names.append(tuple(sorted(position, key=position.__getitem__)))
    return names[0], names[1]
