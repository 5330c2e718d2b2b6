import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.errors import InputError
from support.segmented import assert_same, overlap, segment
from support.tiny_segmenters import write_tiny_onnx_segmenter


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


@pytest.mark.parametrize("color", [(250, 20, 20), (10, 10, 200), (255, 255, 255)])
def test_a_known_shape_gives_its_mask(
    tmp_path: Path, disc: np.ndarray, color: tuple[int, int, int]
) -> None:
    image = np.where(disc[..., None], np.uint8(color), np.uint8((90, 120, 90)))
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


def test_a_model_in_half_precision_answers_nearly_the_same(
    tmp_path: Path, pasted: np.ndarray
) -> None:
    exact = segment(write_tiny_onnx_segmenter(tmp_path / "exact.onnx"), pasted)
    half = write_tiny_onnx_segmenter(tmp_path / "half.onnx", half=True)
    for mask, wanted in zip(segment(half, pasted), exact, strict=True):
        assert np.abs(mask.alpha.astype(int) - wanted.alpha).mean() < 1


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
        "from smile_motion.bank.candidates.segmenters import open_segmenter\n"
        "segmenter = open_segmenter(sys.argv[1])\n"
        "print(segmenter.segment(np.zeros((1, 9, 9, 3), np.uint8), [])[0].alpha.shape)\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ORT_")}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "(9, 9)\n"
    assert [entry for entry in home.rglob("*") if entry.is_file()] == []
