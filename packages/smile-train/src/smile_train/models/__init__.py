"""The student: a video transformer with joint space-time attention, as VideoMAE's and SMILE's."""

from smile_train.models.config import STUDENTS, StudentConfig, StudentName
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel

__all__ = ["STUDENTS", "Classifier", "PretrainModel", "StudentConfig", "StudentName"]
