"""One door to every checkpoint of a pre-training model."""

from __future__ import annotations

from pathlib import Path

from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.checkpoint import load_checkpoint, newest_checkpoint
from smile_train.interop.official import load_weights, open_pretrained
from smile_train.model import PretrainModel, StudentConfig


def open_checkpoint(path: Path, *, heads: int | None = None) -> tuple[PretrainModel, Path]:
    """Open a checkpoint with the model that it is of.

    path    a checkpoint's folder, a run's folder (its newest sound one), or a published file
            (for 16 x 224 x 224 clips, unless its arguments say otherwise).
    returns the model in evaluation mode, and what was opened.
    Raises InputError when there is none, it is torn, or it is of another architecture.
    """
    if path.is_file():
        return open_pretrained(path, heads=heads)[0].eval(), path
    if (path / "checkpoints").is_dir():
        newest, _ = newest_checkpoint(path / "checkpoints")
        if newest is None:
            raise InputError(f"{path}: no sound checkpoint in this run")
        path = newest
    weights, _, config = load_checkpoint(path)
    model = PretrainModel(
        StudentConfig(**config["student_config"]), TokenGrid(**config["grid"]), config["target_dim"]
    )
    load_weights(model, weights, path)
    return model.eval(), path
