"""The models of a run."""

from __future__ import annotations

from smile_motion.errors import InputError

from smile_train.checkpoints.checkpoints import open_checkpoint, start_from
from smile_train.config.pretrain import PretrainConfig
from smile_train.models import PretrainModel
from smile_train.teachers import Teacher, open_teacher


def build_models(config: PretrainConfig) -> tuple[PretrainModel, Teacher | None, list[str]]:
    """Build a run's student, and open its teacher if it has one.

    returns also a line for each thing that is not as in the checkpoint of --init.
    Raises InputError when a file is missing, or models and clips do not fit each other.
    """
    grid = config.grid
    teacher = None
    if config.target != "pixel":
        teacher = open_teacher(
            config.target,
            str(config.teacher_name),
            grid=grid,
            official_input=config.official_teacher_input,
        )
    target_dim = 3 * grid.token_pixels if teacher is None else teacher.width
    if config.init is None:
        model, said = PretrainModel(config.student_config, grid, target_dim), []
    else:
        source, opened = open_checkpoint(config.init)
        if source.config != config.student_config:
            raise InputError(
                f"{opened}: another student ({source.config}), --student {config.student} is "
                f"{config.student_config}; choose the one that it is of"
            )
        model = PretrainModel(config.student_config, grid, target_dim, trained=source.trained)
        said = start_from(source, opened, model)
    if config.gradient_checkpointing:
        model.save_memory()
    return model, teacher, said
