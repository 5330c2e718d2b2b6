"""Probes that need features once: a linear grid and nearest neighbors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from smile_motion.errors import InputError
from smile_motion.runtime.progress import progress_bar

from smile_train.checkpoints.backbone import build_encoder, untrained_backbone
from smile_train.config.finetune_presets import DATASET_PRESETS, PRESETS
from smile_train.config.machine import settle_machine
from smile_train.config.probe import FeatureProbeConfig, NeighborProbeConfig, StrictProbeConfig
from smile_train.data.decoders import reader_of, settle_decoder
from smile_train.data.views import TestViews
from smile_train.datasets import LabeledVideos, open_split
from smile_train.datasets.base import require_fitting
from smile_train.encoders.video_encoder import VideoEncoder, hash_encoder, load
from smile_train.evaluation.metrics import (
    classification_metrics,
    multi_label_metrics,
    neighbor_votes,
)
from smile_train.evaluation.predict import Predictions, ViewShape, write_evaluation
from smile_train.evaluation.results import Results
from smile_train.probes.features import Features, extract_features
from smile_train.probes.linear import (
    Standard,
    held_out_loss,
    hold_out,
    score_views,
    train_linear,
)
from smile_train.training.accelerator import open_accelerator


def probe_strict(config: StrictProbeConfig, out: Path) -> Results:
    """Train linear classifiers on cached features, choose the penalty on held-out training samples.

    Raises:
        InputError: Checkpoint and data do not fit each other, or there is no sample to choose a
            penalty by.
    """

    def judge(train: Features, test: Features, classes: int, device: torch.device):
        task: Literal["single-label", "multi-label"] = (
            "single-label" if train.targets.ndim == 1 else "multi-label"
        )
        name = "top1" if task == "single-label" else "map"

        def fit(rows: np.ndarray, penalties: tuple[float, ...], what: str):
            with progress_bar() as on_progress:
                return train_linear(
                    train.values[rows, 0],
                    train.targets[rows],
                    classes,
                    penalties=penalties,
                    iterations=config.iterations,
                    device=device,
                    on_progress=lambda done, total: on_progress(what, done, total),
                )

        grid, choose = [], ()
        best = config.penalties[0]
        if len(config.penalties) > 1:
            learn, choose = hold_out(train.targets, config.seed)
            if not len(choose):
                raise InputError(
                    f"{config.dataset}: no class has two training samples, to learn from one and "
                    f"choose the penalty by the other; give one: --penalties 0.001"
                )
            heads = fit(learn, config.penalties, "grid")
            tried = score_views(heads, train.values[choose], task, device)
            truth = train.targets[choose]
            for penalty, scores in zip(config.penalties, tried, strict=True):
                reached, loss = _metrics(scores, truth)[name], held_out_loss(scores, truth)
                grid.append({"penalty": penalty, name: reached, "loss": loss})
            best = max(grid, key=lambda entry: (entry[name], -entry["loss"]))["penalty"]
        heads = fit(np.arange(len(train.keys)), (best,), "chosen penalty")
        scores = score_views(heads, test.values, task, device)[0]
        return scores, {"grid": grid, "chosen": best, "held_out": len(choose)}

    return _probe(config, out, "linear-strict", judge)


def probe_neighbors(config: NeighborProbeConfig, out: Path) -> Results:
    """Let nearest neighbors vote, their number chosen on the training samples themselves.

    Raises:
        InputError: Checkpoint and data do not fit each other.
    """

    def judge(train: Features, test: Features, classes: int, device: torch.device):
        if train.targets.ndim != 1:
            raise InputError("nearest neighbours need one label a sample; use probe strict")
        standard = Standard.of(torch.from_numpy(train.values[:, 0]).to(device))
        known = standard(torch.from_numpy(train.values[:, 0]).to(device))
        labels = torch.from_numpy(train.targets).to(device)
        grid = []
        for count in config.neighbours:
            votes = neighbor_votes(known, labels, None, neighbors=count, classes=classes)
            metrics = _metrics(votes.cpu().numpy(), train.targets)
            grid.append({"neighbours": count, "top1": metrics["top1"]})
        best = max(grid, key=lambda entry: entry["top1"])["neighbours"]
        asked = standard(torch.from_numpy(test.values).to(device))
        votes = sum(
            neighbor_votes(known, labels, asked[:, view], neighbors=best, classes=classes)
            for view in range(asked.shape[1])
        )
        assert isinstance(votes, torch.Tensor)
        return votes.cpu().numpy(), {"grid": grid, "chosen": best}

    return _probe(config, out, "knn", judge)


def _probe(
    config: FeatureProbeConfig,
    out: Path,
    protocol: Literal["linear-strict", "knn"],
    judge: Callable[[Features, Features, int, torch.device], tuple[np.ndarray, dict[str, Any]]],
) -> Results:
    """Extract both splits' features, judge the test ones, write what was found."""
    machine = settle_machine(config.precision, config.cpu_threads)
    config = replace(config, precision=machine.precision, cpu_threads=machine.cpu_threads)
    accelerator = open_accelerator(machine.precision)
    train = config.choose(open_split(config.place, "train"))
    test = open_split(config.place, config.test_split)
    require_fitting(train, test)
    if train.task == "count":
        raise InputError(f"{train.name}: counts have no linear probe; fine-tune on it")
    source, encoder = open_probed(config)
    encoder = encoder.to(accelerator.device)
    views = TestViews(segments=config.segments, crops=config.crops)
    preset = PRESETS[DATASET_PRESETS[config.dataset]]
    decoder, chosen = settle_decoder(
        *(config.decoder, [video.path for video in train.videos]),
        frames=encoder.grid.frames,
        stride=config.stride or preset.stride,
        reads=len(train) + len(test) * config.segments,
    )
    config = replace(config, decoder=decoder)
    accelerator.print(*filter(None, (machine.said, chosen)), sep="\n", file=sys.stderr)
    train_features = _extract(config, encoder, train, TestViews(), accelerator)
    test_features = _extract(config, encoder, test, views, accelerator)
    scores, choice = judge(train_features, test_features, len(train.classes), accelerator.device)
    predictions = Predictions(
        keys=test_features.keys,
        scores=scores,
        targets=test_features.targets,
        broken=test_features.broken,
    )
    broken = bool(predictions.broken or train_features.broken)
    results = Results(
        protocol=protocol,
        dataset=test.name,
        split=test.split,
        samples=len(predictions.keys),
        metrics=_metrics(scores, predictions.targets),
        main_metric="top1" if test.task == "single-label" else "map",
        checkpoint={"source": source, "sha256": hash_encoder(encoder)},
        pretraining=encoder.pretraining,
        dataset_sha256={"train": train.sha256, test.split: test.sha256},
        partial=train.partial or test.partial or broken,
        missing=train.missing or test.missing or broken,
        config=json.loads(json.dumps(asdict(config), default=str)) | {"views": str(views)},
        ours=_own_choices(config),
    )
    if accelerator.is_main_process:
        write_evaluation(out, results, predictions, test, choice)
    accelerator.wait_for_everyone()
    return results


def open_probed(config: FeatureProbeConfig) -> tuple[str, VideoEncoder]:
    """What is probed, in words, and its encoder: a checkpoint's, or random weights.

    Raises:
        InputError: The checkpoint cannot be opened.
    """
    if config.from_scratch is None:
        return config.checkpoint, load(config.checkpoint, heads=config.heads)
    backbone = untrained_backbone(
        config.from_scratch,
        frames=config.frames,
        size=config.size,
        patch=config.patch,
        seed=config.seed,
    )
    return str(backbone.source), VideoEncoder(build_encoder(backbone), backbone.pretraining)


def _extract(
    config: FeatureProbeConfig,
    encoder: VideoEncoder,
    videos: LabeledVideos,
    views: TestViews,
    accelerator: Accelerator,
) -> Features:
    preset = PRESETS[DATASET_PRESETS[config.dataset]]
    shape = ViewShape(
        frames=encoder.grid.frames,
        size=encoder.grid.height,
        stride=config.stride or preset.stride,
        sampling=config.sampling or preset.sampling,
    )
    with progress_bar() as on_progress:
        return extract_features(
            encoder,
            videos,
            shape=shape,
            views=views,
            cache=config.cache,
            accelerator=accelerator,
            pooling=config.pooling,
            batch=config.batch,
            workers=config.workers,
            allow_missing=config.allow_missing,
            reader=reader_of(config.decoder),
            on_progress=lambda done, total: on_progress(f"{videos.split} features", done, total),
        )


def _own_choices(config: FeatureProbeConfig) -> tuple[str, ...]:
    """What no publication has."""
    said = ["protocol: published ones differ; the grid is in grid.json"]
    if (config.sampling or PRESETS[DATASET_PRESETS[config.dataset]].sampling) == "dense":
        said.append(
            "videos shorter than a clip are spread over it; the published code repeats the last "
            "frame"
        )
    return tuple(said)


def _metrics(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    if targets.ndim == 1:
        return classification_metrics(scores, targets)
    return multi_label_metrics(scores, targets)
