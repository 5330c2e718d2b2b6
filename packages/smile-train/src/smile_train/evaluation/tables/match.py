"""Which rows of the paper's tables a run belongs to: it follows from its pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

from smile_motion.clips.presets import BASELINES
from smile_motion.errors import InputError
from smile_motion.io.options import RecipeName
from smile_motion.motion.recipe import MotionRecipe

from smile_train.config.pretrain import PretrainConfig, plan_stages
from smile_train.config.pretrain_presets import PRESETS
from smile_train.config.run import FREE_FIELDS
from smile_train.evaluation.results import Results
from smile_train.evaluation.tables.published import OTHERS, ROWS

OWN = "own:"
"""Before the name of a model that the paper does not have, given by hand."""
UNLIKE = 12
"""Most differences that are listed one by one."""

_PLACES = FREE_FIELDS | {
    *("preset", "list_presets", "bank", "videos", "images", "seed", "accumulate"),
    *("knn", "render", "gradient_checkpointing"),
}
"""Fields that say where things are, or how they are computed, not what is learned."""
_TOLD = {"student", "target", "background", "masking", "mask_ratio", "epochs"}
"""Fields without which a configuration is not one of a pre-training of ours."""
_COMPARED = tuple(entry.name for entry in fields(PretrainConfig) if entry.name not in _PLACES)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """The rows of a run."""

    rows: tuple[str, ...]
    """Keys; several where presets share their values, none where no row is known."""
    notes: tuple[str, ...] = ()
    """Differences from the row's pre-training, and whether the run was finished."""


def place(results: Results, given: str | None = None) -> Placement:
    """Find the rows that a run belongs to.

    By hand where `given`; else of all presets whose values the pre-training has; else of the preset
    that it names, and of those equal to it, with a note of every difference. Models of others are
    known by what they are loaded as, such as `clip:path`, or by their weights' names; those of
    VideoMAE, VideoMAE V2, MGMAE and SMILE itself are alike, so they need to be told.

    Args:
        given: A preset, a key of `OTHERS`, or `own:NAME` for a row of its own.

    Raises:
        InputError: `given` is none of these.
    """
    if given is not None:
        if given.startswith(OWN) and len(given) > len(OWN):
            return Placement(rows=(given,))
        if given not in ROWS:
            raise InputError(
                f"--row: no row is called {given!r}; use a preset ({', '.join(sorted(ROWS))}), or "
                f"{OWN}NAME for a row of its own"
            )
        return Placement(rows=_same_as(given), notes=("row given by hand",))
    trained = results.pretraining
    kind = str(results.checkpoint.get("source", "")).partition(":")[0]
    for name in (kind, str(trained.get("published", "")).lower()):
        if name in OTHERS:
            return Placement(rows=(name,))
    if "untrained" in trained:
        return Placement(rows=("scratch",))
    if not trained.keys() >= _TOLD:
        return Placement(rows=())
    equal = tuple(name for name in PRESETS if not _differences(trained, name))
    early = _left_out(trained)
    if equal:
        return Placement(rows=equal, notes=early)
    named = trained.get("preset")
    if not isinstance(named, str) or named not in ROWS or named not in PRESETS:
        return Placement(rows=(), notes=early)
    found = _differences(trained, named)
    left = len(found) - UNLIKE
    notes = tuple(found[:UNLIKE]) + ((f"{left} more differences",) if left > 0 else ())
    return Placement(rows=_same_as(named), notes=notes + early)


def _left_out(trained: Mapping[str, Any]) -> tuple[str, ...]:
    """What a pre-training that was not finished lacks."""
    step, steps = trained.get("step"), trained.get("steps_total")
    if not isinstance(step, int) or not isinstance(steps, int) or step >= steps:
        return ()
    return (f"unfinished, step {step} of {steps}",)


def _same_as(name: str) -> tuple[str, ...]:
    """A row and those of presets with equal values."""
    if name not in PRESETS:
        return (name,)
    wanted = _values(replace(PRESETS[name], preset=""))
    return tuple(
        other for other, config in PRESETS.items() if _values(replace(config, preset="")) == wanted
    )


def _differences(trained: Mapping[str, Any], preset: str) -> list[str]:
    """How a pre-training differs from a preset, from the stage of it that it is most like."""
    stages = [stage.started() for stage in plan_stages(PRESETS[preset], Path("run"))]
    told = [_compare(trained, stage) for stage in stages]
    nearest = min(reversed(range(len(told))), key=lambda number: len(told[number]))
    if nearest < len(stages) - 1:
        return [f"stage {nearest + 1} of {len(stages)} alone", *told[nearest]]
    return told[nearest]


def _compare(trained: Mapping[str, Any], config: PretrainConfig) -> list[str]:
    wanted = _values(config)
    # Fields that are newer than the run had what is their default now.
    own = _settle({name: trained.get(name, wanted[name]) for name in _COMPARED})
    return [
        f"{name} {_say(own[name])} instead of {_say(wanted[name])}"
        for name in _COMPARED
        if own[name] != wanted[name]
    ]


def _values(config: PretrainConfig) -> dict[str, Any]:
    values = config.to_json()
    return _settle({name: values[name] for name in _COMPARED})


def _settle(values: dict[str, Any]) -> dict[str, Any]:
    """Put in what defaults stand for, so that saying it makes no difference."""
    values["init"] = _first_stage(values["init"])
    if values["recipe_file"] is None and values["recipe"] in get_args(RecipeName):
        if values["objects"] is None:
            values["objects"] = MotionRecipe.named(values["recipe"]).objects
        baseline = BASELINES.get(values["recipe"])
        values["background"] = values["background"] or (
            baseline.background if baseline else "noise"
        )
    return values


def _first_stage(init: object) -> object:
    """What a stage starts from: the first stage of its own run, wherever that was, or other."""
    return "stage-1" if isinstance(init, str) and Path(init).name == "stage-1" else init


def _say(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
