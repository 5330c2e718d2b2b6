"""Settings of a run from a file: the `config.json` that a run wrote, or YAML or JSON of one's own.

A file has the names of the options, with underscores:

    preset: smile-vit-b
    videos: ~/videos
    mask_ratio: 0.9

or groups them in `SECTIONS`:

    run: {preset: smile-vit-b}
    data: {videos: ~/videos}
    mask: {mask_ratio: 0.9}

What it leaves out is as the preset has it, which the file or the command line names; what the
command line gives wins over the file.
"""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from smile_motion.errors import InputError, shortened
from smile_motion.io.files import parse_json
from smile_motion.io.options import former_names
from smile_motion.io.schema import parse, read_bounded

from smile_train.config.run import RunOptions

SECTIONS: dict[str, tuple[str, ...]] = {
    "model": (
        *("student", "tubelet", "patch", "init", "gradient_checkpointing"),
        *("checkpoint", "from_scratch", "heads", "reset_head"),
        *("drop_path", "head_dropout", "head_scale"),
    ),
    "data": (
        *("background", "videos", "images", "noise", "noise_per_frame", "camera"),
        *("samples", "render", "clips_per_video", "decoder"),
        *("frames", "size", "width", "stride", "sampling", "workers", "knn"),
        *("dataset", "data"),
        *("annotations", "fold", "subset", "few", "test_split", "allow_missing", "repeats"),
        *("augment", "crop_area", "flip", "rand_augment", "erasing", "segments", "crops"),
    ),
    "motion": (
        *("bank", "bank_weights", "categories", "exclude_categories"),
        *("recipe", "recipe_file", "path", "transform", "objects", "effects", "animation"),
        *("strategy", "mixed_share"),
    ),
    "mask": (
        *("masking", "mask_ratio", "trajectory_visible", "coverage_threshold"),
        *("masks_per_clip", "decoder_mask_ratio", "motion_share"),
    ),
    "target": (
        *("target", "teacher", "target_norm", "official_teacher_input"),
        *("visible_weight", "visible_scaling", "target_layers"),
        *("motion_target", "tracks", "motion_reading", "motion_points", "motion_visibility"),
        *("motion_rates", "motion_norm", "motion_weight", "motion_depth"),
        *("label_smoothing", "mixup", "cutmix"),
    ),
    "optimizer": (
        *("epochs", "second_epochs", "steps", "minutes", "batch", "accumulate", "base_lr"),
        *("min_lr", "warmup_epochs", "weight_decay", "layer_decay", "betas", "clip_grad", "ema"),
    ),
    "run": (
        *("preset", "protocol", "seed", "out", "resume", "stop_at", "precision", "cpu_threads"),
        *("compile", "track", "save_every", "keep", "log_every", "picture_every"),
        *("probe_motion_every", "probe_motion_clips", "probe_linear_every", "validate_every"),
        *("config", "list_presets"),
    ),
}
"""The options of pre-training and fine-tuning, by section."""


RESOLVED = "resolved"
"""Section of what a run has settled or built from its options, such as the sizes of its model."""


def into_sections(described: Mapping[str, Any]) -> dict[str, Any]:
    """Group what a run says of itself, as its `config.json` has it.

    Args:
        described: By name: its options, and what they were resolved to.

    Returns:
        A dict for each section that has options, and `RESOLVED`.
    """
    left = dict(described)
    found: dict[str, Any] = {}
    for section, names in SECTIONS.items():
        own = {name: left.pop(name) for name in names if name in left}
        if own:
            found[section] = own
    return found | {RESOLVED: left}


def out_of_sections(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Undo `into_sections`. Runs until release 0.1 wrote no sections: theirs stay as they are."""
    found: dict[str, Any] = {}
    for name, value in stored.items():
        grouped = name in (*SECTIONS, RESOLVED) and isinstance(value, dict)
        found |= value if grouped else {name: value}
    return found


def without_sections(
    data: Mapping[Any, Any], *, former: Collection[str], source: str
) -> dict[Any, Any]:
    """Options of a file by their names alone; those outside of sections stay as they are.

    Args:
        former: Names that options had before, which any section takes.
        source: Named in errors.

    Raises:
        InputError: An option is in another section, or is there twice.
    """
    section_of = {name: section for section, names in SECTIONS.items() for name in names}
    found: dict[Any, Any] = {}
    for name, value in data.items():
        # `target: clip` is the option, `target: {…}` the section.
        grouped = name in SECTIONS and isinstance(value, dict)
        for option, setting in value.items() if grouped else [(name, value)]:
            own = section_of.get(option, name)
            if grouped and own != name and option not in former:
                raise InputError(f"{source}: {option} is in section {name}; its own is {own}")
            if option in found:
                raise InputError(f"{source}: {option} is there twice; leave one out")
            found[option] = setting
    return found


Options = TypeVar("Options", bound=RunOptions)
LARGEST_BYTES = 1 << 20
"""Larger files are no settings."""
FACTS = frozenset(
    {
        *("student_config", "grid", "trained_grid", "target_dim", "steps_total", "stages"),
        *("bank_sha256", "train_sha256", "checkpoint_sha256", "pretraining", "model", "classes"),
    }
)
"""What a run writes into `config.json` besides its options, in section `RESOLVED`."""
OF_ONE_COMMAND = ("config", "out", "resume", "stop_at", "list_presets")
"""Options that a run stores, and that do not say what it does."""
_REMEDY = "correct the file"
_YAML = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a file says."""

    path: Path
    """The file."""
    values: dict[str, Any]
    """By the name of the option; JSON values."""
    complete: bool
    """Whether a run wrote it, with every option that tells what is learned."""

    def over(self, base: Options) -> Options:
        """A configuration with these settings in place of its own.

        Raises:
            InputError: A value is refused; the message names the first.
        """
        merged = base.to_json() | self.values
        return parse(merged, type(base), source=str(self.path), remedy=_REMEDY)


def read_settings(path: Path, schema: type[RunOptions]) -> Settings:
    """Read a file of settings; their values are checked when they are put over a configuration.

    Args:
        schema: The options that it may have.

    Raises:
        InputError: It cannot be read, or has other names.
    """
    data = _parse(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: {_shown(data)}; expected names of options with their values")
    complete = RESOLVED in data or "steps_total" in data or "stages" in data
    if complete:
        data = out_of_sections(data)
    known = [field.name for field in fields(schema)]
    former = former_names(schema)
    values: dict[str, Any] = {}
    for written, value in without_sections(data, former=former, source=str(path)).items():
        name = former.get(written, written)
        if complete and (name in FACTS or name in OF_ONE_COMMAND):
            continue
        if name not in known:
            near = difflib.get_close_matches(str(name).replace("-", "_"), known, n=1, cutoff=0.0)
            raise InputError(
                f"{path}: {shortened(str(name), 60)} is an unknown option; did you mean {near[0]}?"
            )
        if name in values:
            raise InputError(f"{path}: {written} is {name}, which is there too; leave one out")
        if name == "config":
            raise InputError(f"{path}: config names another file; write all settings into one")
        values[name] = _at_home(value)
    if complete and "minutes" in values:
        values["minutes"] = None  # As many steps as the run had, however fast this machine is.
    return Settings(path=path, values=values, complete=complete)


def _parse(path: Path) -> Any:
    """What a file of JSON or YAML holds."""
    if path.suffix.lower() not in (".json", *_YAML):
        raise InputError(f"{path}: expected a file of settings, .json, .yaml or .yml")
    try:
        text = read_bounded(path, remedy="give settings alone", largest=LARGEST_BYTES)
    except IsADirectoryError as error:
        raise InputError(f"{path}: a folder; expected a file of settings") from error
    if path.suffix.lower() in _YAML:
        return parse_yaml(text, source=str(path))
    try:
        parse_json(text)  # Refuses what Python gives up on.
        return json.loads(text, object_pairs_hook=_each_once)
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({shortened(str(error), 100)}); {_REMEDY}") from error


def parse_yaml(text: bytes, *, source: str) -> Any:
    """Read YAML as its version 1.2 has it: `1e-3` is a number, `no` and `off` are text.

    Raises:
        InputError: It is none, names a key twice, or refers to other places of itself.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.constructor.ConstructorError(
                    None, None, "references are not read", self.peek_event().start_mark
                )
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep)
            if len(found) < len(node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is there twice", node.start_mark
                )
            return found

    for kind, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(pattern), first)
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f":{error.problem_mark.line + 1}"
        problem = shortened(str(error.problem), 100)
        raise InputError(f"{source}{line}: not YAML ({problem}); {_REMEDY}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = shortened(" ".join(str(error).split()), 100)
        raise InputError(f"{source}: not YAML ({problem}); {_REMEDY}") from error


_FLOAT = r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"
_SCALARS = (
    ("null", r"^(?:null|Null|NULL|~|)$", ["n", "N", "~", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
)
"""Values that are not text in YAML 1.2: tag, form, first characters."""


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _at_home(value: Any) -> Any:
    """Expand a `~` as a shell does on a command line."""
    if isinstance(value, str) and (value == "~" or value.startswith("~/")):
        return os.path.expanduser(value)  # noqa: PTH111
    return value


def _shown(data: Any) -> str:
    return "nothing in it" if data is None else f"a {type(data).__name__}"
