"""Fine-tune an encoder on labeled videos, and test the best weights and the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from smile_motion.cli.app import Outcome, option
from smile_motion.errors import InputError
from smile_motion.runtime.partition import results_folder

from smile_train.cli.runs import given_settings, refuse_idle_settings
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import (
    DATASET_PRESETS,
    NOTES,
    PRESETS,
    Protocol,
    preset_for,
)

MAKES = "a training run"
Options = FinetuneConfig
PARTS_OF_RUNS = ("step_", "stage-", "best", "last")
"""How folders of checkpoints within a run begin."""
WEIGHT_SUFFIXES = (".pth", ".pt", ".safetensors")
"""Of published files."""

EXAMPLES = (
    "smile-train finetune runs/first --dataset ucf101 --data UCF101",
    "smile-train finetune runs/first --dataset list --data lists --few 50 --out runs/few",
    "smile-train finetune --list-presets",
)


def defaults(arguments: Sequence[str]) -> FinetuneConfig:
    """The preset that the arguments name, or the data set's own.

    Raises:
        InputError: For an unknown name.
    """
    return choose_preset(arguments, "finetune")


def choose_preset(arguments: Sequence[str], protocol: Protocol) -> FinetuneConfig:
    """The settings of --config, over the preset that it or the arguments name, or that of the
    protocol and the data set.

    Raises:
        InputError: For an unknown name, and for a file that cannot be used.
    """
    settings = given_settings(arguments, FinetuneConfig)
    values = {} if settings is None else settings.values
    asked = option(arguments, "--preset")
    name = values.get("preset") if asked is None else asked
    if name is None:
        dataset = option(arguments, "--dataset") or str(values.get("dataset"))
        preset = preset_for(protocol, dataset if dataset in DATASET_PRESETS else "folder")
    elif str(name) in PRESETS:
        preset = PRESETS[str(name)]
    else:
        place = "--preset" if settings is None or asked else f"{settings.path}: preset"
        raise InputError(f"{place} {name}: unknown; choose from {', '.join(PRESETS)}")
    if settings is None:
        return preset
    config = replace(settings.over(preset), preset=preset.preset)
    if protocol not in ("finetune", config.protocol):
        raise InputError(
            f"{settings.path}: protocol is {config.protocol}, this command's is {protocol}; give "
            f"the file to finetune --config, or leave protocol out"
        )
    return config


def run(config: FinetuneConfig) -> Outcome | None:
    """Train, test, and say what was reached."""
    if config.list_presets:
        _list_presets()
        return None
    refuse_idle_settings(config)
    out = prepare_folder(config)
    from smile_train.cli.runs import print_outcome
    from smile_train.training.finetune import finetune

    with results_folder(out):
        results = finetune(replace(config, out=out), out)
    return print_outcome(results, out)


def prepare_folder(config: FinetuneConfig) -> Path:
    """The folder of a run.

    Raises:
        InputError: No checkpoint is given, or a run is there that is not to be resumed.
    """
    if config.from_scratch is not None:
        if config.checkpoint != Path():
            raise InputError(
                f"{config.checkpoint} and --from-scratch {config.from_scratch}: start from one of "
                f"them; leave the other out"
            )
        name = f"scratch-{config.from_scratch}"
    elif config.checkpoint == Path():
        raise InputError(
            "no checkpoint; give a run, a checkpoint, or a published file, or --from-scratch and "
            "a student's size"
        )
    else:
        name = name_of(str(config.checkpoint))
    out = config.out or Path("runs") / f"{name}-{config.protocol}-{config.dataset}"
    from smile_train.checkpoints.files import holds_a_run

    if not config.resume and holds_a_run(out):
        raise InputError(f"{out}: holds a run; continue it with --resume, or choose another --out")
    return out


def name_of(checkpoint: str) -> str:
    """What results of a checkpoint are named by: its own name, after that of its run if it has one.

    `runs/first/checkpoints/step_00000100` becomes `first-step_00000100`.
    """
    path = Path(checkpoint)
    path = path.absolute() if path.exists() else path
    parts = [part for part in path.parts if part != "checkpoints"]
    first = len(parts) - 1
    while first > 0 and parts[first].startswith(PARTS_OF_RUNS):
        first -= 1
    name = "-".join(parts[first:])
    return name.removesuffix(path.suffix) if path.suffix in WEIGHT_SUFFIXES else name


def _list_presets() -> None:
    from rich.console import Console
    from rich.table import Table

    columns = ("batch", "base_lr", "layer_decay", "epochs", "repeats", "segments", "crops")
    table = Table("preset", *(name.replace("_", " ") for name in columns), "from")
    for name, preset in PRESETS.items():
        table.add_row(name, *(str(getattr(preset, column)) for column in columns), NOTES[name])
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
