from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from occ_core.ops.cpu.arrays import arrays, named_arrays
from occ_core.ops.cpu.kernel import kernel


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@kernel
def add(pair: Pair, total: np.ndarray) -> None:
    for row in range(len(total)):
        total[row] = scaled(pair.left[row], 2.0) + pair.right[row]


@kernel(inline="always")
def scaled(value: float, factor: float) -> float:
    return value * factor


def test_a_kernel_reads_named_tuples_and_writes_into_the_memory_of_tensors():
    total = torch.zeros(2)
    add(named_arrays(Pair(torch.tensor([1.0, 2.0]), torch.tensor([10.0, 20.0]))), total.numpy())
    assert total.tolist() == [12.0, 24.0]  # 2 * 1 + 10, 2 * 2 + 20


def test_a_kernel_is_compiled_once_and_kept_on_disk():
    pair, total = named_arrays(Pair(torch.ones(1), torch.ones(1))), np.zeros(1, np.float32)
    for _ in range(2):
        add(pair, total)
    assert len(add.signatures) == 1 and add.stats.cache_path
    assert add.targetoptions["nogil"]  # other threads go on meanwhile


def test_arrays_share_memory_where_it_is_contiguous():
    tensor = torch.zeros(2, 3, requires_grad=True)
    plain, turned = arrays(tensor, tensor.T)
    plain[0, 1] = 7.0
    assert tensor[0, 1] == 7.0 and turned.shape == (3, 2) and turned.flags.c_contiguous
