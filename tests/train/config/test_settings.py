"""Settings of runs from files: what a run wrote, and YAML and JSON of one's own."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import smile_train
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.clips.options import BANK_FIELDS
from smile_motion.errors import InputError
from smile_motion.io.files import hash_file
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import read_manifest, read_run_config
from smile_train.cli import finetune, pretrain
from smile_train.cli.probe import Sigma
from smile_train.config.finetune import FinetuneConfig
from smile_train.config.finetune_presets import PRESETS as FINETUNE_PRESETS
from smile_train.config.pretrain import PretrainConfig
from smile_train.config.pretrain_presets import PRESETS
from smile_train.config.settings import RESOLVED, SECTIONS, into_sections, parse_yaml

QUICK = (
    *("--preset=tiny", "--batch=2", "--workers=0", "--frames=4", "--size=32", "--log-every=1"),
    *("--track=none", "--cpu-threads=1", "--precision=fp32"),
)


def train(*words: object) -> int:
    return run_app("smile_train", "", COMMANDS, [str(word) for word in words], default="pretrain")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of settings."""

    def put(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return put


def test_what_a_run_wrote_makes_the_same_run(
    small_bank: ObjectBank, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (tmp_path / name for name in ("first", "again", "other"))
    assert train(*QUICK, f"--bank={small_bank.path}", "--steps=3", f"--out={first}") == 0
    config = first / "config.json"
    assert train("pretrain", f"--config={config}", f"--out={again}") == 0
    assert "first/config.json, which a run wrote" in capsys.readouterr().err
    assert _weights(again, 3) == _weights(first, 3)
    assert _stored(again) == _stored(first)
    assert train("pretrain", f"--config={config}", "--seed=1", "--steps=2", f"--out={other}") == 0
    assert _stored(other) == _stored(first) | {"seed": 1, "steps": 2, "steps_total": 2}
    assert _weights(other, 2) != _weights(first, 3)

    assert train("pretrain", "--config", config, "--preset", "smile-vit-b") == 2
    assert "--preset smile-vit-b has no effect" in capsys.readouterr().err


def test_a_run_writes_sections_and_one_without_goes_on(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    """Runs of earlier releases have all settings beside each other."""
    run, old = tmp_path / "run", tmp_path / "old"
    words = [*QUICK, f"--bank={small_bank.path}", "--steps=4"]
    assert train(*words, "--stop-at=2", f"--out={run}") == 0
    stored = json.loads((run / "config.json").read_text())
    assert set(stored) == {*SECTIONS, RESOLVED}
    assert stored["optimizer"]["steps"] == 4
    assert stored["resolved"]["steps_total"] == 4
    assert into_sections(read_run_config(run / "config.json")) == stored

    shutil.copytree(run, old)
    checkpoint = old / "checkpoints/step_00000002"
    for folder in (old, checkpoint):
        flat = read_run_config(folder / "config.json")
        (folder / "config.json").write_text(json.dumps(flat))
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["sha256"]["config.json"] = hash_file(checkpoint / "config.json")
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert smile_train.load(old).pretraining == smile_train.load(run).pretraining

    for out in (run, old):
        assert train(*words, "--resume", f"--out={out}") == 0
        given = pretrain.defaults(["--config", str(out / "config.json")])
        assert (given.steps, given.student) == (4, "mini")
    assert _weights(old, 4) == _weights(run, 4)


def _weights(run: Path, step: int) -> str:
    return read_manifest(run / "checkpoints" / f"step_{step:08d}").sha256["model.safetensors"]


def _stored(run: Path) -> dict[str, Any]:
    stored = read_run_config(run / "config.json")
    return {k: v for k, v in stored.items() if k not in ("out", "config", "minutes")}


def test_the_length_of_a_run_is_that_of_the_file(write: Callable[..., Path]) -> None:
    stored = PRESETS["tiny"].to_json() | {"steps": 120, "steps_total": 120}
    config = pretrain.defaults([f"--config={write(json.dumps(stored), 'config.json')}"])
    assert (config.steps, config.minutes) == (120, None)
    config = pretrain.defaults([f"--config={write('preset: tiny')}"])
    assert (config.steps, config.minutes) == (None, 2.0)
    config = pretrain.defaults([f"--config={write('steps: 7')}", "--preset=tiny"])
    assert (config.steps, config.minutes) == (7, None)
    config = pretrain.defaults([f"--config={write('steps: 7')}", "--preset=tiny", "--epochs=2"])
    assert (config.steps, config.minutes) == (None, None)


def test_a_file_changes_its_preset_and_the_command_line_both(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(
        "# ours\npreset: smile-vit-s\nvideos: ~/videos\nmask_ratio: 0.9\nbase_lr: 1e-3\n"
        "betas: [0.9, 0.99]\neffects: [motion-blur]\nknn: null\ntrack: none\n"
    )
    config = pretrain.defaults(["--config", str(path)])
    assert (config.preset, config.student, config.videos) == (
        *("smile-vit-s", "vit-s"),
        tmp_path / "videos",
    )
    assert (config.mask_ratio, config.base_lr, config.betas) == (0.9, 1e-3, (0.9, 0.99))
    assert (config.effects, config.knn, config.track) == (("motion-blur",), None, "none")
    same = write(json.dumps({"preset": "smile-vit-s", "mask_ratio": 0.9}), "run.json")
    assert pretrain.defaults(["--config", str(same)]).mask_ratio == 0.9

    other = pretrain.defaults(["--config", str(path), "--preset", "smile-vit-b"])
    assert (other.preset, other.student, other.mask_ratio) == ("smile-vit-b", "vit-b", 0.9)
    videos = write("videos: V")
    assert pretrain.defaults(["--config", str(videos)]).background_kind == "natural"
    noise = ["--config", str(videos), "--preset", "table7-noise"]
    assert pretrain.defaults(noise).background_kind == "natural"


def test_options_may_be_grouped_in_sections(write: Callable[..., Path]) -> None:
    flat = write("preset: smile-vit-s\nvideos: V\nmask_ratio: 0.9\ntarget: pixel\n", "flat.yaml")
    grouped = write(
        "run:\n  preset: smile-vit-s\ndata: {videos: V}\nmask: {mask_ratio: 0.9}\n"
        "target:\n  target: pixel\n"
    )
    configs = [pretrain.defaults(["--config", str(path)]) for path in (flat, grouped)]
    assert configs[0] == configs[1]
    assert (configs[0].mask_ratio, configs[0].target) == (0.9, "pixel")
    labeled = write("data:\n  dataset: ssv2\n  data: D\noptimizer: {batch: 8}\n")
    config = finetune.defaults(["--config", str(labeled)])
    assert (config.dataset, config.data, config.batch) == ("ssv2", Path("D"), 8)


def test_every_option_is_in_one_section() -> None:
    grouped = [name for names in SECTIONS.values() for name in names]
    options = {field.name for kind in (PretrainConfig, FinetuneConfig) for field in fields(kind)}
    assert sorted(grouped) == sorted(options)


def test_fine_tuning_and_probes_take_files_too(write: Callable[..., Path]) -> None:
    path = write("dataset: ssv2\nbatch: 8\ndata: D\n")
    config = finetune.defaults(["--config", str(path)])
    assert (config.preset, config.batch, config.data) == ("smile-ssv2", 8, Path("D"))
    assert config.segments == FINETUNE_PRESETS["smile-ssv2"].segments
    assert finetune.defaults(["--config", str(path), "--dataset", "k400"]).preset == "smile-k400"
    assert finetune.defaults(["--config", str(path), "--preset", "gym"]).preset == "gym"
    probe = Sigma.defaults(["--config", str(path)])
    assert (probe.protocol, probe.sampling, probe.batch) == ("linear-sigma", "uniform", 8)
    stored = FINETUNE_PRESETS["smile-ssv2"].to_json() | {
        "steps_total": 9,
        "classes": [],
        "model": "x",
    }
    own = write(json.dumps(stored | {"epochs": 3, "checkpoint": "C"}), "config.json")
    config = finetune.defaults(["--config", str(own)])
    assert (config.epochs, config.checkpoint, config.preset) == (3, Path("C"), "smile-ssv2")
    with pytest.raises(InputError, match=r"protocol is finetune, this command's is linear-sigma"):
        Sigma.defaults(["--config", str(own)])
    with pytest.raises(InputError, match=r"--preset gym has no effect with --config"):
        finetune.defaults(["--config", str(own), "--preset", "gym"])


def test_the_former_name_of_presets_is_taken(
    write: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    assert finetune.defaults(["--config", str(write("recipe: gym\n"))]).preset == "gym"
    with pytest.raises(InputError, match=r"recipe is preset, which is there too"):
        finetune.defaults(["--config", str(write("preset: gym\nrecipe: epic\n"))])
    config = FINETUNE_PRESETS["gym"]
    stored = config.to_json()
    stored["recipe"] = stored.pop("preset")
    assert config.differing(stored) == []
    assert config.differing(stored | {"recipe": "epic"}) == ["preset 'epic' there, 'gym' asked for"]
    capsys.readouterr()
    assert run_app("smile_train", "", COMMANDS, ["finetune", "--recipe=nothing"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("--recipe is now called --preset; ")
    assert said[1].startswith("smile_train finetune: --preset nothing: unknown; choose from ")
    assert run_app("smile_train", "", COMMANDS, ["finetune", "--list-recipes"]) == 0
    listed, said = capsys.readouterr()
    assert "videomae-ssv2" in listed
    assert "--list-recipes is now called --list-presets" in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.yaml",
            "mask_ration: 0.9",
            "mask_ration is an unknown option; did you mean mask_ratio?",
        ),
        ("a.yaml", "mask-ratio: 0.9", "mask-ratio is an unknown option; did you mean mask_ratio?"),
        ("a.yaml", "mask_ratio: 7", "a.yaml: mask_ratio is 7"),
        ("a.json", '{"mask_ratio": "0.9"}', "a.json: mask_ratio is '0.9'; expected"),
        ("a.yaml", "batch: 2.5", "batch is 2.5"),
        ("a.yaml", "compile: yes", "compile is 'yes'"),
        ("a.yaml", "student: vit-x", "student is 'vit-x'"),
        ("a.yaml", "preset: [tiny]", "a.yaml: preset ['tiny']: unknown; choose from tiny"),
        ("a.yaml", "preset: huge", "a.yaml: preset huge: unknown; choose from tiny"),
        ("a.yaml", "objects: 0", "a.yaml: --masking trajectory needs objects"),
        ("a.yaml", "mixed_share: 0.3", "a.yaml: --mixed-share has an effect only with --strategy"),
        ("a.yaml", "mask: {batch: 4}", "a.yaml: batch is in section mask; its own is optimizer"),
        ("a.yaml", "mask: {ratio: 0.9}", "a.yaml: ratio is an unknown option; did you mean mask_r"),
        ("a.yaml", "seed: 1\nrun: {seed: 1}", "a.yaml: seed is there twice"),
        ("a.yaml", "optimizer: adamw", "a.yaml: optimizer is an unknown option"),
        ("a.yaml", "config: b.yaml", "config names another file"),
        ("a.yaml", "seed: 1\nseed: 2", "a.yaml:1: not YAML (a key is there twice)"),
        ("a.yaml", "a: &a [1]\nb: *a", "a.yaml:2: not YAML (references are not read)"),
        ("a.yaml", "seed: [1", "a.yaml:1: not YAML"),
        ("a.yaml", "seed: !!python/object/apply:os.getcwd []", "a.yaml:1: not YAML"),
        ("a.yaml", "", "a.yaml: nothing in it; expected names of options"),
        ("a.yaml", "- 1", "a.yaml: a list; expected names of options"),
        ("a.yaml", "? [1, 2]\n: 3", "a.yaml"),
        ("a.yml", "[" * 5000, "a.yml: not YAML"),
        ("a.json", '{"seed": 1, "seed": 2}', "a.json: not JSON (a key is there twice)"),
        ("a.json", "{", "a.json: not JSON"),
        ("a.json", "[" * 100_000, "a.json: not JSON"),
        ("a.toml", "seed = 1", "a.toml: expected a file of settings, .json, .yaml or .yml"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_a_line(
    name: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    path.write_text(text)
    out = tmp_path / "run"
    given = [] if "preset" in text else ["--preset", "tiny"]
    assert train("pretrain", *given, "--config", path, "--out", out) == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert said in line
    assert not out.exists()


def test_no_file_and_two_files_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[..., Path]
) -> None:
    assert train("pretrain", "--config", tmp_path / "none.yaml") == 2
    assert "none.yaml: No such file" in capsys.readouterr().err
    path = write("seed: 1\npreset: tiny")
    assert train("pretrain", "--config", path, "--config", path) == 2
    assert "--config is given 2 times; write both into one file" in capsys.readouterr().err
    assert train("pretrain", "--preset", "tiny", "--preset", "smile-vit-b") == 2
    assert "--preset is given 2 times; choose one of them" in capsys.readouterr().err


def test_yaml_is_read_as_its_version_1_2_has_it() -> None:
    text = (
        b"a: 1e-3\nb: no\nc: 010\nd: 1:30\ne: 2020-01-01\nf: -4\ng: ~\nh: 5.\ni: true\nj: .5E+2\n"
    )
    assert parse_yaml(text, source="x") == {
        **{"a": 1e-3, "b": "no", "c": 10.0, "d": "1:30", "e": "2020-01-01", "f": -4},
        **{"g": None, "h": 5.0, "i": True, "j": 50.0},
    }


def test_other_draws_of_objects_are_another_run() -> None:
    banks = (Path("A"), Path("B"))
    config = PretrainConfig(bank=banks, bank_weights=(2.0, 1.0), categories=("cat",))
    stored = json.loads(json.dumps(config.to_json()))
    assert config.differing(stored) == []
    for change in ({"bank_weights": None}, {"bank_weights": (1.0, 1.0)}, {"categories": None}):
        (line,) = replace(config, **change).differing(stored)
        assert line.startswith(next(iter(change)))
    plain = PretrainConfig(bank=banks)
    earlier = {
        name: value for name, value in plain.to_json().items() if name not in BANK_FIELDS[1:]
    }
    assert plain.differing(earlier) == []  # A run of a release without these options.
