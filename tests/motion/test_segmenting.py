import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from no_network import no_network
from onnx import TensorProto, helper
from PIL import Image
from smile_motion.bank.candidates import Category, Mask
from smile_motion.bank.segmenting import WELL_KNOWN, ModelDescription, open_segmenter
from smile_motion.errors import InputError
from tiny_models import write_tiny_clipseg, write_tiny_onnx_segmenter

CAT = Category("cat")


@pytest.fixture(scope="module")
def disc() -> np.ndarray:
    """A disc right of the middle of a landscape image: (160, 240) bool."""
    y, x = np.mgrid[:160, :240]
    return np.hypot(x - 150, y - 80) < 55


@pytest.fixture(scope="module")
def pasted(photographs: Path, disc: np.ndarray) -> np.ndarray:
    """Real photographs seen through the disc, on plain grounds of several colours."""
    grounds = [(255, 255, 255), (0, 0, 0), (20, 200, 40)]
    images = []
    for name, ground in zip(("chelsea", "coffee", "flower"), grounds, strict=True):
        path = next(photographs.glob(f"{name}.*"))
        photograph = np.asarray(Image.open(path).convert("RGB").resize((240, 160)))
        images.append(np.where(disc[..., None], photograph, np.uint8(ground)))
    return np.stack(images)


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clipseg(tmp_path_factory.mktemp("models") / "clipseg")


def overlap(mask: Mask, truth: np.ndarray) -> float:
    """Intersection over union of the mask above 128 and the truth."""
    found = mask.alpha > 128
    return float((found & truth).sum() / (found | truth).sum())


def segment(path: Path | str, images: np.ndarray, **options: int) -> list[Mask]:
    return open_segmenter(str(path), **options).segment(images, [CAT] * len(images))


def assert_same(left: list[Mask], right: list[Mask], *, levels: int = 0) -> None:
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert np.abs(one.alpha.astype(int) - other.alpha).max() <= levels
        assert one.raw_max == pytest.approx(other.raw_max, abs=levels / 255)


def test_real_photographs_on_plain_grounds_are_found(
    tmp_path: Path, pasted: np.ndarray, disc: np.ndarray
) -> None:
    model = write_tiny_onnx_segmenter(tmp_path / "isnet.onnx", size_px=128)
    masks = segment(model, pasted)
    for mask in masks:
        assert mask.alpha.shape == disc.shape
        assert mask.alpha.dtype == np.uint8
        assert (mask.alpha.min(), mask.alpha.max()) == (0, 255)
        assert mask.raw_max > 0.99
    # The photographs are dark or light in places, so that not all differs from black or white.
    assert [overlap(mask, disc) for mask in masks] == pytest.approx([0.9, 0.9, 0.95], abs=0.1)


@pytest.mark.parametrize("colour", [(250, 20, 20), (10, 10, 200), (255, 255, 255)])
def test_a_known_shape_gives_its_mask(
    tmp_path: Path, disc: np.ndarray, colour: tuple[int, int, int]
) -> None:
    image = np.where(disc[..., None], np.uint8(colour), np.uint8((90, 120, 90)))
    model = write_tiny_onnx_segmenter(tmp_path / "isnet.onnx", size_px=128, threshold=0.25)
    assert overlap(segment(model, image[None])[0], disc) > 0.97


def test_the_batch_does_not_matter(tmp_path: Path, pasted: np.ndarray) -> None:
    free = write_tiny_onnx_segmenter(tmp_path / "free.onnx")
    whole = segment(free, pasted, batch=8, threads=1)
    assert_same(whole, segment(free, pasted, batch=2, threads=1))
    assert_same(whole, segment(free, pasted, batch=8, threads=2))
    assert_same(whole, segment(free, pasted, batch=8, threads=1))
    for fixed in (1, 2):
        path = write_tiny_onnx_segmenter(tmp_path / f"fixed{fixed}.onnx", batch=fixed)
        assert_same(whole, segment(path, pasted, batch=8))


def test_the_description_beside_the_model_is_followed(tmp_path: Path, pasted: np.ndarray) -> None:
    usual = segment(write_tiny_onnx_segmenter(tmp_path / "usual.onnx"), pasted)
    mean, std = (128 / 255,) * 3, (256 / 255,) * 3
    path = write_tiny_onnx_segmenter(tmp_path / "isnet.onnx", mean=mean, std=std, describe=False)
    toml = path.with_suffix(".toml")
    toml.write_text("size_px = [64, 64]\nshift = 128\nscale = 256\n")
    assert_same(segment(path, pasted), usual, levels=1)
    toml.write_text("size_px = 64\n")  # ImageNet's: wrong for this one
    wrong = segment(path, pasted)
    assert any((a.alpha != b.alpha).mean() > 0.05 for a, b in zip(wrong, usual, strict=True))


def test_a_logit_goes_through_the_sigmoid_that_is_asked_for(
    tmp_path: Path, pasted: np.ndarray
) -> None:
    inside = segment(write_tiny_onnx_segmenter(tmp_path / "inside.onnx"), pasted)
    path = write_tiny_onnx_segmenter(tmp_path / "outside.onnx", sigmoid=False)
    assert_same(segment(path, pasted), inside, levels=1)
    path.with_suffix(".toml").write_text("size_px = 64\n")
    with pytest.raises(InputError, match=r"runs from -.* expected 0 to 1; say sigmoid = true"):
        segment(path, pasted)


def test_a_model_in_half_precision_answers_nearly_the_same(
    tmp_path: Path, pasted: np.ndarray
) -> None:
    exact = segment(write_tiny_onnx_segmenter(tmp_path / "exact.onnx"), pasted)
    half = write_tiny_onnx_segmenter(tmp_path / "half.onnx", half=True)
    for mask, wanted in zip(segment(half, pasted), exact, strict=True):
        assert np.abs(mask.alpha.astype(int) - wanted.alpha).mean() < 1


def test_one_of_several_outputs_is_named_or_numbered(tmp_path: Path, pasted: np.ndarray) -> None:
    usual = segment(write_tiny_onnx_segmenter(tmp_path / "usual.onnx"), pasted)
    path = write_tiny_onnx_segmenter(tmp_path / "many.onnx", outputs=3)
    assert_same(segment(path, pasted), usual)
    toml = path.with_suffix(".toml")
    toml.write_text("size_px = 64\noutput = 0\n")
    assert_same(segment(path, pasted), usual)
    toml.write_text('size_px = 64\noutput = "side2"\n')
    other = segment(path, pasted)[0]
    assert np.abs(255 - other.alpha.astype(int) - usual[0].alpha).max() <= 1
    toml.write_text("size_px = 64\n")
    with pytest.raises(InputError, match=r"3 outputs \(mask, side1, side2\); say which"):
        open_segmenter(str(path))


def test_well_known_files_need_no_description(tmp_path: Path, pasted: np.ndarray) -> None:
    with_toml = write_tiny_onnx_segmenter(tmp_path / "mine.onnx", size_px=320)
    path = write_tiny_onnx_segmenter(
        tmp_path / "u2net.onnx", size_px=320, outputs=7, describe=False
    )
    segmenter = open_segmenter(str(path))
    assert segmenter.card()["input_size_px"] == [320, 320]
    light = pasted.copy()
    light[..., 0, :] = 255  # the brightest pixel is 255, so that dividing by it changes nothing
    assert_same(segmenter.segment(light, [CAT] * 3), segment(with_toml, light))
    dark = light // 2
    dimmed = segmenter.segment(dark, [CAT] * 3)
    same = (dark * (255 / 127)).clip(0, 255).astype(np.uint8)
    assert_same(dimmed, segmenter.segment(same, [CAT] * 3), levels=12)
    assert (segment(with_toml, dark)[0].alpha != dimmed[0].alpha).any()
    assert WELL_KNOWN["isnet-general-use"].std == (1, 1, 1)
    assert WELL_KNOWN["birefnet"].sigmoid


def test_a_weak_answer_is_stretched_but_its_maximum_is_kept(tmp_path: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "model.onnx", threshold=0.5, sharpness=10)
    y, x = np.mgrid[:64, :64]
    faint = np.where((np.hypot(x - 32, y - 32) < 20)[..., None], np.uint8(200), np.uint8(150))
    mask = segment(path, np.repeat(faint, 3, -1)[None])[0]
    assert mask.raw_max == pytest.approx(1 / (1 + np.exp(10 * (0.5 - 50 / 255))), abs=1e-3)
    assert mask.alpha.max() == 255


def test_a_constant_answer_finds_nothing(tmp_path: Path) -> None:
    images = np.full((1, 48, 48, 3), 90, np.uint8)
    for threshold, raw_max in ((0.5, 0.0), (-0.5, 1.0)):
        path = write_tiny_onnx_segmenter(tmp_path / "model.onnx", threshold=threshold)
        with np.errstate(all="raise"):
            mask = segment(path, images)[0]
        assert not mask.alpha.any()
        assert mask.raw_max == pytest.approx(raw_max, abs=1e-6)


def test_colours_under_transparent_pixels_are_not_seen(
    tmp_path: Path, pasted: np.ndarray, disc: np.ndarray
) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "model.onnx")
    alpha = np.repeat(np.uint8(255) * disc[None, ..., None], 3, axis=0)
    hidden = np.where(disc[..., None], pasted, np.uint8((255, 0, 255)))
    on_white = np.where(disc[..., None], pasted, np.uint8(255))
    assert_same(segment(path, np.concatenate([hidden, alpha], -1)), segment(path, on_white))


def test_the_card_names_the_file_by_its_hash(tmp_path: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "isnet.onnx", size_px=96)
    card = open_segmenter(f"other={path}").card()
    assert card == {
        "name": "other",
        "kind": "onnx",
        "file": "isnet.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "input_size_px": [96, 96],
    }
    assert open_segmenter(str(path)).name == "isnet"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("size_px = 64\nmeans = 1", r"unknown key 'means'; it may hold size_px, mean, std"),
        ("sigmoid = true", r"no size_px; add the model's input size, such as size_px = 1024"),
        ("size_px = 128", r"shape \(N, 3, 64, 64\), expected \(images, 3, 128, 128\); correct"),
        ("size_px = 64\ninput = 'image'", r"named 'input', its TOML says 'image'; correct"),
        ("size_px = 64\noutput = 'alpha'", r"no output 'alpha', it has mask; correct its TOML"),
        ("size_px = 64\noutput = 1", r"no output 1, it has mask; correct its TOML"),
        ("size_px = '64'", r"size_px '64': expected a number, or 2 of them"),
        ("size_px = 6.5", r"size_px 6.5: expected whole numbers"),
        ("size_px = 0", r"size_px \(0, 0\): expected positive"),
        ("size_px = 64\nmean = [1, 2]", r"mean \[1, 2\]: expected a number, or 3 of them"),
        ("size_px = 64\nstd = 0", r"std \(0, 0, 0\): expected positive"),
        ("size_px = 64\nsigmoid = 1", r"sigmoid 1: expected bool"),
        ("size_px = 64\noutput = true", r"output True: expected str or int"),
        ("size_px = 64\nmean = 1\nshift = 1", r"both shift and mean; keep one of them"),
        ("size_px = ", r"model.toml: Invalid value"),
    ],
)
def test_a_description_that_does_not_fit_is_refused(
    tmp_path: Path, toml: str, message: str
) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "model.onnx")
    path.with_suffix(".toml").write_text(toml)
    with pytest.raises(InputError, match=message) as refusal:
        open_segmenter(str(path))
    assert str(refusal.value).startswith(str(tmp_path / "model."))
    assert "\n" not in str(refusal.value)


def test_a_model_without_description_or_none_at_all_is_refused(tmp_path: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "mine.onnx", describe=False)
    with pytest.raises(InputError, match=r"no mine.toml beside it; write one .* isnet-general-use"):
        open_segmenter(str(path))
    with pytest.raises(InputError, match=r"absent.onnx: no such file; give"):
        open_segmenter(str(tmp_path / "absent.onnx"))
    path.with_suffix(".toml").write_text("size_px = 64")
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match=r"mine.onnx: not a model that onnxruntime reads .*again"):
        open_segmenter(str(path))


@pytest.mark.parametrize(
    ("inputs", "output", "message"),
    [
        ([["N", 3, 64, 64], ["N", 3, 64, 64]], 4, r"2 inputs \(in0, in1\), expected one"),
        ([["N", 4, 64, 64]], 4, r"shape \(N, 4, 64, 64\), expected \(images, 3, 64, 64\)"),
        ([["N", 64, 64]], 3, r"its input has the shape \(N, 64, 64\), expected"),
        ([["N", 3, 64, 64]], 2, r"output out has the shape \(a, 12288\), expected \(images"),
        ([["N", 3, 64, 64]], 4, r"output out has the shape \(1, 3, 64, 64\) for 1 images"),
    ],
)
def test_a_model_of_another_form_is_refused(
    tmp_path: Path, inputs: list[list[int | str]], output: int, message: str
) -> None:
    path = tmp_path / "model.onnx"
    path.with_suffix(".toml").write_text("size_px = 64")
    names = [f"in{number}" for number in range(len(inputs))]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, inputs, strict=True)
    ]
    nodes = [helper.make_node("Sum", names, ["sum"])]
    nodes.append(
        helper.make_node("Flatten", ["sum"], ["out"])
        if output == 2
        else helper.make_node("Sigmoid", ["sum"], ["out"])
    )
    found = helper.make_tensor_value_info("out", TensorProto.FLOAT, list("abcd"[:output]))
    graph = helper.make_graph(nodes, "other", values, [found])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), str(path))
    with pytest.raises(InputError, match=message):
        segment(path, np.zeros((1, 64, 64, 3), np.uint8))


def test_onnxruntime_leaves_nothing_in_the_users_cache(tmp_path: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys, numpy as np\n"
        "from smile_motion.bank.segmenting import open_segmenter\n"
        "segmenter = open_segmenter(sys.argv[1])\n"
        "print(segmenter.segment(np.zeros((1, 9, 9, 3), np.uint8), [])[0].alpha.shape)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "(9, 9)\n"
    assert [entry for entry in home.rglob("*") if entry.is_file()] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_never_replaced_silently(tmp_path: Path, clipseg: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "model.onnx")
    for spec in (str(path), f"clipseg={clipseg}"):
        with pytest.raises(InputError, match=r"cuda: torch sees 0 CUDA devices .* --device cpu"):
            open_segmenter(spec, device="cuda")
    with pytest.raises(InputError, match="expected auto, cpu, cuda"):
        open_segmenter(str(path), device="gpu")


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


def test_full_takes_an_images_own_alpha(pasted: np.ndarray, disc: np.ndarray) -> None:
    alpha = np.repeat(np.uint8(180) * disc[None, ..., None], 3, axis=0)
    segmenter = open_segmenter("full")
    for mask in segmenter.segment(np.concatenate([pasted, alpha], -1), [CAT] * 3):
        assert (mask.alpha == np.uint8(180) * disc).all()
        assert mask.raw_max == pytest.approx(180 / 255)
    with pytest.raises(InputError, match="images of category 'cat' have no alpha channel; use"):
        segmenter.segment(pasted, [CAT] * 3)
    assert open_segmenter("own=full").card() == {"name": "own", "kind": "full"}


def test_a_path_may_hold_an_equals_sign_and_nonsense_is_refused(tmp_path: Path) -> None:
    path = write_tiny_onnx_segmenter(tmp_path / "size=64" / "u2netp.onnx")
    assert open_segmenter(str(path)).name == "u2netp"
    for spec in ("", "isnet", "rembg=", "full=x"):
        with pytest.raises(InputError, match=r"expected a path to an .onnx file, clipseg"):
            open_segmenter(spec)
    with pytest.raises(InputError, match=r"batch of 0; expected at least 1"):
        open_segmenter("full", batch=0)
    with pytest.raises(InputError, match=r"0 threads for a segmenter; expected at least 1"):
        open_segmenter(str(path), threads=0)


def test_a_description_in_code_is_checked_too() -> None:
    with pytest.raises(ValueError, match="expected positive"):
        ModelDescription(size_px=(64, -1))
