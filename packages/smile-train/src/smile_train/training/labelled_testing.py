"""Scoring a run on labelled videos, while it learns and when it is done."""

from __future__ import annotations

from typing import Any

from smile_train.checkpoints.files import load_checkpoint, write_checkpoint
from smile_train.config.finetune_presets import changed_options
from smile_train.data.views import TestViews
from smile_train.evaluation.predict import Predictions, predict
from smile_train.evaluation.reporting import write_evaluation
from smile_train.evaluation.results import Results
from smile_train.training.finetune_run import LabelledRun
from smile_train.training.metrics_logger import Report
from smile_train.training.monitor import evaluating


def validate(run: LabelledRun, report: Report, step: int) -> None:
    """Score one view of each test video; keep the weights where they are the best so far."""
    scored = score(run, TestViews())
    metrics = run.task.metrics(scored, run.test)
    report.measure(step, metrics)
    value = metrics[run.task.main_metric]
    if run.best is None or run.task.sign * (value - run.best) > 0:
        run.best = value
        _keep_weights(run, "best", step)
    if step == run.steps:
        _keep_weights(run, "last", step)
    report.say(f"step {step}: {run.task.main_metric} {value:.2f} (best {run.best:.2f})")


def score(run: LabelledRun, views: TestViews) -> Predictions:
    """Scores of the test split under some views."""
    model: Any = run.tested
    with evaluating(model):
        return predict(
            lambda clips: run.task.score(model(clips)),
            run.test,
            outputs=run.task.outputs,
            shape=run.shape,
            views=views,
            accelerator=run.accelerator,
            workers=run.config.workers,
            ensemble=run.task.ensemble,
            allow_missing=run.config.allow_missing,
        )


def score_both(run: LabelledRun) -> Results:
    """Test the best weights and the last on all views, and write what was found."""
    views = TestViews(segments=run.config.segments, crops=run.config.crops)
    metrics: dict[str, float] = {}
    best: Predictions | None = None
    for name, prefix in (("last", "last_"), ("best", "")):
        weights, _, _ = load_checkpoint(run.out / name)
        run.tested.load_state_dict(weights)
        best = score(run, views)
        found = run.task.metrics(best, run.test)
        metrics |= {f"{prefix}{key}": value for key, value in found.items()}
    assert best is not None
    results = Results(
        protocol=run.config.protocol,
        dataset=run.test.name,
        split=run.test.split,
        samples=len(best.keys),
        metrics=metrics,
        main_metric=run.task.main_metric,
        checkpoint={"source": str(run.config.checkpoint), "sha256": run.backbone.sha256},
        pretraining=run.backbone.pretraining,
        dataset_sha256={"train": run.train.sha256, run.test.split: run.test.sha256},
        partial=run.train.partial or run.test.partial or bool(best.broken),
        missing=run.train.missing or run.test.missing or bool(best.broken),
        config=run.config.to_json() | {"views": str(views)},
        ours=changed_options(run.config),
    )
    if run.accelerator.is_main_process:
        grid = {"grid": run.task.grid_of(best), "chosen_on": run.test.split}
        write_evaluation(
            run.out, results, run.task.chosen(best), run.test, grid if grid["grid"] else None
        )
    return results


def _keep_weights(run: LabelledRun, name: str, step: int) -> None:
    if run.accelerator.is_main_process:
        weights = {key: value.cpu() for key, value in run.tested.state_dict().items()}
        write_checkpoint(run.out / name, step, weights=weights, training={}, config=run.describe())
