import subprocess
import sys

COUNT = """
import resource, threading
import torch
from occ_core.ops.allocator import keep_freed_memory
if {keep}:
    assert keep_freed_memory()

def work():
    def frame():
        for _ in range(3):
            torch.ones(10_000_000)  # 40 MB: more than the 32 MB that glibc ever keeps by itself
    for _ in range(10):  # the heap finds its size
        frame()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frame()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def faults(keep: bool) -> int:
    """Page faults of a later frame in a fresh process, in a thread as the node's."""
    program = subprocess.run(
        [sys.executable, "-c", COUNT.format(keep=keep)], capture_output=True, text=True, check=True
    )
    return int(program.stdout)


def test_memory_that_is_freed_is_kept():
    """3 tensors of 10,000 pages of 4 kB (or 20 of 2 MB), one after the other: by default a process
    fetches the pages of each again.
    """
    assert faults(keep=True) < 10 < 3 * 20 <= faults(keep=False)


RETURN = """
import os
from occ_core.ops.allocator import keep_freed_memory, return_freed_memory
assert keep_freed_memory()

def resident_mb():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

text = b"x" * 200_000_000
behind = bytearray(b"y" * 1000)  # so that the heap does not simply end there
del text
kept = resident_mb()
assert return_freed_memory()
print(kept - resident_mb())
"""


def test_freed_memory_is_returned_on_request():
    """200 MB that were kept."""
    program = subprocess.run(
        [sys.executable, "-c", RETURN], capture_output=True, text=True, check=True
    )
    assert float(program.stdout) > 190
