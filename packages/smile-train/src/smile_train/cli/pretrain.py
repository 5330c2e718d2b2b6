"""Pre-train a video transformer by reconstructing masked tokens of moving-object clips."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from smile_motion.cli.app import Outcome, option
from smile_motion.errors import InputError
from smile_motion.io.options import given_options
from smile_motion.runtime.partition import is_first_process, results_folder

from smile_train.cli.runs import given_settings, refuse_idle_settings
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.pretrain_presets import NOTES, PRESETS

MAKES = "a training run"
Options = PretrainConfig

EXAMPLES = (
    "smile-train pretrain --out runs/tiny",
    "smile-train pretrain --preset smile-vit-b --videos VIDEOS --out runs/first",
    "smile-train pretrain --preset smile-vit-b --videos VIDEOS --out runs/first --resume",
    "smile-train pretrain --list-presets",
)


def defaults(arguments: Sequence[str]) -> PretrainConfig:
    """The settings of --config, over the preset that it or the arguments name, or that suits the
    machine.

    Raises:
        InputError: For an unknown name, and for a file that cannot be used.
    """
    settings = given_settings(arguments, PretrainConfig)
    values = {} if settings is None else settings.values
    asked = option(arguments, "--preset")
    name = values.get("preset") if asked is None else asked
    name = _preset_of_machine(arguments) if name is None else str(name)
    if name not in PRESETS:
        place = "--preset" if settings is None or asked else f"{settings.path}: preset"
        raise InputError(f"{place} {name}: unknown; choose from {', '.join(PRESETS)}")
    preset = PRESETS[name]
    if settings is not None:
        if {"steps", "epochs"} & values.keys():
            preset = replace(preset, minutes=None, probe_motion_every=None)
        preset = _over_given_backgrounds(preset, {name for name in values if values[name]})
        preset = replace(settings.over(preset), preset=name)
    given = given_options(arguments)
    if {"steps", "epochs"} & given:
        preset = replace(preset, minutes=None, probe_motion_every=None)
    if "epochs" in given and "steps" not in given:
        preset = replace(preset, steps=None)
    return _over_given_backgrounds(preset, given)


def _preset_of_machine(arguments: Sequence[str]) -> str:
    """The preset where none is named."""
    if any(word in ("--help", "-h", "--list-presets") for word in arguments):
        return "tiny"
    import torch

    if torch.cuda.is_available():
        return "table7-noise"
    if is_first_process():
        print(
            "preset: tiny, because there is no CUDA device; a small model on small frames that "
            "two CPU cores finish in minutes",
            file=sys.stderr,
        )
    return "tiny"


def _over_given_backgrounds(preset: PretrainConfig, given: Collection[str]) -> PretrainConfig:
    """The preset, over the videos or photographs that are among the given options, if they are."""
    if "background" in given:
        return preset
    kind = preset.background_kind
    if "videos" in given and kind not in ("natural", "frame"):
        implied, named = "natural", "videos"
    elif "images" in given and kind not in ("places", "pseudo-motion"):
        implied, named = "places", "images"
    else:
        return preset
    if is_first_process():
        print(f"background: {implied}, because --{named} are given", file=sys.stderr)
    return replace(preset, background=implied)


def run(config: PretrainConfig) -> Outcome | None:
    """Train, then say where everything is and what comes next."""
    if config.list_presets:
        _list_presets()
        return None
    refuse_idle_settings(config)
    out = config.out or _free_folder(config)
    from smile_train.checkpoints.files import holds_a_run

    if not config.resume and holds_a_run(out):
        raise InputError(f"{out}: holds a run; continue it with --resume, or choose another --out")
    from smile_train.checkpoints.files import stored_settings
    from smile_train.training.pretrain import pretrain

    with results_folder(out):
        checkpoint = pretrain(replace(config, out=out), out)
    if not is_first_process():
        return None
    run_folder, out = out, checkpoint.parent.parent
    described = stored_settings(out)
    more = ""
    if int(checkpoint.name.removeprefix("step_")) < described["steps_total"]:
        more = f"\n  the same command with --resume --out {run_folder}, and --stop-at later or not"
    board = f"\n  tensorboard --logdir {out}" if config.track == "tensorboard" else ""
    print(
        f"""
checkpoint      {checkpoint}
loss curve      {out / "loss.png"}
reconstruction  {out / "reconstruction.png"}{_motion_line(out)}

next:{more}{board}
  accelerate launch -m smile_train probe motion {checkpoint}
  accelerate launch -m smile_train export {checkpoint} --out {out / "transformers"}
  accelerate launch -m smile_train pretrain --background natural --videos VIDEOS --target clip
  smile-motion preview --background noise --out preview.html"""
    )
    return Outcome({"checkpoint": checkpoint, "run": out})


def _motion_line(out: Path) -> str:
    """What the student knows of motion, if it was asked at the end."""
    from smile_train.motion_probe.online import MeasuredMotion, is_asked, sentence
    from smile_train.training.metrics_logger import MEASURES, read_log

    lines = read_log(out / MEASURES, MeasuredMotion)
    asked = [line for line in lines if is_asked(line, untrained=True)]
    return f"\nmotion          {sentence(asked[-1])}" if asked else ""


def _free_folder(config: PretrainConfig) -> Path:
    """runs/PRESET; where that holds a run already, the newest to resume or the next free one."""
    first = Path("runs") / config.preset
    taken = []
    number = 1
    while (path := first if number == 1 else first.with_name(f"{first.name}-{number}")).exists():
        taken.append(path)
        number += 1
    return taken[-1] if config.resume and taken else path


def _list_presets() -> None:
    from rich.console import Console
    from rich.table import Table

    columns = (
        *("student", "target", "strategy", "background", "objects"),
        *("masking", "mask_ratio", "masks_per_clip", "epochs"),
    )
    table = Table("preset", *(name.replace("_", " ") for name in columns), "from")
    for name, preset in PRESETS.items():
        values = (getattr(preset, column) for column in columns)
        shown = ("default" if value is None else str(value) for value in values)
        table.add_row(name, *shown, NOTES[name])
    console = Console()
    if not console.is_terminal:
        console.width = 200
    console.print(table)
