"""Experiments at small scale: their movements, their teacher, and the page's tables."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from smile_motion.errors import InputError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.evidence import tables  # noqa: E402
from benchmarks.evidence.arms import ARMS, PAIRS, TABLES, arms_of  # noqa: E402
from benchmarks.evidence.bodies import BODIES  # noqa: E402
from benchmarks.evidence.dinov2 import convert, read_onnx, read_safetensors  # noqa: E402
from benchmarks.evidence.jobs import Job, Places  # noqa: E402
from benchmarks.evidence.movements import MOVEMENTS, PARTS, draw_track  # noqa: E402
from benchmarks.evidence.sizes import SIZES  # noqa: E402
from benchmarks.evidence.tables import Interval, fill_page, write_table  # noqa: E402


def test_the_page_shows_the_stored_results() -> None:
    page = tables.PAGE.read_text(encoding="utf-8")
    assert tables.MARKED.search(page)
    assert fill_page(page) == page


def _run(arm: str, seed: int, finetune: float, strict: float) -> dict:
    scores = {"finetune": {"top1": finetune}, "strict": {"top1": strict}}
    return {"arm": arm, "seed": seed, "size": {"steps": 1}, **scores}


def test_a_table_has_means_intervals_and_what_became_of_orderings() -> None:
    runs = [_run("feature-tube", seed, 30 + 2 * seed, 50) for seed in range(3)]
    runs += [_run("video-feature-motion", seed, 41 + 2 * seed, 48 + 2 * seed) for seed in range(3)]
    # Student's t for two degrees of freedom is 4.303: 4.303 * 2 / sqrt(3) = 4.97.
    assert str(Interval.of([30, 32, 34])) == "32.0 ± 5.0"
    lines = write_table(runs, "4g").splitlines()
    assert "| tubes | 32.0 ± 5.0 | 50.0 ± 0.0 | 3 | 77.8 / 60.7 |" in lines
    assert "| trajectories over tubes | 11.0 ± 0.0: holds | 0.0 ± 5.0: open |" in lines
    reversed_ = [_run("feature-tube", seed, 50, 50) for seed in range(2)]
    reversed_ += [_run("video-feature-motion", seed, 40, 40) for seed in range(2)]
    assert "| trajectories over tubes | -10.0 ± 0.0: reversed |" in write_table(reversed_, "4g")
    assert "| trajectories over tubes | not run | not run |" in write_table([], "4g")
    with pytest.raises(ValueError, match="2 sizes"):
        write_table([*runs, runs[0] | {"size": {"steps": 2}}], "4g")


def test_intervals_cover_the_choice_of_test_clips() -> None:
    """Two seeds that happen to differ by the same clip settle nothing."""
    samples = {"evaluations": [{"samples": 400}]}
    runs = [_run("feature-tube", seed, 10 + seed, 10) | samples for seed in range(2)]
    runs += [_run("video-feature-motion", seed, 10.25 + seed, 30) | samples for seed in range(2)]
    lines = write_table(runs, "4g").splitlines()
    # 1.96 * sqrt(0.105 * 0.895 / 400 + 0.1075 * 0.8925 / 400) = 4.3 per cent, and 5.4.
    assert "| trajectories over tubes | 0.2 ± 4.3: open | 20.0 ± 5.4: holds |" in lines


def test_students_that_were_only_asked_about_motion_are_compared_by_that() -> None:
    def run(arm: str, seed: int, growth: float) -> dict:
        motion = {"growth": {"value": growth, "error": 2.0}}
        motion["direction"] = {"value": 20.0 + seed, "error": 1.5}
        return _run(arm, seed, 0, 10.0) | {"finetune": None, "motion": motion}

    runs = [run("feature-tube", seed, 60) for seed in range(3)]
    runs += [run("video-feature-motion", seed, 66) for seed in range(3)]
    lines = write_table(runs, "4g").splitlines()
    assert lines[0] == "| | strict probe | growth | direction | seeds | paper K400m / SSv2m |"
    # 1.96 * 2 = 3.9, of a difference 1.96 * sqrt(8) = 5.5; with seeds hypot(2.5, 1.96 * 1.5) = 3.8.
    assert "| tubes | 10.0 ± 0.0 | 60.0 ± 3.9 | 21.0 ± 3.8 | 3 | 77.8 / 60.7 |" in lines
    told = "| trajectories over tubes | 0.0 ± 0.0: open | 6.0 ± 5.5: holds | 0.0 ± 4.2: open |"
    assert told in lines


def test_motion_probes_are_kept_without_controls_that_all_have(tmp_path: Path) -> None:
    def found(encoder: str, shown: str, value: float, low: float, leaks: bool = False) -> dict:
        score = {"value": value, "low": low, "high": value + 5, "error": 2.0}
        asked = {"pooling": "slices", "factor": "rotation_sense", "chance": 50, "leaks": leaks}
        return {"encoder": encoder, "shown": shown, "score": score, **asked}

    stored = {
        "config": {"background": "black"},
        "findings": [
            found("first", "clip", 61.04, 55.0),
            found("first, random weights", "clip", 52.0, 49.0),
            found("raw pixels", "clip", 50.0, 44.0),
            found("first", "first frame", 50.0, 44.0),
            found("first", "shuffled", 60.0, 51.0, leaks=True),
        ],
    }
    file = tmp_path / "motion.json"
    file.write_text(json.dumps(stored))
    kept = tables.keep_motion([file])
    assert kept["controls"]["asked"] == 2
    assert [leak[-1] for leak in kept["controls"]["leaks"]] == ["shuffled"]
    assert tables.write_motion(kept["findings"], "black", "slices").splitlines() == [
        "| | rotation sense |",
        "|---|---|",
        "| guessing | 50 |",
        "| first | **61.0** |",
        "| the same, random weights | 52.0 |",
        "| raw pixels | 50.0 |",
    ]


def _job(arm: str, seed: int, here: Path) -> Job:
    places = Places(
        movements=here, videos=here, photographs=here, teacher=None, bank=None, work=here
    )
    return Job(arm=arm, seed=seed, size=SIZES["cpu"], places=places)


def test_a_finished_pre_training_is_not_done_again(tmp_path: Path) -> None:
    from dataclasses import replace

    from benchmarks.evidence.jobs import DONE, finished_pretraining

    job = _job("frame", 0, tmp_path)
    assert finished_pretraining(job, tmp_path / DONE) == (None, None, None)
    stored = {"size": job.size.to_json(), "checkpoint": "pretrained/checkpoints/step_00000002"}
    stored |= {"loss": {"first": 1.0, "last": 0.5}, "clips_per_s": 10.0}
    (tmp_path / DONE).write_text(json.dumps(stored))
    checkpoint, loss, rate = finished_pretraining(job, tmp_path / DONE)
    assert checkpoint == tmp_path / "pretrained/checkpoints/step_00000002"
    assert (loss, rate) == ({"first": 1.0, "last": 0.5}, 10.0)
    longer = replace(job, size=replace(job.size, steps=job.size.steps + 1))
    assert finished_pretraining(longer, tmp_path / DONE)[0] is None


def test_every_row_and_ordering_has_an_arm_that_training_takes() -> None:
    from smile_train.config.pretrain import PretrainConfig

    from benchmarks.evidence.jobs import (
        finetune_config,
        pretrain_options,
        probe_config,
    )

    assert {row.arm for rows in TABLES.values() for row in rows} == set(ARMS)
    for table, pairs in PAIRS.items():
        assert {arm for pair in pairs for arm in pair} <= set(arms_of((table,)))
    here = Path()
    places = Places(
        movements=here, videos=here, photographs=here, teacher=here, bank=None, work=here
    )
    for size in SIZES.values():
        for arm in ARMS:
            job = Job(arm=arm, seed=0, size=size, places=places)
            if arm != "none":
                PretrainConfig(**pretrain_options(job))
            checkpoint = None if arm == "none" else here
            configs = [probe_config(job, checkpoint, here)]
            if size.epochs:
                configs.append(finetune_config(job, checkpoint))
            for config in configs:
                assert (config.from_scratch is None) == (arm != "none")
                if arm == "none":
                    assert (config.size, config.patch) == (size.side, size.patch)


@pytest.mark.parametrize(
    ("movement", "opposite", "what"),
    [
        ("crouch", "rise", "crouch"),
        ("bow", "straighten", "bow"),
        ("turn_left", "turn_right", "yaw"),
        ("tip_left", "tip_right", "roll"),
        ("walk_right", "walk_left", "across"),
        ("recede", "approach", "distance"),
    ],
)
def test_a_pair_of_movements_differs_in_its_sense_alone(movement, opposite, what) -> None:
    middles = []
    for name, sign in ((movement, 1), (opposite, -1)):
        tracks = [draw_track(name, 2, 32, np.random.default_rng(seed)) for seed in range(40)]
        for track in tracks:
            assert sign * (track[what][-4:].mean() - track[what][:4].mean()) > 0
        middles.append([track[what][16] for track in tracks])
    assert abs(np.mean(middles[0]) - np.mean(middles[1])) < np.std(middles[0])


def test_test_bodies_and_textures_are_in_no_training_clip() -> None:
    from benchmarks.evidence.textures import KINDS

    for parts in (PARTS, KINDS):
        assert not set(parts["train"]) & set(parts["validation"])
    assert {name for bodies in PARTS.values() for name in bodies} == set(BODIES)
    assert len(MOVEMENTS) == 20


def render(out: Path, *arguments: str) -> str:
    """Render by the command, in a process of its own: Mesa's libraries and PyTorch's do not always
    get on in one. Returns what it said."""
    few = ("--train=1", "--test=1", "--frames=4", "--size=32")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.evidence.movements", "--out", out, *few, *arguments],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if "renders nothing here" in done.stderr:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    return done.stderr


@pytest.mark.slow
def test_movements_are_rendered_once_and_the_same_again(tmp_path: Path) -> None:
    pytest.importorskip("dm_control")
    first, second = tmp_path / "first", tmp_path / "second"
    assert "20 movements" in render(first)
    files = sorted(file.relative_to(first) for file in first.rglob("*.mp4"))
    assert files == sorted(
        Path(part, movement, f"{PARTS[part][0]}_0000.mp4")
        for part in PARTS
        for movement in MOVEMENTS
    )
    lost, kept = first / files[0], first / files[1]
    before = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    render(first)
    assert (lost.read_bytes(), kept.stat().st_mtime_ns) == before
    render(second)
    assert all((first / file).read_bytes() == (second / file).read_bytes() for file in files)
    assert "choose another --out" in render(second, "--seed=1")


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory):
    """A DINOv2 ViT-S of transformers with random weights, and its file."""
    from transformers import Dinov2Config, Dinov2Model

    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, image_size=56, patch_size=14
    )
    model = Dinov2Model(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("lambda1", "bias", "embeddings")):
                weight.normal_(1 if name.endswith("lambda1") else 0, 0.3)
    folder = tmp_path_factory.mktemp("dinov2")
    model.save_pretrained(folder)
    return model, folder / "model.safetensors"


@pytest.mark.slow
def test_a_converted_dinov2_gives_the_same_features(dinov2, tmp_path: Path) -> None:
    from smile_train.teachers import TimmTeacher

    model, path = dinov2
    convert(path, tmp_path / "teacher")
    teacher = TimmTeacher.open(str(tmp_path / "teacher"))
    images = torch.randn(2, 3, 56, 56)
    with torch.no_grad():
        expected = model(images).last_hidden_state[:, 1:]
    torch.testing.assert_close(teacher.encode_images(images), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_is_read_by_its_nodes(dinov2, tmp_path: Path) -> None:
    """As torch exports it: matrices without names, turned, and positions in two pieces."""
    import onnx
    from onnx import helper, numpy_helper

    stored = read_safetensors(dinov2[1])
    initializers, nodes = [], []
    for name, value in stored.items():
        if name == "embeddings.position_embeddings":
            initializers.append(numpy_helper.from_array(value[:, :1], "onnx::Concat_1"))
            initializers.append(numpy_helper.from_array(value[:, 1:], "onnx::Reshape_2"))
        elif value.ndim == 2 and name.startswith("encoder."):
            own = f"onnx::MatMul_{len(initializers)}"
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(value.T), own))
            where = name.removesuffix(".weight").replace("encoder.layer.", "encoder/layer.")
            layer, _, part = where.removeprefix("encoder/layer.").partition(".")
            node = f"/backbone/encoder/layer.{layer}/{part.replace('.', '/')}/MatMul"
            nodes.append(helper.make_node("MatMul", [f"x{len(nodes)}", own], ["y"], name=node))
        elif name != "embeddings.mask_token":
            initializers.append(numpy_helper.from_array(value, f"backbone.{name}"))
    graph = helper.make_graph(nodes, "dinov2", [], [], initializers)
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    found = read_onnx(tmp_path / "model.onnx")
    for name, value in stored.items():
        if name != "embeddings.mask_token":
            np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_what_is_no_dinov2_is_refused(dinov2, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    stored = read_safetensors(dinov2[1])
    lacking = {name: value for name, value in stored.items() if "layer.7.norm1" not in name}
    save_file(lacking, tmp_path / "lacking.safetensors")
    with pytest.raises(InputError, match=r"layer\.7\.norm1"):
        convert(tmp_path / "lacking.safetensors", tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        convert(tmp_path / "nothing.onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_was_fine_tuned_in_a_run_that_was_stopped_is_kept(tmp_path: Path) -> None:
    from benchmarks.evidence.jobs import TUNED, unprobed_run

    job = _job("none", 1, tmp_path)
    assert unprobed_run(job) is None
    reached = {"top1": 12.5, "top5": 30.0, "loss": 2.5}
    stored = {"size": job.size.to_json(), "reached": reached, "evaluation": {"samples": 400}}
    (tmp_path / "none-1").mkdir()
    (tmp_path / "none-1" / TUNED).write_text(json.dumps(stored))
    run = unprobed_run(job)
    assert run is not None
    assert (run["finetune"], run["strict"]) == (reached, None)
    lines = write_table([run, run | {"seed": 0}], "scratch").splitlines()
    assert "| no pre-training | 12.5 ± 3.2 | not run | 2 | none |" in lines
