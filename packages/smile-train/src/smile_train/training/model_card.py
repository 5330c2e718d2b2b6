"""Model card (README.md) of an exported model: the hub's header, how the model was trained, and
what it was measured to know."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from smile_motion.bank.dataset_card import README, credit_lines
from smile_motion.bank.format import CARD
from smile_motion.errors import InputError
from smile_motion.io.files import write_atomically
from smile_motion.io.markup import Markdown
from smile_motion.io.schema import read_record

from smile_train.checkpoints.files import CONFIG, read_run_config
from smile_train.encoders.video_encoder import hash_encoder, load
from smile_train.evaluation.results import RESULTS, Results
from smile_train.models.heads import Classifier
from smile_train.models.mae import TAGS, PretrainModel
from smile_train.training.metrics_logger import MEASURES, LogEntry, read_log

_LOGGER = logging.getLogger(__name__)
_RUN_DEPTH = 3
"""Folders between a checkpoint and the run that wrote it, at most."""
_TRAINED_WITH = (
    *("preset", "protocol", "dataset", "recipe", "objects", "path", "transform", "effects"),
    *("background", "camera", "strategy", "target", "teacher", "target_norm", "motion_target"),
    *("masking", "mask_ratio", "masks_per_clip", "frames", "size", "stride", "epochs"),
    *("steps_total", "batch", "base_lr", "precision", "seed", "bank_sha256"),
    *("bank_weights", "categories", "exclude_categories"),
)
"""Entries of a run's configuration that a card lists; none is a path."""


def write_model_card(
    folder: Path, model: PretrainModel | Classifier, source: Path, *, library: str, use: str
) -> None:
    """Write the card of an exported model; it replaces the one of huggingface_hub.

    Args:
        folder: Exported folder, whose name is the title.
        model: Exported model.
        source: Checkpoint that was exported. What lies beside it is told too: the run's
            configuration, its last measures, and results of probes of the same weights.
        library: `transformers`, or that of our own models.
        use: Code that loads the folder.
    """
    config = _config(source)
    parts = [
        Markdown("# {}").format(folder.resolve().name),
        _summary(model),
        Markdown(f"## Use\n\n```python\n{use}\n```"),
        _training(config),
        _measured(source),
        _license(config),
    ]
    text = Markdown("\n\n").join(part for part in parts if part)
    header = _header(library, classifies=isinstance(model, Classifier))
    write_atomically(folder / README, f"{header}\n\n{text}\n".encode())


def _header(library: str, *, classifies: bool) -> str:
    lines = [
        "---",
        "license: other",
        "license_name: see-below",
        f"library_name: {library}",
        f"pipeline_tag: {'video-classification' if classifies else 'feature-extraction'}",
        "tags:",
        *(f"- {tag}" for tag in TAGS),
        "---",
    ]
    return "\n".join(lines)


def _summary(model: PretrainModel | Classifier) -> Markdown:
    sizes, grid = model.config, model.grid
    kind = "classifier of videos" if isinstance(model, Classifier) else "self-supervised encoder"
    return Markdown(
        "A {}: a vision transformer of {} blocks and width {} over clips of {} frames of {} x {} "
        "pixels ({} tokens of {} x {} x {}). Made with SMILE Motion, after *SMILE: Infusing "
        "Spatial and Motion Semantics in Masked Video Learning* (CVPR 2025, arXiv 2504.00527)."
    ).format(
        Markdown(kind),
        *(sizes.depth, sizes.width, grid.frames, grid.height, grid.width),
        *(grid.tokens, grid.tubelet, grid.patch, grid.patch),
    )


def _config(source: Path) -> dict[str, Any]:
    """The configuration of a checkpoint of ours; empty for a published file."""
    path = source / CONFIG
    return read_run_config(path) if source.is_dir() and path.is_file() else {}


def _training(config: Mapping[str, Any]) -> Markdown:
    title = Markdown("## How it was trained\n\n")
    if not config:
        return title + Markdown("Not known: the checkpoint has no configuration of its run.")
    stages = {"": config, "pre-training: ": config.get("pretraining") or {}}
    rows = [
        Markdown("| {} | {} |").format(prefix + name.replace("_", " "), stage[name])
        for prefix, stage in stages.items()
        for name in _TRAINED_WITH
        if stage.get(name) not in (None, [], "")
    ]
    return title + Markdown("\n").join([Markdown("| | |\n|---|---|"), *rows])


def _measured(source: Path) -> Markdown:
    rows = [
        Markdown("| {} | {} | {} {:.1f} |").format(
            result.protocol,
            f"{result.dataset}, {result.split}{', in part' if result.partial else ''}",
            result.main_metric,
            result.metrics[result.main_metric],
        )
        for result in _results(source)
    ]
    for place in (source, *source.resolve().parents[:_RUN_DEPTH]):
        if measures := read_log(place / MEASURES, LogEntry):
            rows += [
                Markdown("| {} | step {} | {:.3g} |").format(
                    name.replace("_", " "), measures[-1]["step"], value
                )
                for name, value in measures[-1].items()
                if name != "step" and isinstance(value, int | float)
            ]
            break
    if not rows:
        return Markdown("## What it knows\n\nNo probe of these weights lies beside their run.")
    table = [Markdown("| measured by | on | result |\n|---|---|---|"), *rows]
    return Markdown("## What it knows\n\n") + Markdown("\n").join(table)


def _results(source: Path) -> Iterator[Results]:
    """Results in folders beside a checkpoint's run, and in it, that are of the same weights."""
    if not source.is_dir():
        return
    inside = source.resolve().parents[:_RUN_DEPTH]
    found = {path: None for place in inside for path in place.glob(f"*/{RESULTS}")}
    found |= {place / RESULTS: None for place in inside if (place / RESULTS).is_file()}
    own = hash_encoder(load(str(source))) if found else ""
    for path in sorted(found):
        try:
            result = Results.read(path)
        except InputError as error:
            _LOGGER.warning("%s; not on the model's card", error)
            continue
        if result.checkpoint["sha256"] == own:
            yield result


def _license(config: Mapping[str, Any]) -> Markdown:
    text = Markdown(
        "## License\n\nOf the weights: not stated; whoever shares them says it here and in the "
        "header. They were learned from the run's videos and objects, whose licenses hold too. The "
        "code is under the MIT license."
    )
    bank = config.get("bank")
    for folder in [bank] if isinstance(bank, str) else bank or []:
        try:
            card = read_record(Path(folder) / CARD, dict[str, Any], remedy="")
        except (OSError, InputError) as error:
            _LOGGER.warning("%s; the license of its objects is not on the model's card", error)
            continue
        text += Markdown("\n\n") + Markdown("\n").join(credit_lines(card, Path(folder).name))
    return text
