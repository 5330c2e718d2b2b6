"""Teachers: frozen image models whose patch features the student reconstructs."""

from __future__ import annotations

from typing import Literal

from smile_motion.tokens import TokenGrid

from smile_train.teachers.base import Teacher
from smile_train.teachers.clip import ClipTeacher
from smile_train.teachers.timm import TimmTeacher

__all__ = ["ClipTeacher", "Teacher", "TimmTeacher", "open_teacher"]


def open_teacher(
    kind: Literal["clip", "dino", "dinov2", "mae"],
    name_or_path: str,
    *,
    grid: TokenGrid,
    official_input: bool = False,
) -> Teacher:
    """Open a teacher of a kind by name or path.

    Args:
        grid: Token grid of the student. DINOv2 is fed frames of about its size (its own 518 px
            would cost ten times as much); the others see their own size.

    Raises:
        InputError: The weights are not there, are of another kind of model, or the frames are not
            of the teacher's shape.
    """
    if kind == "clip":
        teacher = ClipTeacher.open(name_or_path, official_input=official_input)
    else:
        size = (grid.height, grid.width) if kind == "dinov2" else None
        teacher = TimmTeacher.open(name_or_path, size=size, official_input=official_input)
    teacher.require_fits(grid)
    return teacher
