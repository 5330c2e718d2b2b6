"""Clips for training, the same for any number of workers and processes."""

from smile_train.data.device_clips import open_clips
from smile_train.data.loader import ClipLoader
from smile_train.data.moving_clips import TrainingClips
from smile_train.data.sampling import MicroBatches, SampleOrder

__all__ = ["ClipLoader", "MicroBatches", "SampleOrder", "TrainingClips", "open_clips"]
