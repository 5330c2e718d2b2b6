"""Monitoring of a student: pictures, rank of the features, nearest neighbors, linear and motion
probes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from smile_motion.errors import InputError

from smile_train.config.pretrain import PretrainConfig
from smile_train.data.decoders import reader_of
from smile_train.data.views import clip_frames
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.evaluation.metrics import neighbor_votes
from smile_train.models.mae import PretrainModel
from smile_train.motion_probe.online import OnlineProbe, is_asked, sentence
from smile_train.motion_probe.scores import read_out
from smile_train.teachers import Teacher
from smile_train.training.losses import teach
from smile_train.training.metrics_logger import MetricsLogger
from smile_train.training.monitor_plots import Reconstruction, draw_curves, draw_reconstructions
from smile_train.training.state import is_sharded

SHOWN = 3
"""Clips in a picture."""
RANKED_CLIPS = 8
"""Clips whose tokens are ranked."""
RANKED = 2048
"""Tokens whose features tell the rank."""
NEIGHBORS = 10
"""Neighbors that vote on a video's label."""
FOLDS = 5
"""Parts of the labeled videos that the linear probe leaves out in turn. Ours."""
LINEAR = "linear_accuracy"
"""What its accuracy is called among measures."""


@dataclass(kw_only=True, eq=False)
class Watcher:
    """Draws what a student makes of the last batch, and measures its features."""

    config: PretrainConfig
    """The stage."""
    out: Path
    """Folder of the stage, for loss.png and reconstruction.png."""
    model: PretrainModel
    """The student."""
    teacher: Teacher | None
    """The run's teacher; None for pixels."""
    probe: LabeledProbe | None
    """Labeled videos to try its features on."""
    batch: dict[str, Any] | None = None
    """What was learned last."""
    looked: int = -1
    """The last step that was looked at."""
    _encoded: tuple[int, torch.Tensor] | None = None

    @classmethod
    def open(
        cls, config: PretrainConfig, out: Path, model: PretrainModel, teacher: Teacher | None
    ) -> Watcher:
        """Decode the probe's videos, if there are any.

        Raises:
            InputError: They cannot be read.
        """
        probe = None if config.knn is None else LabeledProbe.open(config.knn, config)
        if probe is not None and config.probe_linear_every is not None:
            probe.require_two_of_each()
        return cls(config=config, out=out, model=model, teacher=teacher, probe=probe)

    def watch(
        self,
        accelerator: Accelerator,
        report: MetricsLogger,
        step: int,
        *,
        ending: bool,
        last: bool,
    ) -> None:
        """Measure what is due at a step, in the main process, and draw the run's curves once.

        Args:
            ending: Whether this process ends at the step: pictures are due, the motion probe is
                not, for it takes long.
            last: Whether it is the last step of all: each probe is due, and its outcome is said.
        """
        if not accelerator.is_main_process:
            return
        due = self._looks(step, ending=ending)
        whole = not is_sharded(self.model)  # else this process holds a part of the student only
        linear = whole and _is_due(self.config.probe_linear_every, step, last=last)
        with evaluating(self.model):
            known = report.measures.get(step, {})  # From before this run was resumed.
            values = self._look(step) if due and whole else {}
            if linear and LINEAR not in known:
                values[LINEAR] = self._linear_accuracy(step)
            if due or values:
                measures = report.measures | {step: known | values}
                draw_curves(self.out / "loss.png", report.history, measures)
            if values:
                # Behind the pictures: a step whose measures are known has all of them, wherever the
                # run is killed.
                report.measure(step, values)
            if linear and last:
                self._say_accuracy(report, step)
            asked = last or not ending
            if asked and whole and _is_due(self.config.probe_motion_every, step, last=last):
                self._probe_motion(report, step, last=last)

    def owes(self, report: MetricsLogger, step: int, *, ending: bool) -> bool:
        """Whether something that is due at a step was not measured: the run was killed before."""
        known, config = report.measures.get(step, {}), self.config
        return (
            ("token_rank" not in known and (ending or _is_due(config.picture_every, step)))
            or (LINEAR not in known and _is_due(config.probe_linear_every, step))
            or (_is_due(config.probe_motion_every, step) and not is_asked(known, untrained=False))
        )

    def _looks(self, step: int, *, ending: bool) -> bool:
        """Whether pictures are due: not before the first batch, and once a step."""
        every = self.config.picture_every
        if self.batch is None or self.looked == step or not (ending or _is_due(every, step)):
            return False
        self.looked = step
        return True

    def _look(self, step: int) -> dict[str, float]:
        """Draw the last batch; return what is measured of the student's features."""
        assert self.batch is not None
        self._draw(self.batch)
        frames = self.batch["frames"][:RANKED_CLIPS]
        values = {"token_rank": token_rank(self.model, frames)}
        if self.probe is not None:
            values["knn_accuracy"] = neighbor_accuracy(self._features(step), self.probe.labels)
        return values

    def _linear_accuracy(self, step: int) -> float:
        """Share of the labeled videos that are classified rightly."""
        assert self.probe is not None
        return linear_accuracy(self._features(step), self.probe.labels, seed=self.config.seed)

    def _say_accuracy(self, report: MetricsLogger, step: int) -> None:
        assert self.probe is not None
        report.say(
            f"linear probe: {report.measures[step][LINEAR]:.0%} of {len(self.probe.labels)} videos "
            f"right (guessing {self.probe.chance:.0%})"
        )

    def _probe_motion(self, report: MetricsLogger, step: int, *, last: bool) -> None:
        """Ask the student about motion."""
        if is_asked(report.measures.get(step, {}), untrained=last):
            return  # Before this run was resumed.
        size = min(self.config.frame_size)
        frozen = VideoEncoder(copy.deepcopy(self.model.encoder))
        clips = self.config.probe_motion_clips
        values = OnlineProbe(size=size, clips=clips, test=clips).ask(frozen, untrained=last)
        report.measure(step, values)
        if last:
            report.say(sentence(values))

    def _features(self, step: int) -> torch.Tensor:
        """Features of the labeled videos, encoded once a step."""
        if self._encoded is None or self._encoded[0] != step:
            assert self.probe is not None
            self._encoded = step, encode(self.model, self.probe.frames)
        return self._encoded[1]

    def _draw(self, batch: dict[str, Any]) -> None:
        device, config = next(self.model.parameters()).device, self.config
        frames = batch["frames"][:SHOWN].to(device)
        visible, masked = (batch[name][:SHOWN, 0].to(device) for name in ("visible", "masked"))
        predicted = self.model.reconstruct(frames, visible, masked).float().cpu()
        features = teach(frames, self.teacher, config)
        clips = [
            Reconstruction(
                frames=frames[i].cpu(),
                masked=masked[i].cpu(),
                predicted=predicted[i],
                features=None if features is None else features[i].float().cpu(),
            )
            for i in range(len(frames))
        ]
        draw_reconstructions(self.out / "reconstruction.png", clips, config.grid)


def _is_due(every: int | None, step: int, *, last: bool = False) -> bool:
    """Whether what is done every so many steps is due; 0 is at the end alone, None never."""
    return every is not None and (last or (every > 0 and step % every == 0))


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Look at a model without gradients, in evaluation mode."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


def encode(model: PretrainModel, frames: torch.Tensor, *, at_once: int = 8) -> torch.Tensor:
    """Mean of a clip's tokens: (n, T, H, W, 3) uint8 to (n, width) float32, on the CPU."""
    device = next(model.parameters()).device
    parts = frames.split(at_once)
    return torch.cat([model.encoder(part.to(device)).float().mean(1).cpu() for part in parts])


def token_rank(model: PretrainModel, frames: torch.Tensor) -> float:
    """Effective rank of a student's token features over a few clips, (n, T, H, W, 3) uint8."""
    tokens = model.encoder(frames.to(next(model.parameters()).device)).flatten(0, 1).float().cpu()
    return effective_rank(tokens[:: max(1, len(tokens) // RANKED)][:RANKED])


def effective_rank(features: torch.Tensor) -> float:
    """How many directions features fill (RankMe, arXiv 2210.02885): 1 when they have collapsed.

    Args:
        features: (n, D): the exponential of the entropy of their normalized singular values, at
            most the smaller of n and D.
    """
    values = torch.linalg.svdvals(features.double())
    share = values / values.sum().clamp_min(1e-12) + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))


def neighbor_accuracy(features: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of samples whose label their nearest neighbors vote for, each left out in its turn.

    Args:
        features: (n, D); labels (n,) int64.
    """
    votes = neighbor_votes(
        features, labels, None, neighbors=NEIGHBORS, classes=int(labels.max()) + 1
    )
    return float((votes.argmax(1) == labels).float().mean())


def linear_accuracy(features: torch.Tensor, labels: torch.Tensor, *, seed: int) -> float:
    """Share of samples that linear read-outs of other samples classify rightly.

    Samples are split into `FOLDS` parts, or as many as there are samples, with about the same share
    of each label. Each is asked about by a ridge regression on the others, whose penalty is chosen
    by the part that follows.

    Args:
        features: (n, D) float32; labels (n,) int64, two or more of each.
        seed: Which samples are in which part; nothing else is random.
    """
    values, truth = features.numpy(), labels.numpy()
    order = np.random.default_rng(seed).permutation(len(truth))
    part = np.empty(len(truth), np.int64)
    parts = min(FOLDS, len(truth))
    part[order[np.argsort(truth[order], kind="stable")]] = np.arange(len(truth)) % parts
    right = 0
    for own in range(parts):
        test, choose = part == own, part == (own + 1) % parts
        learn = ~(test | choose)
        targets = {"learn": truth[learn], "choose": truth[choose]}
        learned, chosen, asked = (values[rows] for rows in (learn, choose, test))
        answers = read_out(learned, chosen, asked, targets, int(truth.max()) + 1)
        right += int((answers.predicted == truth[test]).sum())
    return right / len(truth)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabeledProbe:
    """A few labeled videos on which a student's features are tried."""

    frames: torch.Tensor
    """(n, T, H, W, 3) uint8: the middle clip of each video."""
    labels: torch.Tensor
    """(n,) int64."""
    names: tuple[str, ...]
    """Label of each number."""
    path: Path
    """Their list."""

    @classmethod
    def open(cls, path: Path, config: PretrainConfig) -> LabeledProbe:
        """Decode a list of labeled videos.

        Raises:
            InputError: It cannot be read, or holds fewer than two labels.
        """
        from smile_motion.io.images import cut
        from smile_motion.video import find_videos, index_video

        frames, labels, reader = [], [], reader_of(config.decoder)
        for video in find_videos(path):
            index = index_video(video.path)
            wanted = clip_frames(
                len(index),
                frames=config.frames,
                stride=config.stride,
                sampling="dense",
                segments=1,
            )[0]
            images = reader(index, wanted)
            height, width = images.shape[1:3]
            side = min(height, width)
            crop = ((width - side) // 2, (height - side) // 2, side, side)
            frames.append(cut(images, crop, config.frame_size))
            labels.append(video.label)
        if len(set(labels)) < 2:
            raise InputError(
                f"{path}: {len(set(labels))} label; a probe needs two, and videos of each"
            )
        number = {label: place for place, label in enumerate(sorted(set(labels), key=str))}
        return cls(
            frames=torch.from_numpy(np.stack(frames)),
            labels=torch.tensor([number[label] for label in labels]),
            names=tuple(map(str, number)),
            path=path,
        )

    @property
    def chance(self) -> float:
        """Share of the most frequent label."""
        return float(self.labels.bincount().max()) / len(self.labels)

    def require_two_of_each(self) -> None:
        """Raise InputError where a label has one video: left out, none is there to learn from."""
        lonely = (self.labels.bincount() < 2).nonzero().flatten().tolist()
        if lonely:
            raise InputError(
                f"{self.path}: label {self.names[lonely[0]]} has one video; --probe-linear-every "
                f"needs two or more of each"
            )
