"""A program that reads from a worker process, writes its number into a folder, and waits."""

import os
import signal
import sys
from pathlib import Path

from smile_train.data.loader import open_batches
from torch.utils.data import Dataset


class Numbers(Dataset[int]):
    """The number of the process that makes an item."""

    def __getitem__(self, _: int) -> int:
        return os.getpid()


if __name__ == "__main__":
    batches = open_batches(Numbers(), range(100), workers=1)
    made = Path(sys.argv[1]) / "made"
    made.write_text(str(next(batches)))
    made.rename(made.with_name("worker"))
    signal.pause()
