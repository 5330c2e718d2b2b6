"""Says how many pages eight tensors of 16 MiB take anew, before and after freed memory is kept."""

import resource

import torch
from smile_train.config.machine import keep_freed_memory


def faults() -> int:
    """Of tensors as those that were made and freed before them."""
    _ = [torch.ones(2**22) for _ in range(8)]
    del _
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    _ = [torch.ones(2**22) for _ in range(8)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


if __name__ == "__main__":
    without = faults()
    keep_freed_memory()
    print(without, faults())
