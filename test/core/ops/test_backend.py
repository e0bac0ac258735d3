import logging

import pytest
import torch

from occ_core.ops import backend
from occ_core.ops.backend import torch_only, use_cuda_library, use_kernel

CPU, META = torch.zeros(1), torch.zeros(1, device="meta")
LEARNED = torch.zeros(1, requires_grad=True)


def test_kernels_run_where_all_inputs_lie_on_the_cpu():
    assert use_kernel("test", CPU, LEARNED, constants=[CPU])
    assert not use_kernel("test", CPU, META)
    assert not use_kernel("test", CPU, constants=[META])
    assert not use_kernel("test", META, META)


def test_a_constant_that_needs_a_gradient_takes_the_torch_form():
    assert not use_kernel("test", CPU, constants=[CPU, LEARNED])
    with torch.no_grad():
        assert use_kernel("test", CPU, constants=[CPU, LEARNED])


def test_the_torch_form_can_be_asked_for():
    with pytest.raises(ZeroDivisionError), torch_only():
        assert not use_kernel("test", CPU)
        raise ZeroDivisionError
    assert use_kernel("test", CPU)


def test_libraries_are_for_cuda_alone():
    assert not use_cuda_library("test", CPU) and not use_cuda_library("test", META)


def test_each_choice_is_logged_once(caplog: pytest.LogCaptureFixture):
    backend._log_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="occ_core.ops.backend"):
        for tensor in (CPU, CPU, META, META):
            use_kernel("splat", tensor)
        use_cuda_library("spconv", CPU)
    assert caplog.messages == ["splat: compiled CPU loop", "splat: torch"]
