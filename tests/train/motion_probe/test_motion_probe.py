"""What a motion probe asks, and that nothing but motion answers it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from smile_motion.bank import ObjectBank, ProceduralSource, build
from smile_motion.cli.app import run_app
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth
from smile_train.__main__ import COMMANDS
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.models.config import STUDENTS
from smile_train.models.mae import Encoder
from smile_train.motion_probe.attentive import read_attentively
from smile_train.motion_probe.clips import PARTS, ProbeClips, Texture, share_out
from smile_train.motion_probe.config import FACTORS, SCENE_CLASSES, Kept, SceneName
from smile_train.motion_probe.inputs import (
    Candidate,
    PixelEncoder,
    fit_clips,
    pixels,
    show,
    trained_and_untrained,
    untrained,
)
from smile_train.motion_probe.report import leaks
from smile_train.motion_probe.run import Sizes, probe_motion
from smile_train.motion_probe.scenes import DIRECTIONS, FRAMES
from smile_train.motion_probe.scores import read_out, score


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> ObjectBank:
    """Two objects of each of the procedural categories."""
    return build(ProceduralSource(count=60), tmp_path_factory.mktemp("probe") / "bank", workers=0)


@pytest.fixture(scope="module")
def clips(bank: ObjectBank) -> ProbeClips:
    """Small clips to learn from."""
    return ProbeClips(
        bank=bank,
        objects=share_out(bank)["learn"],
        backdrop=Texture(),
        part="learn",
        size=64,
        seed=3,
    )


def probe(*arguments: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["probe", "motion", *map(str, arguments)])


def asked(clips: ProbeClips, name: SceneName, number: int) -> tuple[np.ndarray, dict[str, float]]:
    """Path of the largest object, (T, 2) pixels, and the labels."""
    scene, plan = clips.scene(name, number)
    largest = int(np.argmax([track.side for track in scene.tracks]))
    return plan.centre[largest], scene.labels


def test_directions_are_those_of_the_plan(clips: ProbeClips) -> None:
    for number in range(32):
        path, labels = asked(clips, "direction", number)
        steps = np.diff(path, axis=0)
        wanted = np.array(DIRECTIONS[int(labels["direction"])])
        along = steps @ wanted / np.maximum(np.linalg.norm(steps, axis=1), 1e-9)
        same = along / np.linalg.norm(wanted) > 0.999
        assert same.sum() >= 8
        assert labels["direction"] == number % 8


def test_directions_visit_the_same_places(clips: ProbeClips) -> None:
    for number in range(16):
        path, _ = asked(clips, "direction", number)
        low, high = path.min(0), path.max(0)
        places = np.rint(3 * (path - low) / (high - low)).astype(int)
        assert len({tuple(place) for place in places}) == FRAMES


@pytest.mark.parametrize("name", [name for name, n in SCENE_CLASSES.items() if n == 2])
def test_of_a_pair_one_is_the_other_backwards(clips: ProbeClips, name: SceneName) -> None:
    if name == "hidden":
        return  # Both have a place of their own, and end behind the wall.
    for number in range(0, 6, 2):
        (first, plan), (second, other) = (clips.scene(name, number + k) for k in (0, 1))
        np.testing.assert_array_equal(plan.objects, other.objects)
        np.testing.assert_allclose(plan.centre, other.centre[:, ::-1])
        np.testing.assert_allclose(plan.scale, other.scale[:, ::-1])
        np.testing.assert_allclose(plan.angle_deg, other.angle_deg[:, ::-1])
        for factor, label in first.labels.items():
            if FACTORS[factor].classes:  # type: ignore[index]
                assert {label, second.labels[factor]} == {0, 1}


def test_speed_and_turn_are_those_of_the_plan(clips: ProbeClips) -> None:
    for number in range(8):
        path, labels = asked(clips, "orbit", number)
        a, b, c = path[0], path[4], path[9]  # The circle's centre, from three of its points.
        centre = np.linalg.solve(2 * np.array([b - a, c - a]), [b @ b - a @ a, c @ c - a @ a])
        around = path - centre
        radius = np.linalg.norm(around, axis=1)
        np.testing.assert_allclose(radius, radius[0])
        turns = np.unwrap(np.arctan2(-around[:, 1], around[:, 0]))
        speed = np.abs(np.diff(turns)).mean() * radius[0] * 224 / 64
        assert speed == pytest.approx(labels["speed"])
        scene, plan = clips.scene("spin", number)
        slot = int(np.argmax([track.side for track in scene.tracks]))
        np.testing.assert_allclose(np.diff(plan.angle_deg[slot]), scene.labels["rotation_rate"])
        assert (scene.labels["rotation_rate"] < 0) == scene.labels["rotation_sense"]


def test_what_a_scene_says_is_in_its_plan(clips: ProbeClips) -> None:
    for number in range(8):
        scene, plan = clips.scene("growth", number)
        slot = int(np.argmax([track.scale is not None for track in scene.tracks]))
        grows = (np.diff(plan.scale[slot, :, 0]) > 0).sum() > 10
        assert grows == (scene.labels["growth"] == 0)
        scene, plan = clips.scene("count", number)
        angles = plan.centre - plan.centre.mean(1, keepdims=True)
        turns = np.diff(np.unwrap(np.arctan2(angles[..., 1], angles[..., 0])), axis=1)
        travelling = (turns.std(1) < 1e-6).sum()
        assert travelling == scene.labels["count"] + 1
        scene, plan = clips.scene("front", number)
        assert (plan.centre[2, -1, 0] > plan.centre[2, 0, 0]) == (scene.labels["front"] == 0)
        path, labels = asked(clips, "reversal", number)
        moves = np.linalg.norm(np.diff(path, axis=0), axis=1)
        jump = int(np.argmax(moves[:8]))
        run = moves[jump + 1 : jump + 7]
        assert (run[-1] > run[0]) == (labels["reversal"] == 0)


def test_two_cross_in_the_middle_and_only_there(clips: ProbeClips) -> None:
    crossed = 0
    for number in range(0, 24, 2):
        _, plan = clips.scene("front", number)
        pair = replace(
            plan.only(1),
            objects=plan.objects[1:],
            base_size=plan.base_size[1:],
            centre=plan.centre[1:],
            angle_deg=plan.angle_deg[1:],
            scale=plan.scale[1:],
            order=np.tile([0, 1], (FRAMES, 1)),
        )
        both = Truth(pair, clips.bank).amodal.all(0).sum((1, 2))
        assert both[0] == both[-1] == 0
        crossed += both[6:10].max() > 0
    assert crossed == 12


def test_what_is_hidden_at_the_end_is_behind_the_wall(clips: ProbeClips) -> None:
    for number in range(12):
        scene, plan = clips.scene("hidden", number)
        assert scene.wall is not None
        x0, y0, x1, y1 = ((edge + 0.5) * 64 / 224 for edge in scene.wall)
        mask = Truth(plan, clips.bank).amodal[1, -1]
        rows, columns = np.nonzero(mask)
        assert y0 - 1 <= rows.min()
        assert rows.max() <= y1
        assert x0 <= columns.min()
        assert columns.max() <= x1
        middle = (scene.wall[0] + scene.wall[2]) / 2
        across = (plan.centre[1, -1, 0] + 0.5) * 224 / 64 - 0.5 - middle
        assert across == pytest.approx(scene.labels["hidden"])


def test_objects_of_parts_are_disjoint_and_so_are_their_categories(bank: ObjectBank) -> None:
    shared = share_out(bank)
    for part in PARTS:
        rest = np.concatenate([shared[other] for other in PARTS if other != part])
        assert not set(shared[part]) & set(rest)
        assert not set(bank.category[shared[part]]) & set(bank.category[rest])
    assert sum(map(len, shared.values())) == len(bank)


def test_clips_are_those_of_their_number_alone(clips: ProbeClips) -> None:
    whole = np.concatenate([frames for frames, _ in clips.batches("direction", 6, 4)])
    for number in (5, 1):
        frames, labels = clips.render("direction", number)
        np.testing.assert_array_equal(frames, whole[number])
        assert labels == {"direction": number}
    other = replace(clips, seed=4).render("direction", 1)[0]
    assert not np.array_equal(other, whole[1])


def test_ridge_finds_what_is_linear_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 40)).astype(np.float32)
    hidden = features @ rng.standard_normal(40)
    parts = slice(0, 300), slice(300, 400), slice(400, 600)
    for truth, expected in ((hidden, (99, 100)), (rng.standard_normal(600), (-20, 10))):
        answers = read_out(
            features[parts[0]],
            features[parts[1]],
            features[parts[2]],
            {"learn": truth[parts[0]], "choose": truth[parts[1]]},
            0,
        )
        reached = score(FACTORS["speed"], [answers.predicted], [truth[parts[2]]])
        assert expected[0] <= reached.value <= expected[1]
        assert reached.low <= reached.value <= reached.high


def walks(count: int, seed: int, channels: int = 24) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens (n, 8, 4, 4, D) of a thing that walks left or right from anywhere: whether to the
    right, and how many columns to the right it walks."""
    rng = np.random.default_rng(seed)
    thing = np.random.default_rng(9).standard_normal(channels)
    tokens = rng.standard_normal((count, 8, 4, 4, channels))
    way, steps = rng.integers(0, 2, count), rng.integers(1, 4, count)
    for clip in range(count):
        row, first = rng.integers(0, 4), rng.integers(0, 4 - steps[clip])
        columns = np.rint(np.linspace(first, first + steps[clip], 8)).astype(int)
        columns = columns if way[clip] else columns[::-1]
        tokens[clip, np.arange(8), row, columns] += 3 * thing
    return tokens.astype(np.float16), way.astype(float), np.where(way, steps, -steps) * 1.0


@pytest.mark.parametrize("classes", [2, 0])
def test_an_attentive_read_out_follows_what_moves(classes: int) -> None:
    """The mean of all tokens tells nothing of the way; where the thing is in each slice does."""
    (learn, *known), (choose, *held), (test, *asked) = (
        walks(n, seed) for seed, n in enumerate((240, 80, 200))
    )
    own = 0 if classes else 1
    targets = {"learn": known[own], "choose": held[own]}
    found = read_attentively(learn, choose, test, targets, classes)
    truth = asked[own]
    if classes:
        assert (found.predicted == truth).mean() > 0.9
        flat = [values.astype(np.float32).mean((1, 2, 3)) for values in (learn, choose, test)]
        mean = read_out(flat[0], flat[1], flat[2], targets, classes)
        assert 0.35 < (mean.predicted == truth).mean() < 0.65
    else:
        assert 1 - ((found.predicted - truth) ** 2).mean() / truth.var() > 0.5
    assert 1 <= found.penalty <= 60


def test_an_attentive_read_out_of_noise_guesses() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.standard_normal((n, 4, 2, 2, 16)).astype(np.float16) for n in (320, 80, 400)]
    targets = {name: rng.integers(0, 2, n) for name, n in (("learn", 320), ("choose", 80))}
    found = read_attentively(*parts, targets, 2)
    np.testing.assert_array_equal(read_attentively(*parts, targets, 2).predicted, found.predicted)
    assert 0.4 < (found.predicted == rng.integers(0, 2, 400)).mean() < 0.6


def test_a_pair_counts_when_both_are_right() -> None:
    truth = np.tile([0.0, 1.0], 50)
    answers = truth.copy()
    answers[:40:2] = 1  # One clip of each of twenty pairs.
    assert score(FACTORS["pairs"], [answers], [truth]).value == 60
    assert score(FACTORS["growth"], [answers], [truth]).value == 80


def small_encoder() -> VideoEncoder:
    torch.manual_seed(0)
    return VideoEncoder(Encoder(STUDENTS["tiny"], TokenGrid(frames=8, height=32, width=32)))


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
    candidates = [*trained_and_untrained("small", small_encoder(), 0, "no"), pixels()]
    findings = probe_motion(
        candidates,
        tuple(FACTORS),
        ("slices", "mean", "attentive"),
        replace(SIZES, clips=480, test=400),
        bank,
        (Texture(), Texture()),
    )
    assert leaks(findings) == []
    assert len(findings) == len(FACTORS) * 7 * 3


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


@pytest.fixture(scope="module")
def asked_run(bank: ObjectBank, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run of two steps that was asked about motion after each, and its options."""
    out = tmp_path_factory.mktemp("asked") / "run"
    options = [
        *("--preset=tiny", "--steps=2", "--batch=4", "--size=32", "--patch=16", "--frames=4"),
        *("--bank", str(bank.path), "--workers=0", "--track=none", "--precision=fp32"),
        *("--probe-motion-every=1", "--out", str(out)),
    ]
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *options]) == 0
    return out, options


def measured(run: Path) -> list[dict[str, float]]:
    lines = (run / "measures.jsonl").read_text().splitlines()
    return [entry for line in lines if "growth_accuracy" in (entry := json.loads(line))]


def test_a_run_asks_its_student_and_ends_by_saying_so(
    asked_run: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    run, options = asked_run
    asked = measured(run)
    assert [entry["step"] for entry in asked] == [1, 2]
    assert [len(entry) for entry in asked] == [3, 5]
    assert all(0 <= value <= 100 for entry in asked for name, value in entry.items())
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *options, "--resume"]) == 0
    assert measured(run) == asked
    last = asked[-1]
    assert (
        f"growth or shrinkage: {last['growth_accuracy']:.0f} % (untrained "
        f"{last['growth_accuracy_untrained']:.0f} %, guessing 50 %); direction of travel: "
        f"{last['direction_accuracy']:.0f} % (untrained "
        f"{last['direction_accuracy_untrained']:.0f} %, guessing 12.5 %)"
    ) in capsys.readouterr().out


def test_asking_does_not_change_what_is_learned(
    asked_run: tuple[Path, list[str]], tmp_path: Path
) -> None:
    run, options = asked_run
    own = [option for option in options[:-2] if not option.startswith("--probe")]
    silent = [*own, "--probe-motion-every=0", "--stop-at=2", "--out", str(tmp_path / "run")]
    assert run_app("smile_train", "", COMMANDS, ["pretrain", *silent]) == 0
    first, second = (
        load_file(folder / "checkpoints/step_00000002/model.safetensors")
        for folder in (run, tmp_path / "run")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
