"""Results as evaluations write them, for the tests of reports."""

import json
from pathlib import Path

from smile_train.config.pretrain import PretrainConfig, plan_stages
from smile_train.config.pretrain_presets import PRESETS
from smile_train.evaluation.results import Protocol, Results


def trained(config: PretrainConfig, stage: int = -1) -> dict[str, object]:
    """What a checkpoint says of a pre-training, as JSON gives it back."""
    own = plan_stages(config, Path("runs/some"))[stage].started()
    return json.loads(json.dumps(own.to_json()))


def make_results(
    preset: str | PretrainConfig | None = None,
    *,
    protocol: Protocol = "finetune",
    dataset: str = "ssv2m",
    metric: str = "top1",
    value: float = 60.0,
    stage: int = -1,
    source: str = "runs/some",
    **more: object,
) -> Results:
    config = PRESETS[preset] if isinstance(preset, str) else preset
    values = {
        "protocol": protocol,
        "dataset": dataset,
        "split": "validation",
        "samples": 1000,
        "metrics": {metric: value},
        "main_metric": metric,
        "checkpoint": {"source": source, "sha256": "ab" * 32},
        "pretraining": {} if config is None else trained(config, stage),
    }
    return Results(**values | more)  # type: ignore[arg-type]
