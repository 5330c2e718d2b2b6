import hashlib
import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.bank.candidates.types import Category
from smile_motion.errors import InputError
from support.no_network import no_network
from support.segmented import CAT, assert_same
from support.tiny_segmenters import write_tiny_clipseg


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clipseg(tmp_path_factory.mktemp("models") / "clipseg")


def test_clipseg_answers_as_transformers_alone_does(clipseg: Path, pasted: np.ndarray) -> None:
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    categories = [Category("cat"), Category("fire_engine"), Category("flower")]
    masks = open_segmenter(f"clipseg={clipseg}").segment(pasted, categories)
    model = CLIPSegForImageSegmentation.from_pretrained(clipseg)
    processor = CLIPSegProcessor.from_pretrained(clipseg)
    texts = ["a photo of cat", "a photo of fire engine", "a photo of flower"]
    given = processor(text=texts, images=list(pasted), padding=True, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**given).logits.sigmoid().numpy()
    for mask, output in zip(masks, outputs, strict=True):
        assert mask.raw_max == pytest.approx(output.max(), abs=1e-5)
        field = cv2.resize(output, (240, 160), interpolation=cv2.INTER_LINEAR)
        field = (field - field.min()) / (field.max() - field.min()) * 255
        assert np.abs(mask.alpha - field).max() <= 1.5


def test_clipsegs_prompt_matters_and_its_neighbours_do_not(
    clipseg: Path, pasted: np.ndarray
) -> None:
    categories = [Category("cat"), Category("grandfather clock of the seventeenth century"), CAT]
    segmenter = open_segmenter(f"clipseg={clipseg}", batch=3)
    masks = segmenter.segment(pasted, categories)
    alone = open_segmenter(f"clipseg={clipseg}", batch=1).segment(pasted, categories)
    assert_same(masks, alone, levels=1)
    other = segmenter.segment(pasted, [Category("teapot"), *categories[1:]])
    assert np.abs(other[0].alpha.astype(int) - masks[0].alpha).max() > 2


def test_clipseg_from_a_folder_calls_nobody(clipseg: Path, pasted: np.ndarray) -> None:
    assert os.environ.get("HF_HUB_OFFLINE") is None
    with no_network() as tried:
        segmenter = open_segmenter(f"mine=clipseg={clipseg}")
        segmenter.segment(pasted, [CAT] * 3)
    assert tried == []
    card = segmenter.card()
    weights = (clipseg / "model.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(weights).hexdigest()
    assert (card["name"], card["model"], card["revision"]) == ("mine", "clipseg", None)
    assert card["input_size_px"] == [64, 64]


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("config.json", r"no config.json; give the folder that save_pretrained wrote"),
        ("model.safetensors", r"no weights \(model.safetensors or .*\); save the model"),
        ("tokenizer.json", r"no tokenizer \(tokenizer.json or vocab.json\); save the model"),
        ("processor_config.json", r"no image processor \(preprocessor_config.json or"),
    ],
)
def test_a_clipseg_that_lacks_a_part_is_refused(
    clipseg: Path, tmp_path: Path, missing: str, message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clipseg, copy)
    (copy / missing).unlink()
    with pytest.raises(InputError, match=message):
        open_segmenter(f"clipseg={copy}")


def test_another_model_or_torn_weights_are_no_clipseg(clipseg: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = tmp_path / "copy"
    shutil.copytree(clipseg, copy)
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.startswith("decoder"))
    kept = {key: value for key, value in weights.items() if key != name}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=rf"weights lack {name}; use a whole CLIPSeg"):
        open_segmenter(f"clipseg={copy}")
    torn = (clipseg / "model.safetensors").read_bytes()[:-100]
    (copy / "model.safetensors").write_bytes(torn)
    with pytest.raises(InputError, match=r"copy: CLIPSeg cannot be opened \(.*\); save it again"):
        open_segmenter(f"clipseg={copy}")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(InputError, match=r"a model of type clip, expected clipseg"):
        open_segmenter(f"clipseg={copy}")
    with pytest.raises(InputError, match=r"no folder of a CLIPSeg; give clipseg=FOLDER"):
        open_segmenter(f"clipseg={tmp_path / 'absent'}")
