"""Measure where the time of a run goes: data, teacher, student, optimizer, apart and together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.io.options import Count

from smile_train.cli import pretrain as pretrain_command
from smile_train.config.pretrain import PretrainConfig

EXAMPLES = (
    "smile-train bench --preset tiny",
    "smile-train bench --preset smile-vit-b --videos VIDEOS --random-teacher",
)


@dataclass(frozen=True, kw_only=True)
class Options(PretrainConfig):
    """Options of `smile_train bench`: those of `pretrain`, and how to measure."""

    repeats: Count = 10
    """Steps to take the median of, with parts apart and again together."""
    random_teacher: bool = False
    """CLIP with random weights instead of --teacher: as fast as the real one, nothing to fetch."""


def defaults(arguments: Sequence[str]) -> Options:
    """The preset that the arguments name, as for `pretrain`."""
    preset = pretrain_command.defaults(arguments)
    return Options(**{field.name: getattr(preset, field.name) for field in fields(preset)})


def run(options: Options) -> Outcome:
    """Measure, print a table, name the bottleneck."""
    if options.repeats < 1:
        raise InputError(f"--repeats is {options.repeats}; give 1 or more")
    import torch
    from rich.console import Console
    from rich.progress import Progress
    from smile_motion.runtime.devices import choose_device

    from smile_train.config.machine import settle_machine
    from smile_train.teachers import ClipTeacher
    from smile_train.training.benchmark import PARTS, TRUTH, advise, measure

    machine = settle_machine(options.precision, options.cpu_threads)
    options = replace(options, precision=machine.precision, cpu_threads=machine.cpu_threads)
    print(machine.said, file=sys.stderr)
    device = choose_device("auto")
    teacher = None
    if options.random_teacher:
        if options.target != "clip":
            raise InputError(f"--random-teacher is a CLIP; --target is {options.target}")
        teacher = ClipTeacher.random(str(options.teacher_name))
    errors = Console(stderr=True)
    with Progress(console=errors, disable=not errors.is_terminal) as progress:
        task = progress.add_task("measuring", total=2 * options.repeats)
        timings = measure(
            options,
            repeats=options.repeats,
            device=device,
            teacher=teacher,
            on_step=lambda: progress.advance(task),
        )
    names = [name for name in (PARTS[0], TRUTH, *PARTS[1:], "together") if name in timings.seconds]
    from rich.table import Table

    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    threads = "" if device.type == "cuda" else f", {torch.get_num_threads()} threads"
    table = Table(
        *("part", "ms a clip", "share", "utilization"),
        title=f"{options.preset}, batch {options.batch}, {options.precision}, {name}{threads}",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    whole = timings.median("together")
    for name in names:
        if name == "together":
            table.add_section()
        share, used = timings.median(name) / whole, timings.utilization(name)
        table.add_row(
            name,
            f"{1e3 * timings.median(name) / options.batch:.2f}",
            f"{share:.0%}",
            "" if used is None else f"{used:.0%}",
        )
    console = Console()
    console.print(table)
    rate = options.batch / whole
    console.print(
        f"{rate:.1f} clips/s, {rate * options.masks_per_clip:.1f} views/s; "
        f"large matrix products reach {timings.matrix_rate / 1e12:.2f} TFLOP/s here"
    )
    console.print(f"bottleneck: {advise(timings, options)}", highlight=False, soft_wrap=True)
    found = {
        name: {
            "seconds": timings.median(name),
            "ms_per_clip": 1e3 * timings.median(name) / options.batch,
            "utilization": timings.utilization(name),
        }
        for name in names
    }
    return Outcome(
        {
            "precision": machine.precision,
            "cpu_threads": machine.cpu_threads,
            "clips_per_s": rate,
            "parts": found,
            "advice": advise(timings, options),
        }
    )
