"""What encoders know about motion: controls at chance, kept features, the command."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.models.config import STUDENTS
from smile_train.models.mae import Encoder
from smile_train.motion_probe.clips import Texture
from smile_train.motion_probe.config import FACTORS, Kept
from smile_train.motion_probe.inputs import (
    Candidate,
    PixelEncoder,
    Shown,
    fit_clips,
    pixels,
    show,
    trained_and_untrained,
    untrained,
)
from smile_train.motion_probe.report import leaks
from smile_train.motion_probe.run import Sizes, probe_motion


def probe(*arguments: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["probe", "motion", *map(str, arguments)])


def small_encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(Encoder(STUDENTS["mini"], TokenGrid(frames=8, height=32, width=32)))


SIZES = Sizes(clips=160, test=160, seeds=1, size=32, seed=0, batch=40)


def test_controls_are_at_chance_and_one_that_is_told_the_answer_leaks(bank: ObjectBank) -> None:
    class Told:
        """Hears the label, as a probe would whose places told it."""

        def __init__(self, learn: int) -> None:
            self.number, self.learn = 0, learn

        def encode(self, clips: np.ndarray, kept: Sequence[Kept]) -> dict[Kept, np.ndarray]:
            numbers = self.number + np.arange(len(clips))
            self.number += len(clips)
            starts = np.array([0, 128, 160])  # Parts follow each other.
            own = numbers - starts[np.searchsorted(starts, numbers, "right") - 1]
            return {"slices": np.eye(8, dtype=np.float32)[own % 8][:, None]}

    told = Candidate(name="told", encoder=lambda _: Told(128), sha256="", shown=("first frame",))
    candidates = [*trained_and_untrained("small", small_encoder(), 0, "no"), pixels(), told]
    findings = probe_motion(
        candidates, ("direction",), ("slices", "mean"), SIZES, bank, (Texture(), Texture())
    )
    faulty = [own for own in findings if own.leaks]
    assert {own.encoder for own in faulty} == {"told"}
    assert len(leaks(findings)) == 2
    assert {(own.encoder, own.shown) for own in findings} == {
        *(("small", shown) for shown in ("clip", "first frame", "shuffled")),
        *(("raw pixels", shown) for shown in ("clip", "first frame", "shuffled")),
        ("small, random weights", "clip"),
        ("told", "first frame"),
    }


@pytest.mark.slow
def test_no_factor_leaks_through_a_real_encoder_or_pixels(bank: ObjectBank) -> None:
    """Controls alone: clips as they are tell of motion, and may."""
    trained, _ = trained_and_untrained("small", small_encoder(), 0, "no")
    controls: tuple[Shown, ...] = ("first frame", "shuffled")
    candidates = [replace(own, shown=controls) for own in (trained, pixels())]
    findings = probe_motion(
        candidates,
        tuple(FACTORS),
        ("slices", "mean"),
        replace(SIZES, clips=240, test=200),
        bank,
        (Texture(), Texture()),
    )
    assert leaks(findings) == []
    assert len(findings) == len(FACTORS) * 4 * 2


def test_features_are_kept_and_taken_for_the_same_encoder_alone(
    bank: ObjectBank, tmp_path: Path
) -> None:
    calls = []

    class Counted(PixelEncoder):
        def encode(self, clips: np.ndarray, kept: Sequence[Kept]) -> dict[Kept, np.ndarray]:
            calls.append(len(clips))
            return super().encode(clips, kept)

    def ask(sha256: str) -> list:
        candidate = Candidate(
            name="pixels", encoder=lambda _: Counted(), sha256=sha256, shown=("clip",)
        )
        return probe_motion(
            [candidate],
            ("speed", "pairs"),
            ("mean",),
            replace(SIZES, clips=80, test=80),
            bank,
            (Texture(), Texture()),
            cache=tmp_path,
        )

    first = ask("a")
    assert sum(calls) == 160
    assert ask("a") == first
    assert sum(calls) == 160
    damaged = next(tmp_path.glob("motion-*"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    assert ask("a") == first
    assert 160 < sum(calls) <= 240
    ask("b")
    assert sum(calls) >= 320


def test_clips_are_fitted_to_an_encoder() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 64, 64, 3), dtype=np.uint8)
    grid = TokenGrid(frames=8, height=32, width=48, tubelet=2, patch=16)
    fitted = fit_clips(clips, grid)
    assert fitted.shape == (2, 8, 32, 48, 3)
    same = fit_clips(clips, TokenGrid(frames=4, height=64, width=64))
    np.testing.assert_array_equal(same, clips[:, [0, 5, 10, 15]])
    orders = np.stack([np.arange(16)[::-1], np.arange(16)])
    turned = show(clips, "shuffled", orders)
    np.testing.assert_array_equal(turned[0], clips[0, ::-1])
    np.testing.assert_array_equal(turned[1], clips[1])
    assert (show(clips, "first frame", orders) == clips[:, :1]).all()


def test_random_weights_are_others_of_the_same_kind() -> None:
    encoder = small_encoder()
    other = untrained(encoder, 1)
    for name, weight in encoder.state_dict().items():
        drawn = other.state_dict()[name]
        if weight.ndim > 1:
            assert not torch.equal(weight, drawn)
            assert drawn.std() == pytest.approx(float(weight.std()), rel=0.1)
        else:
            torch.testing.assert_close(weight.mean(), drawn.mean(), atol=0.1, rtol=0)
    again = untrained(encoder, 1).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in other.state_dict().items())


@pytest.mark.slow
def test_the_command_leaves_table_figure_and_numbers(
    checkpoint: Path, bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        *("--bank", bank.path, "--factors", "direction", "--clips=80", "--test-clips=80"),
        *("--seeds=1", "--cache", tmp_path / "cache", "--precision=fp32", "--size=48"),
        *("--background=black", "--pooling", "mean", "attentive"),
    ]
    assert probe(checkpoint, *options, "--out", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "run: shown 8 of 16 frames" in said.err
    assert "48 x 48 px resized to 64 x 64" in said.err
    table = (tmp_path / "out/motion.md").read_text()
    assert table in said.out
    assert "| guessing | | 12.5 |" in table
    for row in ("run | clip", "run | first frame", "run | shuffled", "raw pixels | shuffled"):
        assert f"| {row} |" in table
    assert "| run, random weights | clip |" in table
    content = json.loads((tmp_path / "out/motion.json").read_text())
    assert len(content["findings"]) == 2 * 7
    assert "Attentive read-outs of 4 x 4 places" in table
    assert (tmp_path / "out/motion.png").read_bytes().startswith(b"\x89PNG")
    assert probe(checkpoint, *options, "--out", tmp_path / "out") == 2
    assert "holds results" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--clips=79",), "--clips is 79, too few to learn from"),
        (("--test-clips=10",), "--test-clips is 10, too few to test on"),
        (("--background=natural",), "add --videos"),
        (("--background=black", "--videos=x"), "--videos"),
    ],
)
def test_unfit_options_are_refused(
    checkpoint: Path,
    options: tuple[str, ...],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert probe(checkpoint, *options, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


def test_a_bank_without_objects_for_a_test_of_their_own_is_refused(
    checkpoint: Path, small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(checkpoint, "--bank", small_bank.path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "30 objects, of which the part to choose by would have" in error
