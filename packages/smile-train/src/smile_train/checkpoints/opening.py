"""Opening a checkpoint as the model that it is of."""

from __future__ import annotations

from pathlib import Path

import torch

from smile_train.checkpoints.checkpoints import open_checkpoint
from smile_train.checkpoints.open import Backbone, classifier_weights, open_backbone
from smile_train.checkpoints.published import load_weights
from smile_train.models import Classifier, PretrainModel


def open_model(
    path: Path, *, heads: int | None = None
) -> tuple[PretrainModel | Classifier, tuple[str, ...], Path]:
    """Open a pre-training model, or a classifier, with all its weights.

    path    as `open_backbone` takes it.
    returns the model in evaluation mode, names of a classifier's classes, and what was opened.
    Raises InputError when there is none, or it is of another architecture.
    """
    backbone = open_backbone(path, heads=heads)
    if "fc_norm.weight" in backbone.weights and "head.weight" in backbone.weights:
        return open_classifier(backbone), backbone.classes, backbone.source
    model, opened = open_checkpoint(path, heads=heads)
    return model, (), opened


def open_classifier(backbone: Backbone) -> Classifier:
    """Build a classifier with all the weights of a checkpoint, in evaluation mode.

    Raises InputError when some are missing or do not fit.
    """
    classes = len(backbone.weights["head.weight"])
    with torch.random.fork_rng(devices=[]):
        model = Classifier(
            backbone.config,
            backbone.grid,
            classes,
            trained=backbone.trained,
            class_names=backbone.classes,
        )
    weights = classifier_weights(backbone, classes, reset_head=False)
    load_weights(model, weights, backbone.source)
    return model.eval()
