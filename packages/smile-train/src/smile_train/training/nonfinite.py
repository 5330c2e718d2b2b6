"""Non-finite losses: the step, and its samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import torch
from smile_motion.errors import InputError

from smile_train.data.sampling import SampleOrder

RECORD = "nonfinite.json"
"""File that names the samples of a step whose loss was not finite."""


class TracedSamples(Protocol):
    """Samples whose files can be named."""

    @property
    def order(self) -> SampleOrder:
        """Where a sample number points."""
        ...

    def file_of(self, index: int) -> Path | None:
        """The file that sample `index` of an epoch is made from, if there is one."""
        ...


class FiniteLosses:
    """Keeps the losses of steps on the device until they are asked for: no step waits for it."""

    def __init__(self, out: Path, clips: TracedSamples) -> None:
        """Watch a stage.

        Args:
            out: Folder of the stage.
            clips: Tells which file a sample is from.
        """
        self.out, self.clips = out, clips
        self._numbers: list[torch.Tensor] = []
        self._steps: list[tuple[int, torch.Tensor, list[torch.Tensor]]] = []

    def saw(self, numbers: torch.Tensor) -> None:
        """Note the samples (n,) of a part of the coming step."""
        self._numbers.append(numbers.clone())

    def add(self, step: int, loss: torch.Tensor) -> None:
        """Note the loss of a step, a scalar on any device."""
        self._steps.append((step, loss, self._numbers))
        self._numbers = []

    def check(self) -> torch.Tensor:
        """Return the last step's loss, and forget the steps.

        Raises:
            InputError: The loss of any was not finite; its samples are in `RECORD` then.
        """
        steps, self._steps = self._steps, []
        finite = torch.isfinite(torch.stack([loss for _, loss, _ in steps]))
        if not bool(finite.all()):
            step, loss, numbers = steps[int((~finite).nonzero()[0, 0])]
            path = self._write(step, torch.cat(numbers).tolist())
            raise InputError(
                f"step {step}: the loss is {float(loss)}; its samples are in {path}, the last good "
                f"checkpoint in {self.out / 'checkpoints'}; resume with a lower --base-lr or with "
                f"--precision fp32"
            )
        return steps[-1][1]

    def _write(self, step: int, numbers: list[int]) -> Path:
        order = self.clips.order
        samples = []
        for number in numbers:
            epoch, index = order.locate(number)
            sample: dict[str, int | str] = {"number": number, "epoch": epoch, "index": index}
            if (file := self.clips.file_of(index)) is not None:
                sample["file"] = str(file)
            samples.append(sample)
        path = self.out / RECORD
        path.write_text(json.dumps({"step": step, "samples": samples}, indent=2) + "\n")
        return path
