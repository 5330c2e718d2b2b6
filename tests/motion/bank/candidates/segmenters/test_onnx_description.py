from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank.candidates.segmenters import WELL_KNOWN, ModelDescription, open_segmenter
from smile_motion.errors import InputError
from support.segmented import CAT, assert_same, segment
from support.tiny_segmenters import write_tiny_onnx_segmenter


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


def test_a_description_in_code_is_checked_too() -> None:
    with pytest.raises(ValueError, match="expected positive"):
        ModelDescription(size_px=(64, -1))
