from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.errors import InputError
from support.segmented import CAT
from support.tiny_segmenters import write_tiny_onnx_segmenter


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
