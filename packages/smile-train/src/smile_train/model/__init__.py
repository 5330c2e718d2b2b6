"""The student: a video transformer with joint space-time attention, as VideoMAE's and SMILE's."""

from smile_train.model.classifier import Classifier
from smile_train.model.pretrain_model import PretrainModel
from smile_train.students import STUDENTS, StudentConfig, StudentName

__all__ = ["STUDENTS", "Classifier", "PretrainModel", "StudentConfig", "StudentName"]
