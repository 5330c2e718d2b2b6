"""Tasks on labeled videos: model, loss, scores; a grid of attentive probes is one (V-JEPA 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.checkpoints.backbone import Backbone, classifier_weights
from smile_train.config.finetune import FinetuneConfig
from smile_train.data.augmentation import mix
from smile_train.data.labeled_clips import sample_length
from smile_train.datasets import LabeledVideos
from smile_train.evaluation.metrics import (
    classification_metrics,
    counting_errors,
    multi_label_metrics,
)
from smile_train.evaluation.predict import Predictions
from smile_train.models.heads import AttentiveProbes, Classifier, RepetitionCounter
from smile_train.models.layers import to_unit
from smile_train.training.optim import layer_scales, parameter_groups


@dataclass(frozen=True, kw_only=True)
class LabeledTask(ABC):
    """What a task brings to the loop."""

    main_metric: ClassVar[str]
    """The score that tables show, and that the best weights are chosen by."""
    sign: ClassVar[int] = 1
    """1 where more of it is better, -1 where less is."""
    ensemble: ClassVar[Literal["mean", "max"]] = "mean"
    """How views become one."""

    config: FinetuneConfig
    """The run."""
    outputs: int
    """Numbers that the model predicts for a clip."""
    classes: tuple[str, ...] = ()
    """Names of the classes by number, where there are any."""

    def build(self, backbone: Backbone) -> torch.nn.Module:
        """Build the model, its encoder from a checkpoint; it has a `grid`.

        Raises:
            InputError: The checkpoint's head is of other classes.
        """
        config = self.config
        model = Classifier(
            backbone.config,
            self.grid(backbone),
            self.outputs,
            drop_path=config.drop_path,
            head_dropout=config.head_dropout,
            head_scale=config.head_scale,
            trained=backbone.trained,
        )
        weights = classifier_weights(
            backbone, self.outputs, reset_head=config.reset_head, names=self.classes
        )
        return _start(model, weights, backbone)

    def grid(self, backbone: Backbone) -> TokenGrid:
        """Tokens of the clips that are learned: the checkpoint's, unless others are asked for."""
        side = self.config.size or backbone.grid.height
        frames = self.config.frames or backbone.grid.frames
        return replace(backbone.grid, frames=frames, height=side, width=side)

    def groups(self, model: torch.nn.Module, depth: int) -> list[dict[str, Any]]:
        """Parameters for the optimizer, with `weight_decay` and `lr_scale` of each group.

        Args:
            depth: Blocks of the encoder.
        """
        scales = layer_scales(model, depth, self.config.layer_decay)
        return parameter_groups(model, self.config.weight_decay, scales)

    def chosen(self, predictions: Predictions) -> Predictions:
        """What is written down of predictions: all of them, unless the task has several models."""
        return predictions

    def grid_of(self, predictions: Predictions) -> list[dict[str, float]]:
        """What each model reached, where the task has several; else nothing."""
        return []

    @abstractmethod
    def loss(
        self,
        model: torch.nn.Module,
        frames: torch.Tensor,
        target: torch.Tensor,
        numbers: list[int],
    ) -> torch.Tensor:
        """Mean loss of clips (B, T, H, W, 3) uint8 with targets; numbers are their samples'."""

    @abstractmethod
    def score(self, outputs: torch.Tensor) -> torch.Tensor:
        """What is averaged over views: the model's outputs as probabilities, or rates."""

    @abstractmethod
    def metrics(self, predictions: Predictions, videos: LabeledVideos) -> dict[str, float]:
        """Scores of a split."""


class SingleLabel(LabeledTask):
    """One class of each video: cross-entropy against mixed, smoothed labels."""

    main_metric = "top1"

    def loss(
        self,
        model: torch.nn.Module,
        frames: torch.Tensor,
        target: torch.Tensor,
        numbers: list[int],
    ) -> torch.Tensor:
        config = self.config
        mixed, soft = mix(
            to_unit(frames),
            target,
            numbers,
            classes=self.outputs,
            mixup=config.mixup,
            cutmix=config.cutmix,
            smoothing=config.label_smoothing,
            seed=config.seed,
        )
        return F.cross_entropy(model(mixed).float(), soft)

    def score(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.float().softmax(-1)

    def metrics(self, predictions: Predictions, videos: LabeledVideos) -> dict[str, float]:
        return classification_metrics(predictions.scores, predictions.targets)


class MultiLabel(LabeledTask):
    """Any number of classes of each video: binary cross-entropy, the views' maximum (SEVERE)."""

    main_metric = "map"
    ensemble = "max"

    def loss(
        self,
        model: torch.nn.Module,
        frames: torch.Tensor,
        target: torch.Tensor,
        numbers: list[int],
    ) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(model(to_unit(frames)).float(), target)

    def score(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.float().sigmoid()

    def metrics(self, predictions: Predictions, videos: LabeledVideos) -> dict[str, float]:
        return multi_label_metrics(predictions.scores, predictions.targets)


class Counting(LabeledTask):
    """Repetitions: a rate, times the video's length. The loss is the error of its logarithm; the
    relative error itself is least for the slowest rate, where a head has learned nothing yet."""

    main_metric = "mae"
    sign = -1

    def build(self, backbone: Backbone) -> torch.nn.Module:
        if self.config.sampling != "dense":
            raise InputError("--sampling uniform: repetitions are counted in dense clips only")
        model = RepetitionCounter(
            backbone.config,
            self.grid(backbone),
            drop_path=self.config.drop_path,
            trained=backbone.trained,
        )
        return _start(model, classifier_weights(backbone, 1, reset_head=True), backbone)

    def loss(
        self,
        model: torch.nn.Module,
        frames: torch.Tensor,
        target: torch.Tensor,
        numbers: list[int],
    ) -> torch.Tensor:
        return (self.score(model(to_unit(frames)))[:, 0].log() - target.log()).abs().mean()

    def score(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.float() / self.config.stride

    def metrics(self, predictions: Predictions, videos: LabeledVideos) -> dict[str, float]:
        found = {video.key: video for video in videos.videos}
        lengths = np.array([sample_length(found[key]) for key in predictions.keys])
        return counting_errors(predictions.scores[:, 0] * lengths, predictions.targets)


def _start(model: Classifier, weights: dict[str, torch.Tensor], backbone: Backbone) -> Classifier:
    """Load what a checkpoint has of a model: all of the encoder, and nothing without a place."""
    own = model.state_dict()
    unknown = [
        name for name in weights if name not in own or own[name].shape != weights[name].shape
    ]
    absent = [name for name in own if name not in weights and name.startswith(("patch_", "blocks"))]
    if unknown or absent:
        raise InputError(
            f"{backbone.source}: weights that do not fit or are missing "
            f"({', '.join((unknown + absent)[:4])}); another architecture?"
        )
    model.load_state_dict(own | weights)
    return model


RATES = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
"""Learning rates of the grid. V-JEPA 2."""
DECAYS = (0.01, 0.1, 0.4, 0.8)
"""Weight decays of the grid. V-JEPA 2."""
GRID = tuple(product(RATES, DECAYS))
"""All pairs."""


class AttentiveGrid(LabeledTask):
    """A probe for every learning rate and weight decay; the best on the tested split is reported,
    as the protocol has it, and the whole grid beside it."""

    main_metric = "top1"
    multi_label: ClassVar[bool] = False
    """Whether samples have any number of classes."""

    def build(self, backbone: Backbone) -> nn.Module:
        """Build the probes over the checkpoint's frozen encoder."""
        weights = {n: w for n, w in backbone.weights.items() if not n.startswith(("fc_", "head."))}
        if "norm.weight" not in weights:
            raise InputError(
                f"{backbone.source}: a classifier, without the final norm that probes read after; "
                f"give a pre-trained checkpoint"
            )
        model = AttentiveProbes(
            backbone.config,
            self.grid(backbone),
            self.outputs // len(GRID),
            len(GRID),
            trained=backbone.trained,
        )
        model.encoder.load_state_dict(weights)
        return model

    def groups(self, model: nn.Module, depth: int) -> list[dict[str, Any]]:
        """A group of parameters for each probe, with its own rate and decay."""
        assert isinstance(model, AttentiveProbes)
        found = []
        for (rate, decay), probe in zip(GRID, model.probes, strict=True):
            scale = rate / self.config.base_lr
            for group in parameter_groups(probe, decay):
                found.append(group | {"lr_scale": scale})
        return found

    def loss(
        self,
        model: nn.Module,
        frames: torch.Tensor,
        target: torch.Tensor,
        numbers: list[int],
    ) -> torch.Tensor:
        """Sum over probes of their mean losses: none feels the others."""
        scores = model(to_unit(frames)).float()
        probes = scores.shape[1]
        if self.multi_label:
            marks = target[:, None].expand_as(scores)
            return probes * F.binary_cross_entropy_with_logits(scores, marks)
        return probes * F.cross_entropy(scores.flatten(0, 1), target.repeat_interleave(probes))

    def score(self, outputs: torch.Tensor) -> torch.Tensor:
        """Probabilities of every probe, one after the other."""
        scores = outputs.float()
        return (scores.sigmoid() if self.multi_label else scores.softmax(-1)).flatten(1)

    def metrics(self, predictions: Predictions, videos: LabeledVideos) -> dict[str, float]:
        """Those of the best probe, with its `rate` and `weight_decay`."""
        best = self._best(predictions)
        rate, decay = GRID[best]
        return {**self._judge(predictions, best), "rate": rate, "weight_decay": decay}

    def chosen(self, predictions: Predictions) -> Predictions:
        """The scores of the best probe alone."""
        return replace(predictions, scores=self._own(predictions, self._best(predictions)))

    def grid_of(self, predictions: Predictions) -> list[dict[str, float]]:
        """What every probe reached."""
        return [
            {"rate": rate, "weight_decay": decay, **self._judge(predictions, probe)}
            for probe, (rate, decay) in enumerate(GRID)
        ]

    def _best(self, predictions: Predictions) -> int:
        reached = [entry[self.main_metric] for entry in self.grid_of(predictions)]
        return reached.index(max(reached))

    def _own(self, predictions: Predictions, probe: int) -> Any:
        return predictions.scores.reshape(len(predictions.keys), len(GRID), -1)[:, probe]

    def _judge(self, predictions: Predictions, probe: int) -> dict[str, float]:
        judge = multi_label_metrics if self.multi_label else classification_metrics
        return judge(self._own(predictions, probe), predictions.targets)


class MultiLabelGrid(AttentiveGrid):
    """The same for samples of any number of classes."""

    main_metric = "map"
    multi_label = True
    ensemble = "max"
