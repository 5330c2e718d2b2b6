"""What an ONNX file does not say of itself: how its images are prepared and its output read."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError
from smile_motion.io.text import read_text

LARGEST_INPUT_PX = 8192
"""Longest side of what a model is fed."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """How to feed a segmentation model and read it. A TOML file has the fields as its keys.

    Instead of `mean` and `std` it may say `shift` and `scale`, in units of 0 to 255.
    """

    size_px: tuple[int, int]
    """Height and width of its input; one number in a TOML means both."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from red, green and blue of 0 to 1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divides what is left."""
    divide_by_max: bool = False
    """Divide pixels by the image's own maximum, not by 255, before."""
    input: str | None = None
    """Name of the input; None takes the only one."""
    output: str | int | None = None
    """Name or number, from 0, of the output with the mask; None takes the only one."""
    sigmoid: bool = False
    """The output still needs a sigmoid to lie between 0 and 1."""

    def __post_init__(self) -> None:
        """Raise ValueError for what cannot be."""
        if not 1 <= min(self.size_px) <= max(self.size_px) <= LARGEST_INPUT_PX:
            raise ValueError(
                f"size_px {self.size_px}: expected positive numbers, {LARGEST_INPUT_PX} at most"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))):
            raise ValueError(f"mean {self.mean}, std {self.std}: expected finite numbers")
        if min(self.std) <= 0:
            raise ValueError(f"std {self.std}: expected positive numbers")

    @classmethod
    def beside(cls, model: Path) -> ModelDescription:
        """Read the TOML beside a model, such as `isnet.toml` beside `isnet.onnx`.

        Without one, well-known file names are described here (`WELL_KNOWN`).
        Raises InputError when there is neither, or the TOML says something else.
        """
        path = model.with_suffix(".toml")
        if not path.is_file():
            if model.stem.lower() in WELL_KNOWN:
                return WELL_KNOWN[model.stem.lower()]
            raise InputError(
                f"{model}: no {path.name} beside it; write one with the input size, such as "
                f"size_px = 1024 (known without: {', '.join(WELL_KNOWN)})"
            )
        try:
            table = tomllib.loads(read_text(path, remedy="write it anew"))
            return cls(**_read(table))
        except RecursionError as error:
            raise InputError(f"{path}: nested too deeply; write it anew") from error
        except (tomllib.TOMLDecodeError, ValueError) as error:
            raise InputError(f"{path}: {error}") from error


_U2NET = ModelDescription(size_px=(320, 320), divide_by_max=True, output=0)
"""U2-Net, data_loader.py: RescaleT(320), then ToTensorLab(flag=0); the first output is fused."""
_ISNET = ModelDescription(size_px=(1024, 1024), mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), output=0)
"""IS-Net (DIS), Inference.py: 1024 px, normalize(image, [0.5] * 3, [1.0] * 3), first output."""
_BIREFNET = ModelDescription(size_px=(1024, 1024), output=0, sigmoid=True)
"""BiRefNet, README and the published exports: 1024 px, ImageNet's mean and std, a logit."""

WELL_KNOWN = {
    **dict.fromkeys(("u2net", "u2netp"), _U2NET),
    **dict.fromkeys(("isnet", "isnet-general-use"), _ISNET),
    **dict.fromkeys(
        ("birefnet", "birefnet-general", "birefnet-general-lite", "birefnet-general-epoch_244"),
        _BIREFNET,
    ),
}
"""Published models by their files' usual stems, as their authors' inference code feeds them."""


def _read(table: dict[str, Any]) -> dict[str, Any]:
    """Check a TOML's entries and bring them into the fields' form."""
    known = [field.name for field in fields(ModelDescription)]
    if unknown := sorted(set(table) - {*known, "shift", "scale"}):
        raise ValueError(
            f"unknown key {unknown[0]!r}; it may hold {', '.join(known)}, shift, scale"
        )
    if "size_px" not in table:
        raise ValueError("no size_px; add the model's input size, such as size_px = 1024")
    read = dict(table)
    for name, unit, field in (("shift", 255, "mean"), ("scale", 255, "std")):
        if name in read:
            if field in read:
                raise ValueError(f"both {name} and {field}; keep one of them")
            read[field] = [part / unit for part in _numbers(name, read.pop(name), 3)]
    for field, count in (("size_px", 2), ("mean", 3), ("std", 3)):
        if field in read:
            read[field] = _numbers(field, read[field], count)
    if not all(isinstance(side, int) for side in read["size_px"]):
        raise ValueError(f"size_px {table['size_px']!r}: expected whole numbers")
    for field, kinds in (
        ("divide_by_max", (bool,)),
        ("sigmoid", (bool,)),
        ("input", (str,)),
        ("output", (str, int)),
    ):
        if field in read and type(read[field]) not in kinds:
            expected = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"{field} {read[field]!r}: expected {expected}")
    return read


def _numbers(name: str, value: Any, count: int) -> tuple[Any, ...]:
    values = value if isinstance(value, list) else [value] * count
    sound = len(values) == count
    if not (sound and all(type(part) in (int, float) for part in values)):
        raise ValueError(f"{name} {value!r}: expected a number, or {count} of them")
    return tuple(values)
