"""The commands `smile_train probe …`: what frozen encoders know, and what they let others learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from smile_motion.cli.app import Outcome
from smile_motion.errors import InputError
from smile_motion.runtime.partition import is_first_process, results_folder

from smile_train.cli import finetune
from smile_train.cli.runs import name_checkpoints, print_outcome
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.probe import FeatureProbeConfig, NeighborProbeConfig, StrictProbeConfig
from smile_train.motion_probe.config import HELD_OUT, MotionProbeConfig, scenes_of

MOTION_RESULTS = "motion.json"
"""File that tells that a folder holds the results of a motion probe."""


class Strict:
    """A linear classifier on frozen, cached features: nothing augmented, the rate chosen fairly."""

    EXAMPLES = (
        "smile-train probe strict runs/first --dataset ucf101 --data UCF101",
        "smile-train probe strict runs/first --dataset list --data lists --few 10",
    )
    Options = StrictProbeConfig

    @staticmethod
    def run(config: StrictProbeConfig) -> Outcome | None:
        """Probe, and say what was reached."""
        from smile_train.probes.run import probe_strict

        out = prepare_folder(config, "strict")
        with results_folder(out):
            return print_outcome(probe_strict(config, out), out)


class Knn:
    """Classify by the nearest neighbors in frozen, cached features."""

    EXAMPLES = ("smile-train probe knn runs/first --dataset ucf101 --data UCF101",)
    Options = NeighborProbeConfig

    @staticmethod
    def run(config: NeighborProbeConfig) -> Outcome | None:
        """Probe, and say what was reached."""
        from smile_train.probes.run import probe_neighbors

        out = prepare_folder(config, "knn")
        with results_folder(out):
            return print_outcome(probe_neighbors(config, out), out)


class Sigma:
    """Train a normalization and a linear head on a frozen backbone, augmented (as SIGMA does)."""

    EXAMPLES = ("smile-train probe sigma runs/first --dataset ssv2 --data SSV2",)
    MAKES = finetune.MAKES
    Options = FinetuneConfig
    run = staticmethod(finetune.run)

    @staticmethod
    def defaults(arguments: Sequence[str]) -> FinetuneConfig:
        """The probe's preset, with the data set's own sampling."""
        return finetune.choose_preset(arguments, "linear-sigma")


class Attentive:
    """Train a grid of attentive probes on a frozen encoder, all at once (V-JEPA 2's protocol)."""

    EXAMPLES = ("smile-train probe attentive runs/first --dataset ssv2 --data SSV2",)
    MAKES = finetune.MAKES
    Options = FinetuneConfig
    run = staticmethod(finetune.run)

    @staticmethod
    def defaults(arguments: Sequence[str]) -> FinetuneConfig:
        """The probe's preset, with the data set's own sampling."""
        return finetune.choose_preset(arguments, "attentive")


class Motion:
    """Ask frozen encoders what they know about motion, on clips whose motion is known exactly."""

    EXAMPLES = ("smile-train probe motion runs/first runs/second --names first second",)
    Options = MotionProbeConfig

    @staticmethod
    def run(config: MotionProbeConfig) -> Outcome | None:
        """Probe, write table and figure, and print the table."""
        if not config.checkpoints:
            raise InputError("no checkpoint; give one or more runs, checkpoints, files or hub ids")
        if not is_first_process():
            return None
        out = config.out or Path("runs") / f"{finetune.name_of(config.checkpoints[0])}-motion"
        if (out / MOTION_RESULTS).exists():
            raise InputError(f"{out}: holds results; choose another --out")
        with results_folder(out):
            return _probe_motion(config, out)


def prepare_folder(config: FeatureProbeConfig, protocol: str) -> Path:
    """The folder of the results.

    Raises:
        InputError: No checkpoint is given, or there are other results in it.
    """
    if config.from_scratch is not None:
        if config.checkpoint:
            raise InputError(
                f"{config.checkpoint} and --from-scratch {config.from_scratch}: probe one of them; "
                f"leave the other out"
            )
        probed = f"scratch-{config.from_scratch}"
    elif config.checkpoint:
        probed = finetune.name_of(config.checkpoint)
    else:
        raise InputError(
            "no checkpoint; give a run, a checkpoint, a published file or a hub id, or "
            "--from-scratch and a student's size"
        )
    name = f"{probed}-{protocol}-{config.dataset}"
    out = config.out or Path("runs") / name
    if (out / "results.json").exists():
        raise InputError(f"{out}: holds results; choose another --out")
    return out


def _probe_motion(config: MotionProbeConfig, out: Path) -> Outcome:
    import json
    import sys

    from smile_motion.bank import embedded_bank
    from smile_motion.io.files import encode_json, write_atomically
    from smile_motion.runtime.progress import progress_bar
    from smile_motion.video.frames import FrameReader

    from smile_train.config.machine import settle_machine
    from smile_train.data.decoders import reader_of, settle_decoder
    from smile_train.encoders.video_encoder import load
    from smile_train.motion_probe.clips import open_backdrops
    from smile_train.motion_probe.inputs import describe_fit, pixels, trained_and_untrained
    from smile_train.motion_probe.report import draw_findings, facts, leaks, write_table
    from smile_train.motion_probe.run import Sizes, probe_motion
    from smile_train.motion_probe.scenes import FRAMES
    from smile_train.training.accelerator import open_accelerator

    names = name_checkpoints(config.names, config.checkpoints)
    chosen: list[str] = []

    def read_by(files: Sequence[Path]) -> FrameReader:
        clips = config.clips + config.test_clips
        decoder, line = settle_decoder(
            *(config.decoder, files),
            frames=FRAMES,
            stride=config.stride,
            reads=config.seeds * len(scenes_of(config.factors)) * clips,
        )
        chosen.append(line)
        return reader_of(decoder)

    backdrops = open_backdrops(
        config.backdrop,
        videos=config.videos,
        images=config.images,
        stride=config.stride,
        read_by=read_by,
    )
    machine = settle_machine(config.precision, config.cpu_threads)
    accelerator = open_accelerator(machine.precision)
    encoders = [
        load(path, heads=config.heads).to(accelerator.device) for path in config.checkpoints
    ]
    size = config.size or min(224, max(encoder.grid.height for encoder in encoders))
    fits = [
        describe_fit(name, encoder.grid, FRAMES, size)
        for name, encoder in zip(names, encoders, strict=True)
    ]
    said = [line for line in fits if line is not None]
    bank = config.open_bank(embedded_bank)
    candidates = []
    for name, encoder in zip(names, encoders, strict=True):
        candidates += trained_and_untrained(name, encoder, config.seed, machine.precision)
    candidates.append(pixels())
    print(*filter(None, (machine.said, *chosen, *said)), sep="\n", file=sys.stderr)
    with progress_bar() as on_progress:
        findings = probe_motion(
            candidates,
            config.factors,
            config.pooling,
            Sizes(
                clips=config.clips,
                test=config.test_clips,
                seeds=config.seeds,
                size=size,
                seed=config.seed,
                batch=config.batch,
            ),
            bank,
            backdrops,
            cache=config.cache,
            computing=lambda: accelerator.autocast(),
            on_progress=lambda done, total: on_progress("clips", done, total),
        )
    learned = config.clips - config.clips // HELD_OUT // 2 * 2
    linear = [own for own in findings if own.pooling != "attentive"]
    widest = max(linear, key=lambda own: own.features, default=None)
    if widest is not None and widest.features > learned:
        said.append(
            f"{widest.encoder} gives {widest.features} numbers a clip, {learned} clips are learned "
            f"from: the penalty keeps read-outs from learning them by heart; --clips asks for more"
        )
    said.append(
        f"{config.clips} clips of each scene to learn from and choose penalties by, "
        f"{config.test_clips} of other objects to test on, {config.seeds} draws; background "
        f"{config.backdrop}, frames of {size} x {size} px"
    )
    table = write_table(findings, said)
    content = {
        "config": json.loads(json.dumps(asdict(config), default=str)),
        "checkpoints": [
            {"name": name, "source": source, "sha256": candidate.sha256}
            for name, source in zip(names, config.checkpoints, strict=True)
            for candidate in candidates
            if candidate.name == name
        ],
        "bank_sha256": bank.card["metadata_sha256"],
        "said": said,
        "findings": facts(findings),
    }
    write_atomically(out / "motion.md", table.encode())
    draw_findings(findings, out / "motion.png")
    write_atomically(out / MOTION_RESULTS, encode_json(json.dumps(content, indent=1) + "\n"))
    print(table)
    print(out / "motion.png")
    return Outcome({"out": out, "leaks": leaks(findings), "findings": content["findings"]})
