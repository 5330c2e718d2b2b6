"""One door to every checkpoint of a pre-training model."""

from __future__ import annotations

from pathlib import Path

from smile_motion.errors import InputError

from smile_train.checkpoints.configs import OwnSizes, require_sizes
from smile_train.checkpoints.files import CONFIG, MANIFEST, load_checkpoint, newest_checkpoint
from smile_train.checkpoints.published import load_weights, open_pretrained
from smile_train.config.stages import last_folder
from smile_train.models import PretrainModel


def open_checkpoint(path: Path, *, heads: int | None = None) -> tuple[PretrainModel, Path]:
    """Open a checkpoint with the model that it is of.

    path    a checkpoint's folder, a run's folder (its newest sound one), or a published file
            (for 16 x 224 x 224 clips, unless its arguments say otherwise).
    returns the model in evaluation mode, and what was opened.
    Raises InputError when there is none, it is torn, or it is of another architecture.
    """
    if path.is_file():
        return open_pretrained(path, heads=heads)[0].eval(), path
    path = find_checkpoint(path) or path
    weights, _, config = load_checkpoint(path)
    if "target_dim" not in config:
        raise InputError(
            f"{path}: a {config.get('model', 'model')}, without the decoder of a pre-training model"
        )
    sizes = OwnSizes.read(config, path / CONFIG)
    require_sizes(sizes.student, weights, path, prefix="encoder.")
    target_dim = sizes.target_dim or 0
    model = PretrainModel(sizes.student, sizes.grid, target_dim, trained=sizes.trained)
    load_weights(model, weights, path)
    return model.eval(), path


def find_checkpoint(path: Path) -> Path | None:
    """Folder of the checkpoint that a path means: its own, or the newest sound one of a run.

    returns  None where the path is neither.
    Raises InputError for a run without a sound checkpoint.
    """
    if (path / MANIFEST).is_file():
        return path
    run = last_folder(path)
    for name in ("best", "last"):
        if (run / name / MANIFEST).is_file():
            return run / name
    if not (run / "checkpoints").is_dir():
        return None
    newest, _ = newest_checkpoint(run / "checkpoints")
    if newest is None:
        raise InputError(f"{run}: no sound checkpoint in this run")
    return newest


def start_from(source: PretrainModel, opened: Path, model: PretrainModel) -> list[str]:
    """Fill a new model with another's weights.

    opened   what the source was opened from, for messages.
    model    of the same student; built with the source's `trained` grid.
    returns  a line for each thing that is not the source's.
    Raises InputError when the student or its tokens are of another size.
    """
    weights, own = source.state_dict(), model.state_dict()
    said = []
    if source.target_dim != model.target_dim:
        said.append(
            f"{opened} predicts {source.target_dim} values a token, this run {model.target_dim}: "
            f"the decoder's head is new"
        )
        weights |= {name: own[name] for name in own if name.startswith("decoder.head.")}
    if source.trained.shape != model.grid.shape:
        said.append(f"positions interpolated from {source.trained.shape} to {model.grid.shape}")
    load_weights(model, weights, opened)
    return said
