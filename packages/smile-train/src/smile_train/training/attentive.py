"""A grid of attentive probes, trained at once (V-JEPA 2)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from smile_motion.errors import InputError
from torch import nn

from smile_train.checkpoints.backbone import Backbone
from smile_train.datasets import LabelledVideos
from smile_train.evaluation.metrics import classification_metrics, multi_label_metrics
from smile_train.evaluation.predict import Predictions
from smile_train.models.heads import AttentiveProbes
from smile_train.models.layers import to_unit
from smile_train.training.optim import parameter_groups
from smile_train.training.tasks import LabelledTask

RATES = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
"""Learning rates of the grid. V-JEPA 2."""
DECAYS = (0.01, 0.1, 0.4, 0.8)
"""Weight decays of the grid. V-JEPA 2."""
GRID = tuple(product(RATES, DECAYS))
"""All pairs."""


class AttentiveGrid(LabelledTask):
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

    def metrics(self, predictions: Predictions, videos: LabelledVideos) -> dict[str, float]:
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
