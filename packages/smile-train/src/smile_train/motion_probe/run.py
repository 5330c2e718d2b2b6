"""Asking encoders what they know about motion, with controls that must know nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from smile_motion.bank import ObjectBank
from smile_motion.io.files import replacing

from smile_train.motion_probe.attentive import read_attentively
from smile_train.motion_probe.clips import PARTS, Backdrop, Part, ProbeClips, share_out
from smile_train.motion_probe.config import (
    FACTORS,
    HELD_OUT,
    READS,
    FactorName,
    Kept,
    PoolingName,
    SceneName,
    scenes_of,
)
from smile_train.motion_probe.inputs import Candidate, Shown, show
from smile_train.motion_probe.scores import Score, read_out, score


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one encoder reached in one factor."""

    encoder: str
    """Name of the encoder."""
    shown: Shown
    """What it was shown."""
    pooling: PoolingName
    """What the read-out saw."""
    factor: FactorName
    """What was asked."""
    score: Score
    """What was reached."""
    penalties: tuple[float, ...]
    """Chosen, by seed; of attentive read-outs epochs."""
    features: int
    """Numbers that the read-out saw of a clip."""

    @property
    def leaks(self) -> bool:
        """Whether a control did better than guessing, so that the probe asks about something else
        than motion."""
        return self.shown != "clip" and self.score.above(FACTORS[self.factor].chance)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much is rendered."""

    clips: int
    """Clips of each scene to learn from and to choose penalties by."""
    test: int
    """Clips of each scene to test on."""
    seeds: int
    """Draws."""
    size: int
    """Side of the frames, pixels."""
    seed: int
    """Seed of the first draw."""
    batch: int
    """Clips encoded at once."""

    def count(self, part: Part) -> int:
        """Clips of a part; pairs are not split."""
        held = self.clips // HELD_OUT // 2 * 2
        return {"learn": self.clips - held, "choose": held, "test": self.test}[part]


def probe_motion(
    candidates: list[Candidate],
    factors: tuple[FactorName, ...],
    poolings: tuple[PoolingName, ...],
    sizes: Sizes,
    bank: ObjectBank,
    backdrops: tuple[Backdrop, Backdrop],
    *,
    cache: Path | None = None,
    computing: Callable[[], AbstractContextManager[object]] = nullcontext,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Ask every candidate about every factor.

    Args:
        backdrops: Backgrounds of clips to learn from and to choose by, and of the test's clips.
        cache: Folder of features; none keeps none.
        computing: Context in which encoders run, such as autocast.

    Raises:
        InputError: The bank is too small, or a background cannot be read.
    """
    objects = share_out(bank)
    scenes = scenes_of(factors)
    total = sizes.seeds * len(scenes) * sum(sizes.count(part) for part in PARTS)
    kept: tuple[Kept, ...] = tuple(dict.fromkeys(READS[pooling] for pooling in poolings))
    done = 0
    answers: dict[tuple[str, Shown, PoolingName, FactorName], list[_Answer]] = {}
    for seed in range(sizes.seeds):
        encoders = {own.name: own.encoder(seed) for own in candidates}
        for name in scenes:
            features: dict[_Key, dict[Part, np.ndarray]] = {}
            labels: dict[Part, list[dict[str, float]]] = {}
            for part in PARTS:
                clips = ProbeClips(
                    bank=bank,
                    objects=objects[part],
                    backdrop=backdrops[part == "test"],
                    part=part,
                    size=sizes.size,
                    seed=sizes.seed + seed,
                )
                count = sizes.count(part)
                store = _Store(cache, clips, name, count)
                found, missing = store.read(candidates, seed, kept)
                made = {key: [] for key in missing}
                labels[part] = []
                asked: dict[tuple[str, Shown], list[Kept]] = {}
                for encoder, shown, name_kept in missing:
                    asked.setdefault((encoder, shown), []).append(name_kept)
                if missing:
                    first = 0
                    for frames, said in clips.batches(name, count, sizes.batch):
                        labels[part] += said
                        orders = clips.shuffles(name, first, len(frames))
                        with computing():
                            for (encoder, shown), own in asked.items():
                                clip = show(frames, shown, orders)
                                for what, values in encoders[encoder].encode(clip, own).items():
                                    made[encoder, shown, what].append(values)
                        first += len(frames)
                        on_progress(done + first, total)
                done += count
                on_progress(done, total)
                found |= {key: np.concatenate(values) for key, values in made.items()}
                store.write(candidates, seed, {key: found[key] for key in missing})
                for key, values in found.items():
                    features.setdefault(key, {})[part] = values
                if not missing:
                    labels[part] = [clips.scene(name, n)[0].labels for n in range(count)]
            for factor in factors:
                if FACTORS[factor].scene == name:
                    for (encoder, shown, what), own in features.items():
                        for pooling in poolings:
                            if READS[pooling] == what:
                                answer = _ask(factor, pooling, own, labels)
                                key = encoder, shown, pooling, factor
                                answers.setdefault(key, []).append(answer)
    return [
        Finding(
            encoder=encoder,
            shown=shown,
            pooling=pooling,
            factor=factor,
            score=score(
                FACTORS[factor], [own.predicted for own in given], [own.truth for own in given]
            ),
            penalties=tuple(own.penalty for own in given),
            features=given[0].features,
        )
        for (encoder, shown, pooling, factor), given in answers.items()
    ]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Answer:
    predicted: np.ndarray
    truth: np.ndarray
    penalty: float
    features: int


def _ask(
    factor: FactorName,
    pooling: PoolingName,
    features: dict[Part, np.ndarray],
    labels: dict[Part, list[dict[str, float]]],
) -> _Answer:
    """Fit a read-out of one factor and ask it about the test's clips."""
    truth = {part: np.array([own[factor] for own in labels[part]]) for part in PARTS}
    seen = {part: pool(values, pooling) for part, values in features.items()}
    given = (read_attentively if pooling == "attentive" else read_out)(
        seen["learn"],
        seen["choose"],
        seen["test"],
        {"learn": truth["learn"], "choose": truth["choose"]},
        FACTORS[factor].classes,
    )
    return _Answer(
        predicted=given.predicted,
        truth=truth["test"],
        penalty=given.penalty,
        features=int(np.prod(seen["test"].shape[1:])),
    )


def pool(features: np.ndarray, pooling: PoolingName) -> np.ndarray:
    """Vectors of slices, (n, slices, D), to one vector of each clip; an attentive read-out sees all
    places, (n, slices, rows, columns, D)."""
    match pooling:
        case "mean":
            return features.mean(1)
        case "slices":
            return features.reshape(len(features), -1)
        case "attentive":
            return features


_Key = tuple[str, Shown, Kept]
"""An encoder's name, what it was shown, and what is kept of its tokens."""


class _Store:
    """Features of one scene's part on disk, a file for each encoder and way to show clips."""

    def __init__(
        self, folder: Path | None, clips: ProbeClips, scene: SceneName, count: int
    ) -> None:
        self.folder, self.count = folder, count
        self.described = {**clips.described, "scene": scene, "count": count, "format": 1}

    def read(
        self, candidates: list[Candidate], seed: int, kept: tuple[Kept, ...]
    ) -> tuple[dict[_Key, np.ndarray], list[_Key]]:
        """What is there, and what is not."""
        found: dict[_Key, np.ndarray] = {}
        missing = []
        for candidate, shown in _shown(candidates):
            for what in kept:
                values = self._read(self._path(candidate, shown, what, seed))
                if values is None:
                    missing.append((candidate.name, shown, what))
                else:
                    found[candidate.name, shown, what] = values
        return found, missing

    def write(
        self, candidates: list[Candidate], seed: int, features: dict[_Key, np.ndarray]
    ) -> None:
        """Keep features."""
        from safetensors.numpy import save_file

        if self.folder is None:
            return
        own = {candidate.name: candidate for candidate in candidates}
        for (encoder, shown, what), values in features.items():
            with replacing(self._path(own[encoder], shown, what, seed)) as temporary:
                save_file({"features": np.ascontiguousarray(values)}, temporary)

    def _path(self, candidate: Candidate, shown: Shown, what: Kept, seed: int) -> Path:
        described = self.described | {"encoder": candidate.sha256, "draw": seed, "shown": shown}
        if what != "slices":
            described["kept"] = what
        key = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:24]
        return (self.folder or Path()) / f"motion-{key}.safetensors"

    def _read(self, path: Path) -> np.ndarray | None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        if self.folder is None or not path.is_file():
            return None
        try:
            values = load_file(path)["features"]
        except (SafetensorError, OSError, KeyError):
            return None
        return values if len(values) == self.count else None


def _shown(candidates: list[Candidate]) -> Iterator[tuple[Candidate, Shown]]:
    return ((own, shown) for own in candidates for shown in own.shown)
