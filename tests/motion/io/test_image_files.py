"""Every kind of image file that people have gives the picture that they see."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from smile_motion.bank.candidates.images import PhotographSource
from smile_motion.bank.format import read_rgba
from smile_motion.io.images import read_photograph

GREY = np.linspace(0, 255, 48).astype(np.uint8)[None].repeat(32, axis=0)
"""A ramp, which clipping, inverting or swapping bytes would change."""


@pytest.fixture(scope="module")
def colors(photographs: Path) -> np.ndarray:
    image = Image.open(next(photographs.glob("chelsea.*"))).convert("RGB").resize((48, 32))
    return np.asarray(image)


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    assert cv2.imwrite(str(path), GREY.astype(np.uint16) * 257)
    assert (read_photograph(path) == GREY[..., None]).all()
    rgba = read_rgba(path)
    assert (rgba[..., :3] == GREY[..., None]).all()
    assert (rgba[..., 3] == 255).all()


def test_a_clear_value_of_16_bit_grey_is_clear(tmp_path: Path) -> None:
    path = tmp_path / "clear.png"
    Image.fromarray(GREY.astype(np.uint16) * 257).save(path, transparency=0)
    rgba = read_rgba(path)
    assert ((rgba[..., 3] == 0) == (GREY == 0)).all()
    assert (read_photograph(path)[GREY == 0] == 255).all()


def test_16_bit_colours_are_scaled(colors: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    deep = cv2.cvtColor(colors, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257
    assert cv2.imwrite(str(path), deep)
    assert (read_photograph(path) == colors).all()
    alpha = GREY.astype(np.uint16) * 257
    assert cv2.imwrite(str(path), np.dstack([deep, alpha]))
    assert (read_rgba(path) == np.dstack([colors, GREY])).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_modes_show_what_they_hold(mode: str, colors: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(colors).convert(mode)
    expected = np.asarray(image.convert("RGB")).astype(int)
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    image.save(path, **({"quality": 100, "subsampling": 0} if mode == "CMYK" else {}))
    assert np.abs(read_photograph(path) - expected).mean() < (3 if mode == "CMYK" else 1e-9)
    assert read_rgba(path).shape == (32, 48, 4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_clear_shows_white_in_photographs_and_stays_clear_in_objects(
    mode: str, colors: np.ndarray, tmp_path: Path
) -> None:
    alpha = np.zeros((32, 48), np.uint8)
    alpha[8:24, 8:40] = 255
    whole = Image.fromarray(np.dstack([colors * (alpha[..., None] > 0), alpha]), "RGBA")
    path = tmp_path / "cut.png"
    if mode == "P":
        quantised = whole.convert("RGB").quantize(255)
        index = np.asarray(quantised).copy()
        index[alpha == 0] = 255
        palette = Image.fromarray(index, "P")
        palette.putpalette((quantised.getpalette() or []) + [9, 9, 9])
        palette.save(path, transparency=255)
    else:
        whole.convert(mode).save(path)
    photograph = read_photograph(path)
    assert (photograph[alpha == 0] == 255).all()
    assert (read_rgba(path)[..., 3] == alpha).all()
    made = PhotographSource.open(_in_folder(path), seed=0, largest_px=64)
    assert made is not None


def _in_folder(path: Path) -> Path:
    folder = path.parent / "photographs/cat"
    folder.mkdir(parents=True)
    (folder / path.name).write_bytes(path.read_bytes())
    return folder.parent


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation: int, colors: np.ndarray, tmp_path: Path) -> None:
    """Turned and mirrored as a camera notes it, for photographs and objects alike."""
    stored = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](colors)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    assert (read_photograph(path) == colors).all()
    assert (read_rgba(path)[..., :3] == colors).all()
