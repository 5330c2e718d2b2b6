"""Model cards of exports: what a run's folder tells of its model."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from smile_motion.bank import ObjectBank
from smile_motion.cli.app import run_app
from smile_motion.tokens import TokenGrid
from smile_train.__main__ import COMMANDS
from smile_train.checkpoints.files import write_checkpoint
from smile_train.config.pretrain import PretrainConfig
from smile_train.encoders.video_encoder import hash_encoder, load
from smile_train.evaluation.results import Results
from smile_train.models.config import StudentConfig
from smile_train.models.mae import PretrainModel

GRID = TokenGrid(frames=4, height=64, width=64)
SMALL = StudentConfig(
    width=64, depth=2, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2
)


@pytest.fixture
def run(tmp_path: Path, small_bank: ObjectBank) -> Path:
    """A pre-training run with measures, a probe of its weights, and one of others."""
    torch.manual_seed(0)
    model = PretrainModel(SMALL, GRID, 3 * GRID.token_pixels)
    options = PretrainConfig(target="pixel", bank=small_bank.folders[0], seed=5, recipe="official")
    config = {
        **options.to_json(),
        "student_config": asdict(SMALL),
        "grid": asdict(GRID),
        "trained_grid": asdict(GRID),
        "target_dim": model.target_dim,
        "steps_total": 7,
        "bank_sha256": small_bank.card["metadata_sha256"],
    }
    folder = tmp_path / "runs/first"
    checkpoint = folder / "checkpoints/step_00000007"
    checkpoint.parent.mkdir(parents=True)
    write_checkpoint(checkpoint, 7, weights=model.state_dict(), training={}, config=config)
    measures = [{"step": 3, "token_rank": 2.0}, {"step": 7, "token_rank": 11.25}]
    lines = "".join(json.dumps(measure) + "\n" for measure in measures)
    (folder / "measures.jsonl").write_text(lines)
    for name, sha256, top1 in (
        ("knn", hash_encoder(load(str(checkpoint))), 61.5),
        ("others", "0" * 64, 99.5),
    ):
        Results(
            protocol="knn",
            dataset="ucf101",
            split="test",
            samples=10,
            metrics={"top1": top1},
            main_metric="top1",
            checkpoint={"source": "runs/first", "sha256": sha256},
        ).write(tmp_path / f"runs/{name}")
    return folder


@pytest.mark.parametrize(("to", "library"), [("hub", "smile-train"), ("transformers", None)])
def test_a_card_tells_recipe_bank_seed_and_probes(
    run: Path, small_bank: ObjectBank, tmp_path: Path, to: str, library: str | None
) -> None:
    out = tmp_path / "my-model"
    assert (
        run_app("smile_train", "", COMMANDS, ["export", str(run), f"--to={to}", f"--out={out}"])
        == 0
    )
    card = ModelCard.load(out / "README.md")
    assert card.data.library_name == (library or to)
    assert card.data.license == "other"
    assert card.data.tags == ["video", "masked-autoencoder", "smile"]
    assert card.data.pipeline_tag == "feature-extraction"
    text = card.text
    assert text.lstrip().startswith("# my-model")
    rows = dict(re.findall(r"^\| ([\w ]+) \| (.+) \|$", text, re.M))
    assert rows["recipe"] == "official"
    assert rows["seed"] == "5"
    assert rows["steps total"] == "7"
    assert rows["bank sha256"] == small_bank.card["metadata_sha256"]
    assert "| knn | ucf101, test | top1 61.5 |" in text
    assert "99.5" not in text, "a probe of other weights"
    assert "| token rank | step 7 | 11.2 |" in text
    assert f"Objects of the bank {small_bank.path.name}:" in text
    assert str(tmp_path) not in text
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict = {}
    exec(code.replace("'my-model'", repr(str(out))), names)
    assert names["model"] is not None


def test_a_published_file_has_a_card_that_says_what_is_not_known(run: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "model.pth", tmp_path / "hub"
    for words in ([str(run), "--to=official", f"--out={file}"], [str(file), "--to=hub"]):
        words = words if words[-1].startswith("--out") else [*words, f"--out={out}"]
        assert run_app("smile_train", "", COMMANDS, ["export", *words]) == 0
    text = (out / "README.md").read_text()
    assert "Not known: the checkpoint has no configuration" in text
    assert "No probe of these weights" in text
