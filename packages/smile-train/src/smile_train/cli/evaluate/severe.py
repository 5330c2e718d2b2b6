"""The SEVERE benchmark: eight fine-tunings of one encoder, and their mean."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro
from smile_motion.cli.app import Outcome
from smile_motion.io.options import Batch, Epochs, Groups, Heads, Seed, Threads, Workers
from smile_motion.runtime.partition import is_first_process, results_folder

from smile_train.config.run import Precision
from smile_train.datasets.registry import DatasetName
from smile_train.evaluation.severe import EXPERIMENTS, ExperimentName

EXAMPLES = (
    "smile-train evaluate severe runs/first --ucf101 UCF101 --experiments ucf-1000 --out severe",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of `smile_train evaluate severe`."""

    GROUPS: ClassVar[Groups] = {
        "what is run, and where to": ("checkpoint", "out", "experiments", "heads"),
        "the data sets": (
            *("ssv2", "finegym", "ucf101", "ucf_rc", "charades", "subsets"),
            *("allow_missing", "seed"),
        ),
        "how fast": (
            *("epochs", "batch", "accumulate", "precision", "workers", "cpu_threads"),
            "track",
        ),
    }

    checkpoint: Annotated[Path, tyro.conf.Positional]
    """A run, a checkpoint, or a published file."""
    out: Path
    """Folder for the experiments and the table. What is there already is not run again."""
    experiments: tuple[ExperimentName, ...] = tuple(EXPERIMENTS)
    """Which of the eight; the mean needs all."""
    ssv2: Path | None = None
    """Folder of Something-Something V2."""
    finegym: Path | None = None
    """Folder of FineGYM, for gym99, gym-1000, fx-s1 and ub-s1."""
    ucf101: Path | None = None
    """Folder of UCF-101, for ucf-1000."""
    ucf_rc: Path | None = None
    """Folder of UCFRep, for ucf-rc."""
    charades: Path | None = None
    """Folder of Charades."""
    subsets: Path | None = None
    """Folder of manifests ucf-1000.jsonl and gym-1000.jsonl, instead of drawing the samples."""

    epochs: Epochs | None = None
    """Epochs of every experiment. Default: as `finetune --list-presets` says."""
    batch: Batch | None = None
    """Videos in a step. Default: the presets'."""
    accumulate: Batch = 1
    """Parts that a process splits its share of a step into, to save memory."""
    precision: Precision = "auto"
    """Of activations; auto as for `finetune`."""
    cpu_threads: Threads | None = None
    """Threads on the CPU; as for `finetune`."""
    workers: Workers = 2
    """Processes that make clips."""
    track: Literal["tensorboard", "trackio", "wandb", "none"] = "tensorboard"
    """Where curves go."""
    heads: Heads | None = None
    """Attention heads of a published file, where they are not the width over 64."""
    allow_missing: bool = False
    """Leave out videos that are not there or cannot be read, and say so in the results."""
    seed: Seed = 0
    """Seed of everything drawn, the few-sample subsets too."""


_SHARED = (
    *("accumulate", "precision", "cpu_threads", "workers"),
    *("track", "heads", "allow_missing", "seed"),
)
_GIVEN = ("epochs", "batch")


def run(options: Options) -> Outcome | None:
    """Run what is not done, and print the table."""
    from smile_train.evaluation.severe import TABLE, as_json, as_markdown
    from smile_train.training.severe import SeverePlan, run_severe

    roots: dict[DatasetName, Path | None] = {
        "ssv2": options.ssv2,
        "ucf101": options.ucf101,
        "ucf-rc": options.ucf_rc,
        "charades": options.charades,
        **dict.fromkeys(("gym99", "gym288", "fx-s1", "ub-s1"), options.finegym),
    }
    changes: dict[str, Any] = {name: getattr(options, name) for name in _SHARED}
    for field in fields(options):
        if field.name in _GIVEN and (value := getattr(options, field.name)) is not None:
            changes[field.name] = value
    plan = SeverePlan(
        checkpoint=options.checkpoint,
        out=options.out,
        roots={name: root for name, root in roots.items() if root is not None},
        experiments=options.experiments,
        subsets=options.subsets,
        changes=changes,
    )
    with results_folder(plan.out):
        found = run_severe(plan)
    if not is_first_process():
        return None
    print(as_markdown(found))
    print(plan.out / TABLE)
    return Outcome(as_json(found))
