"""What commands that train or evaluate share: the option --config, and how results are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Protocol, TypeVar

from smile_motion.cli.app import Outcome, option
from smile_motion.errors import InputError
from smile_motion.io.options import refuse_idle_options
from smile_motion.runtime.partition import is_first_process, results_folder

from smile_train.config.run import RunOptions
from smile_train.config.settings import Settings, read_settings
from smile_train.evaluation.results import RESULTS, Results


class _WithFolder(Protocol):
    @property
    def out(self) -> Path: ...


Options = TypeVar("Options", bound=_WithFolder)


def in_first_process(work: Callable[[Options], Outcome]) -> Callable[[Options], Outcome | None]:
    """Have a command work in the main process alone, with its folder `--out` to itself."""

    @wraps(work)
    def run(options: Options) -> Outcome | None:
        if not is_first_process():
            return None
        with results_folder(options.out):
            return work(options)

    return run


def name_checkpoints(names: Sequence[str], checkpoints: Sequence[str]) -> tuple[str, ...]:
    """Names of checkpoints in tables and figures: those given, or the ends of their paths.

    Raises:
        InputError: There are not as many different names as checkpoints.
    """
    from smile_train.evaluation.figures.clips import short_names

    found = tuple(names) or tuple(short_names(checkpoints))
    if len(found) != len(checkpoints) or len(set(found)) < len(found):
        raise InputError(
            f"{len(set(found))} different names for {len(checkpoints)} checkpoints; give one each"
        )
    return found


def given_settings(arguments: Sequence[str], schema: type[RunOptions]) -> Settings | None:
    """Read the file that a command line gives with --config, if it does.

    Raises:
        InputError: It cannot be read, has other names than the options, or is given with a preset
            that it leaves nothing to.
    """
    name = option(arguments, "--config")
    if name is None:
        return None
    settings = read_settings(Path(name), schema)
    if not settings.complete:
        return settings
    if (asked := option(arguments, "--preset")) is not None:
        raise InputError(
            f"--preset {asked} has no effect with --config {name}, which a run of preset "
            f"{settings.values.get('preset')} wrote, with every option; leave one of them out"
        )
    if is_first_process():
        print(
            f"config: {name}, which a run wrote; its out, resume and stop-at are not taken",
            file=sys.stderr,
        )
    return settings


def refuse_idle_settings(config: RunOptions) -> None:
    """Raise InputError for a setting of the configuration's file that has no effect.

    What a run wrote has all options, idle ones too.
    """
    if config.config is None:
        return
    settings = read_settings(config.config, type(config))
    if settings.complete:
        return
    try:
        refuse_idle_options(config, [f"--{name}" for name in settings.values])
    except InputError as error:
        raise InputError(f"{config.config}: {error}") from None


def print_outcome(results: Results, out: Path) -> Outcome | None:
    """Print a line for each metric, and where the files are; in the main process alone.

    Returns:
        The results as facts, with their folder.
    """
    if not is_first_process():
        return None
    print(f"\n{results.dataset}, {results.split}: {results.samples} samples, {results.protocol}")
    for name, value in results.metrics.items():
        marked = "  <-" if name == results.main_metric else ""
        print(f"  {name:<22} {value:8.3f}{marked}")
    if results.missing:
        print("  partial: videos were missing, or could not be read")
    elif results.partial:
        print("  partial: samples of the split were left out")
    for line in results.ours:
        print(f"  ours: {line}")
    print(f"{out / RESULTS}")
    return Outcome({"out": out} | asdict(results))
