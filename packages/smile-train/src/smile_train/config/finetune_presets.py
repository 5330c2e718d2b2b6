"""Named presets of fine-tuning and linear probing; a field left out keeps its default."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Literal

from smile_motion.errors import InputError

from smile_train.config.finetune import FinetuneConfig
from smile_train.datasets.base import Task
from smile_train.datasets.registry import DatasetName

Protocol = Literal["finetune", "linear-sigma", "attentive"]

_SSV2 = FinetuneConfig(
    batch=32,
    base_lr=1e-3,
    layer_decay=0.70,
    epochs=40,
    sampling="uniform",
    stride=2,
    segments=2,
    crops=3,
)
_PROBE = FinetuneConfig(
    protocol="linear-sigma",
    base_lr=1e-3,
    layer_decay=1.0,
    drop_path=0.0,
    epochs=30,
    warmup_epochs=5,
    repeats=2,
    batch=128,
)
_OURS_AS_SSV2 = "no published settings: SMILE's of SSv2, ours"

_ROWS: dict[str, tuple[FinetuneConfig, str]] = {
    "smile-ssv2": (_SSV2, "SMILE, SSv2, tested 2x3"),
    "smile-k400": (
        FinetuneConfig(batch=16, layer_decay=0.75, epochs=100, segments=7, crops=3),
        "SMILE, K400, tested 7x3",
    ),
    "videomae-ssv2": (
        replace(_SSV2, batch=512, base_lr=5e-4, layer_decay=0.75, epochs=50),
        "VideoMAE, SSv2, tested 2x3",
    ),
    "videomae-k400": (
        FinetuneConfig(batch=512, layer_decay=0.75, epochs=100, segments=5, crops=3),
        "VideoMAE, K400, tested 5x3",
    ),
    "videomae-ucf101": (
        FinetuneConfig(
            batch=128,
            base_lr=5e-4,
            layer_decay=0.70,
            epochs=100,
            repeats=2,
            head_dropout=0.5,
            drop_path=0.2,
            segments=5,
            crops=3,
        ),
        "VideoMAE, UCF-101, tested 5x3",
    ),
    "mme-hmdb51-ucf101": (
        FinetuneConfig(batch=128, layer_decay=0.75, epochs=100, repeats=2, segments=10, crops=3),
        "MME, HMDB-51 and UCF-101, tested 10x3; its batch is not known, 128 is ours",
    ),
    "gym": (_SSV2, f"FineGYM: {_OURS_AS_SSV2}"),
    "epic": (_SSV2, f"EPIC-Kitchens-100: {_OURS_AS_SSV2}"),
    "diving48": (_SSV2, f"Diving48: {_OURS_AS_SSV2}"),
    "charades": (
        replace(_SSV2, mixup=0.0, cutmix=0.0, label_smoothing=0.0, segments=10, crops=3),
        "Charades: BCE, tested 10x3, the highest of all views (SEVERE); the rest as SSv2, ours",
    ),
    "ucf-rc": (
        replace(
            _SSV2,
            frames=32,
            sampling="dense",
            mixup=0.0,
            cutmix=0.0,
            label_smoothing=0.0,
            erasing=0.0,
            epochs=100,
            segments=10,
            crops=1,
        ),
        "UCF-RC: 32 frames, 100 epochs (SEVERE); the rest ours",
    ),
    "own": (
        FinetuneConfig(batch=32, epochs=50, layer_decay=0.75, segments=5, crops=3),
        "data of your own: VideoMAE's defaults for a smaller batch, 50 epochs, ours",
    ),
    "sigma-probe": (
        replace(_PROBE, segments=2, crops=3),
        "linear probe of SIGMA: 30 epochs, 2 clips a video, tested 2x3; its batch is ours",
    ),
    "attentive-probe": (
        FinetuneConfig(
            protocol="attentive",
            batch=256,
            base_lr=1e-3,
            min_lr=0.0,
            warmup_epochs=0,
            epochs=20,
            layer_decay=1.0,
            drop_path=0.0,
            label_smoothing=0.0,
            mixup=0.0,
            cutmix=0.0,
            erasing=0.0,
            rand_augment="none",
            segments=2,
            crops=3,
        ),
        "attentive probes of V-JEPA 2: 4 blocks, 20 at once, 20 epochs; crops and flips alone and "
        "tested 2x3 are ours",
    ),
}

PRESETS: dict[str, FinetuneConfig] = {
    name: replace(config, preset=name) for name, (config, _) in _ROWS.items()
}
"""Presets by name."""
NOTES: dict[str, str] = {name: note for name, (_, note) in _ROWS.items()}
"""Where each comes from."""

DATASET_PRESETS: dict[DatasetName, str] = {
    "k400": "smile-k400",
    "ssv2": "smile-ssv2",
    "ucf101": "videomae-ucf101",
    "hmdb51": "mme-hmdb51-ucf101",
    "gym99": "gym",
    "gym288": "gym",
    "fx-s1": "gym",
    "ub-s1": "gym",
    "epic-verb": "epic",
    "epic-noun": "epic",
    "epic-action": "epic",
    "charades": "charades",
    "ucf-rc": "ucf-rc",
    "diving48": "diving48",
    "list": "own",
    "folder": "own",
    "manifest": "own",
}
"""The preset that a data set has where none is asked for."""


def preset_for(protocol: Protocol, dataset: DatasetName) -> FinetuneConfig:
    """The preset of a protocol, with the data set's own sampling of frames."""
    own = PRESETS[DATASET_PRESETS[dataset]]
    if protocol == "finetune":
        return own
    name = "sigma-probe" if protocol == "linear-sigma" else "attentive-probe"
    return replace(
        PRESETS[name],
        dataset=dataset,
        sampling=own.sampling,
        stride=own.stride,
        frames=own.frames,
    )


MIXING = ("mixup", "cutmix", "label_smoothing")
"""What is done to the labels of samples that have one each."""


def without_mixing(config: FinetuneConfig, task: Task) -> FinetuneConfig:
    """Options with those set to none that samples of a task, or a protocol, have no use for.

    Raises:
        InputError: For one that is not the preset's, and would be ignored.
    """
    if task == "single-label" and config.protocol != "attentive":
        return config
    preset = PRESETS.get(config.preset or "", config)
    for name in MIXING:
        value = getattr(config, name)
        if value and value != getattr(preset, name):
            raise InputError(
                f"--{name.replace('_', '-')} {value}: labels are mixed and smoothed in fine-tuning "
                f"on one label a sample, this is {config.protocol} on {task} samples; leave it out"
            )
    return replace(config, mixup=0.0, cutmix=0.0, label_smoothing=0.0)


def changed_options(config: FinetuneConfig) -> tuple[str, ...]:
    """What differs from the preset, and what of the preset no publication gives."""
    preset = PRESETS.get(config.preset or "")
    if preset is None:
        return ("no preset",)
    kept = {field.name for field in fields(FinetuneConfig)} - {
        *("checkpoint", "preset", "dataset", "data", "annotations", "fold", "out", "resume"),
        *("stop_at", "compile", "workers", "track", "save_every", "keep", "log_every", "heads"),
        *("allow_missing", "list_presets", "accumulate", "reset_head", "test_split", "config"),
        "decoder",
    }
    differing = tuple(
        f"{name} {getattr(config, name)}"
        for name in sorted(kept)
        if getattr(config, name) != getattr(preset, name)
    )
    note = NOTES[preset.preset or ""]
    return (*differing, note) if "ours" in note else differing
