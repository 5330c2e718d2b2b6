"""What every training run has, whatever it learns. Importable without torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from smile_motion.errors import InputError
from smile_motion.io.options import (
    Count,
    GivenOnce,
    OnlyWith,
    Threads,
    Workers,
    former_names,
    require_within,
)

PrecisionName = Literal["bf16", "fp16", "fp32"]
"""Of activations; weights stay float32."""
Precision = Literal["auto", "bf16", "fp16", "fp32"]
"""`auto` is settled by `smile_train.config.machine` when a run begins."""
DecoderName = Literal["pyav", "torchcodec"]
"""Libraries that decode videos."""
Decoder = Literal["auto", "pyav", "torchcodec"]
"""`auto` is settled by `smile_train.data.decoders` when a run begins."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """What decodes videos, of every command that reads many."""

    decoder: Annotated[
        Decoder, OnlyWith(lambda options: options.reads_videos, "where videos are read")
    ] = "auto"
    """Of videos that are not packed. auto: torchcodec where it is installed, gives PyAV's pixels
    for a few of them, and is faster in a short trial, which a thousand clips are worth, else PyAV.
    A run that is resumed keeps its own."""

    @property
    def reads_videos(self) -> bool:
        """Whether these options have videos read."""
        return True


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of a run that do not touch what is learned, but for its precision."""

    config: Annotated[Path | None, GivenOnce("write both into one file")] = None
    """Settings from a file: the config.json of a run, or YAML or JSON with the same names. What is
    given besides wins."""
    out: Path | None = None
    """Folder of the run. Default: a new one below runs/."""
    resume: bool = False
    """Continue the run in --out from its newest sound checkpoint."""
    stop_at: Count | None = None
    """End this step early, as if asked to stop: the schedule stays that of the whole run."""
    precision: Precision = "auto"
    """Of activations; weights stay float32. auto: bf16 on CUDA devices that have it, fp16 on older
    ones; on a CPU bf16 where a short measurement says that it pays, else fp32. A resumed run keeps
    its own. Official: fp16; ours auto."""
    cpu_threads: Threads | None = None
    """Threads of a run on the CPU. Default: all cores that this process may use, shared by the
    processes of this machine, or OMP_NUM_THREADS where you set it; fewer where --minutes bounds
    the run and they are faster in a trial. A resumed run keeps its own."""
    compile: bool = False
    """Compile the models with torch.compile: slow to start, faster after that."""
    workers: Workers = 2
    """Processes that make clips; 0 makes them in the training process."""
    track: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    """Where curves go, besides log.jsonl."""
    save_every: Count = 1000
    """Steps between checkpoints."""
    keep: Count = 3
    """Checkpoints kept."""
    log_every: Count = 10
    """Steps between records of the loss."""

    def __post_init__(self) -> None:
        require_within(self)

    def to_json(self) -> dict[str, Any]:
        """All fields, as JSON values."""
        return json.loads(json.dumps(asdict(self), default=str))

    def require_same(self, other: dict[str, Any], source: Path, more: Sequence[str] = ()) -> None:
        """Raise InputError where a stored configuration differs in a field that matters.

        Args:
            other: Configuration of the run that is there, by option.
            source: Its file or folder, for the message.
            more: Further differences, a phrase each.
        """
        if differing := [*self.differing(other), *more]:
            raise InputError(
                f"{source}: another configuration ({'; '.join(differing)}); use its options, or "
                f"another --out"
            )

    def differing(self, other: dict[str, Any]) -> list[str]:
        """Fields that matter in which a stored configuration differs, with both values."""
        mine, former = self.to_json(), former_names(type(self))
        other = {former.get(name, name): value for name, value in other.items()}
        # Runs of former releases lack what has come since, and did what its default does.
        theirs = {
            field.name: other.get(field.name, json.loads(json.dumps(field.default, default=str)))
            for field in fields(self)
        }
        return [
            f"{name} {value!r} there, {mine[name]!r} asked for"
            for name, value in theirs.items()
            if name not in FREE_FIELDS and value != mine[name]
        ]


FREE_FIELDS = frozenset(field.name for field in fields(RunOptions)) - {"precision"} | {
    *("picture_every", "probe_motion_every", "probe_motion_clips", "probe_linear_every"),
    *("allow_missing", "minutes", "decoder"),
}
"""Fields that a resumed run may change: they do not touch what is learned."""
