"""The sections that a file of settings may group its options in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from smile_motion.errors import InputError

SECTIONS: dict[str, tuple[str, ...]] = {
    "model": (
        *("student", "tubelet", "patch", "init", "gradient_checkpointing"),
        *("checkpoint", "from_scratch", "heads", "reset_head"),
        *("drop_path", "head_dropout", "head_scale"),
    ),
    "data": (
        *("background", "videos", "images", "noise", "noise_per_frame", "samples", "render"),
        *("frames", "size", "width", "stride", "sampling", "workers", "knn", "dataset", "data"),
        *("annotations", "fold", "subset", "few", "test_split", "allow_missing", "repeats"),
        *("augment", "flip", "rand_augment", "erasing", "segments", "crops"),
    ),
    "motion": (
        *("bank", "recipe", "recipe_file", "path", "transform", "objects", "effects"),
        *("strategy", "mixed_share"),
    ),
    "mask": (
        *("masking", "mask_ratio", "trajectory_visible", "coverage_threshold"),
        *("masks_per_clip", "decoder_mask_ratio"),
    ),
    "target": (
        *("target", "teacher", "target_norm", "official_teacher_input"),
        *("label_smoothing", "mixup", "cutmix"),
    ),
    "optimizer": (
        *("epochs", "second_epochs", "steps", "minutes", "batch", "accumulate", "base_lr"),
        *("min_lr", "warmup_epochs", "weight_decay", "layer_decay", "betas", "clip_grad", "ema"),
    ),
    "run": (
        *("preset", "protocol", "seed", "out", "resume", "stop_at", "precision", "cpu_threads"),
        *("compile", "track", "save_every", "keep", "log_every", "picture_every"),
        *("probe_motion_every", "validate_every", "config", "list_presets"),
    ),
}
"""The options of pre-training and fine-tuning, by section."""


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
