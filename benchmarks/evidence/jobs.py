"""One arm with one seed: pre-train, fine-tune, probe, by the commands' own functions."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smile_motion.errors import InputError
from smile_motion.io.files import dump_json, write_atomically

from benchmarks.evidence.arms import ARMS, Corpus
from benchmarks.evidence.sizes import Size

if TYPE_CHECKING:
    from smile_train.config.finetune import FinetuneConfig
    from smile_train.config.probe import StrictProbeConfig
    from smile_train.evaluation.results import Results

SHOWN = ("top1", "top5")
"""Scores that are kept."""
DONE = "pretrained.json"
"""File of a run that tells that its pre-training is finished."""
TUNED = "finetuned.json"
"""File of a run with what its fine-tuning reached."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Folders of a run."""

    movements: Path
    """Labelled movements: folders `train` and `validation` of packed videos."""
    videos: Path
    """Natural videos, packed."""
    photographs: Path
    """Photographs."""
    teacher: Path | None
    """Folder of a DINOv2; needed by arms with features."""
    bank: Path | None
    """Object bank; none for the embedded one."""
    work: Path
    """Where runs go, which are deleted when they are judged."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """An arm with a seed."""

    arm: str
    """Its name."""
    seed: int
    """Of weights, clips, masks and fine-tuning."""
    size: Size
    """How large."""
    places: Places
    """Where."""
    keep: bool = False
    """Keep the pre-trained run."""


def run_job(job: Job) -> dict[str, Any]:
    """Pre-train, fine-tune where the size says so, and probe; returns what was reached, as JSON
    values.

    A pre-training or a fine-tuning that was finished by a run that was stopped later is not done
    again.

    Raises:
        InputError: Something does not fit.
    """
    import shutil

    out = _folder(job)
    begun = time.perf_counter()
    checkpoint, loss, rate = finished_pretraining(job, out / DONE)
    if checkpoint is None and ARMS[job.arm].changes is not None:
        shutil.rmtree(out, ignore_errors=True)
        checkpoint, loss, rate = pretrain_arm(job, out / "pretrained")
        done = {"size": job.size.to_json(), "checkpoint": str(checkpoint.relative_to(out))}
        write_atomically(out / DONE, dump_json(done | {"loss": loss, "clips_per_s": rate}))
    pretrained = time.perf_counter()
    tuning = finished_finetuning(job, out / TUNED)
    if tuning is None and job.size.epochs:
        shutil.rmtree(out / "finetuned", ignore_errors=True)
        results = finetune_arm(job, checkpoint, out / "finetuned")
        tuning = {
            "size": job.size.to_json(),
            "reached": _reached(results) | {"loss": _losses(out / "finetuned")["last"]},
            "evaluation": _for_the_report(job, results),
        }
        write_atomically(out / TUNED, dump_json(tuning))
    tuned = time.perf_counter()
    shutil.rmtree(out / "probed", ignore_errors=True)
    probed = probe_arm(job, checkpoint, out)
    motion = ask_about_motion(job, checkpoint) if job.size.motion else None
    ended = time.perf_counter()
    if job.keep and checkpoint is not None:
        kept = job.places.work / "kept" / out.name
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(out / "pretrained", kept)
    shutil.rmtree(out, ignore_errors=True)
    seconds = {
        "pretrain": round(pretrained - begun, 1),
        "finetune": round(tuned - pretrained, 1),
        "probe": round(ended - tuned, 1),
    }
    return _entry(job, loss, rate, tuning, seconds, probed) | {"motion": motion}


def unprobed_run(job: Job) -> dict[str, Any] | None:
    """What `run_job` would have returned of a run that was stopped while it was probed.

    The probe's place is empty; nothing where fine-tuning was not finished.
    """
    tuning = finished_finetuning(job, _folder(job) / TUNED)
    if tuning is None:
        return None
    _, loss, rate = finished_pretraining(job, _folder(job) / DONE)
    return _entry(job, loss, rate, tuning, None, None)


def _folder(job: Job) -> Path:
    return job.places.work / f"{job.arm}-{job.seed}"


def _reached(results: Results) -> dict[str, float]:
    return {name: results.metrics[name] for name in SHOWN}


def _entry(
    job: Job,
    loss: dict[str, float] | None,
    rate: float | None,
    tuning: dict[str, Any] | None,
    seconds: dict[str, float] | None,
    probed: Results | None,
) -> dict[str, Any]:
    """A run as results have it."""
    evaluations = [] if tuning is None else [tuning["evaluation"]]
    if probed is not None:
        evaluations.append(_for_the_report(job, probed))
    return {
        "arm": job.arm,
        "seed": job.seed,
        "size": job.size.to_json(),
        "finetune": None if tuning is None else tuning["reached"],
        "strict": None if probed is None else _reached(probed),
        "loss": loss,
        "clips_per_s": rate,
        "seconds": seconds,
        "row": f"own:{job.arm}",
        "evaluations": evaluations,
    }


def _for_the_report(job: Job, results: Results) -> dict[str, Any]:
    """What `smile_train evaluate report` reads of a run."""
    from smile_train.evaluation.tables.published import MOVEMENTS

    checkpoint = {"source": job.arm, "sha256": results.checkpoint["sha256"]}
    kept = replace(
        results,
        dataset=MOVEMENTS,
        metrics=_reached(results),
        checkpoint=checkpoint,
        pretraining={},
        config={"seed": job.seed},
        ours=(),
    )
    return asdict(kept)


def pretrain_options(job: Job) -> dict[str, Any]:
    """Options of an arm's pre-training.

    Raises:
        InputError: It needs a teacher and there is none.
    """
    arm, size, places = ARMS[job.arm], job.size, job.places
    folder: dict[Corpus, dict[str, Path]] = {
        "videos": {"videos": places.videos},
        "photographs": {"images": places.photographs},
        "none": {},
    }
    options: dict[str, Any] = {
        "preset": "tiny",
        "student": size.student,
        "size": size.side,
        "patch": size.patch,
        "batch": size.batch,
        "steps": size.steps if arm.long else size.video_steps,
        "masks_per_clip": size.masks_per_clip,
        "mask_ratio": size.mask_ratio,
        "base_lr": size.base_lr,
        "min_lr": size.base_lr / 100,
        "clip_grad": 1.0,
        "target": "pixel",
        "bank": places.bank,
        "seed": job.seed,
        "stride": 2,
        "workers": size.workers,
        "cpu_threads": size.cpu_threads,
        "save_every": 1_000_000,
        "keep": 1,
        "log_every": 25,
        "track": "none",
        **folder[arm.corpus],
        **(arm.changes or {}),
    }
    if arm.corpus == "videos":
        options["clips_per_video"] = size.clips_per_video
    if options["background"] != "natural":
        del options["stride"]
    if options["target"] != "pixel":
        if places.teacher is None:
            raise InputError(f"{job.arm}: learns features; give --teacher a folder of a DINOv2")
        options["teacher"] = str(places.teacher)
    if options.get("strategy") == "progressive":
        options["steps"] //= 2
    return options


def pretrain_arm(job: Job, out: Path, **changes: Any) -> tuple[Path, dict[str, float], float]:
    """Pre-train; returns the checkpoint, the first and last recorded loss, and clips a second."""
    from smile_train.config.pretrain import PretrainConfig
    from smile_train.training.pretrain import pretrain

    checkpoint = pretrain(PretrainConfig(**pretrain_options(job) | changes), out)
    run = checkpoint.parents[1]
    return checkpoint, _losses(run), _log(run)[-1]["clips_per_s"]


def finished_pretraining(
    job: Job, done: Path
) -> tuple[Path | None, dict[str, float] | None, float | None]:
    """What `pretrain_arm` returned to a run that was stopped later; nothing where there is none."""
    if not done.is_file():
        return None, None, None
    stored = json.loads(done.read_text(encoding="utf-8"))
    if stored["size"] != job.size.to_json():
        return None, None, None
    return done.parent / stored["checkpoint"], stored["loss"], stored["clips_per_s"]


def finished_finetuning(job: Job, done: Path) -> dict[str, Any] | None:
    """What fine-tuning reached in a run that was stopped later; nothing where there is none."""
    if not done.is_file():
        return None
    stored = json.loads(done.read_text(encoding="utf-8"))
    return stored if stored["size"] == job.size.to_json() else None


def _log(run: Path) -> list[dict[str, Any]]:
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def _losses(run: Path) -> dict[str, float]:
    """The first and the last loss that a run recorded."""
    losses = [entry["loss"] for entry in _log(run) if "loss" in entry]
    return {"first": losses[0], "last": losses[-1]}


def finetune_config(job: Job, checkpoint: Path | None) -> FinetuneConfig:
    """How an arm is fine-tuned; from random weights where it has no checkpoint."""
    from smile_train.config.finetune import FinetuneConfig

    size = job.size
    trained = checkpoint is not None
    return FinetuneConfig(
        checkpoint=checkpoint or Path(),
        from_scratch=None if trained else size.student,
        size=None if trained else size.side,
        patch=FinetuneConfig.patch if trained else size.patch,
        dataset="list",
        data=job.places.movements,
        sampling="uniform",
        epochs=size.epochs,
        batch=size.finetune_batch,
        repeats=size.repeats,
        base_lr=size.finetune_lr,
        warmup_epochs=max(1, size.epochs // 8),
        # Without pre-training there are no lower layers worth keeping.
        layer_decay=0.85 if trained else 1.0,
        drop_path=0.0,
        mixup=0.0,
        cutmix=0.0,
        rand_augment="none",
        erasing=0.0,
        flip=False,
        crop_area=size.crop_area,
        head_scale=size.head_scale,
        clip_grad=1.0,
        validate_every=size.epochs,
        segments=1,
        crops=1,
        seed=job.seed,
        workers=size.workers,
        cpu_threads=size.cpu_threads,
        save_every=1_000_000,
        log_every=25,
        track="none",
    )


def finetune_arm(job: Job, checkpoint: Path | None, out: Path, **changes: Any) -> Results:
    """Fine-tune all weights; scores are those of the last, which nothing was chosen by."""
    from smile_train.training.finetune import finetune

    found = finetune(replace(finetune_config(job, checkpoint), **changes), out)
    return replace(found, metrics={name: found.metrics[f"last_{name}"] for name in SHOWN})


def probe_config(job: Job, checkpoint: Path | None, cache: Path) -> StrictProbeConfig:
    """How an arm is probed; random weights where it has no checkpoint."""
    from smile_train.config.probe import StrictProbeConfig

    size, trained = job.size, checkpoint is not None
    return StrictProbeConfig(
        checkpoint=str(checkpoint) if trained else "",
        from_scratch=None if trained else size.student,
        size=StrictProbeConfig.size if trained else size.side,
        patch=StrictProbeConfig.patch if trained else size.patch,
        dataset="list",
        data=job.places.movements,
        sampling="uniform",
        segments=1,
        crops=1,
        pooling="slices",  # Pairs that are each other's reversals need the order of slices.
        batch=64,
        seed=job.seed,
        workers=size.workers,
        cpu_threads=size.cpu_threads,
        cache=cache,
    )


def probe_arm(job: Job, checkpoint: Path | None, out: Path) -> Results:
    """Train a linear classifier on the frozen encoder's features."""
    from smile_train.probes.run import probe_strict

    config = probe_config(job, checkpoint, out / "features")
    return probe_strict(config, out / "probed")


def ask_about_motion(job: Job, checkpoint: Path | None) -> dict[str, dict[str, float]]:
    """What a frozen student knows of motion, asked as the first command is: by factor the per cent
    right, and `error`, the standard error that comes from the choice of test clips."""
    from smile_train.motion_probe.online import OnlineProbe
    from smile_train.probes.run import open_probed

    _, encoder = open_probed(probe_config(job, checkpoint, Path()))
    found = OnlineProbe(size=job.size.side).find(encoder, untrained=False)
    return {
        own.factor: {"value": round(own.score.value, 2), "error": round(own.score.error, 3)}
        for own in found
    }
