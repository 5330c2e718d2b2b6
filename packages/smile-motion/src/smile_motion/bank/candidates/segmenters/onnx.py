"""Saliency models as ONNX files: U2-Net, IS-Net, BiRefNet and similar."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from smile_motion.bank.candidates.types import Category, Mask, to_mask
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.files import hash_file, read_text
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD, opaque
from smile_motion.runtime.devices import available_cores, choose_device
from smile_motion.runtime.extras import require_libraries

LARGEST_INPUT_PX = 8192
"""Longest side of a model's input, pixels."""


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """Preprocessing and output of a segmentation model. The keys of a TOML file are the fields.

    Instead of `mean` and `std` it may have `shift` and `scale`, in units of 0 to 255.
    """

    size_px: tuple[int, int]
    """Height and width of the input, pixels; a single number in a TOML file means both."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from red, green and blue, 0 to 1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divides the differences."""
    divide_by_max: bool = False
    """Divide pixels by the image's maximum instead of 255 first."""
    input: str | None = None
    """Name of the input; None means the only one."""
    output: str | int | None = None
    """Name or number, from 0, of the output with the mask; None means the only one."""
    sigmoid: bool = False
    """Apply a sigmoid to the output."""

    def __post_init__(self) -> None:
        """Raise ValueError for values out of range."""
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
        """Read the TOML file beside a model, such as `isnet.toml` beside `isnet.onnx`.

        Args:
            model: Path of the ONNX file; well-known stems need no TOML file (`WELL_KNOWN`).

        Raises:
            InputError: The TOML file is missing or invalid.
        """
        path = model.with_suffix(".toml")
        if not path.is_file():
            if model.stem.lower() in WELL_KNOWN:
                return WELL_KNOWN[model.stem.lower()]
            raise InputError(
                f"{model}: no {path.name} beside it; write one with the input size, such as "
                f"size_px = 1024 (known without: {', '.join(WELL_KNOWN)})"
            )
        text = read_text(path, remedy="write it anew")
        try:
            return cls(**_read(tomllib.loads(text)))
        except RecursionError as error:
            raise InputError(f"{path}: nested too deeply; write it anew") from error
        except ValueError as error:
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
"""Published models by the usual stems of their files, as in their authors' inference code."""


def _read(table: dict[str, Any]) -> dict[str, Any]:
    """Validate a TOML table and convert it to the fields."""
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


TOLERANCE = 1e-3
"""Largest excess of an output over 0 to 1; beyond it the description must be wrong."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxSegmenter:
    """Runs an ONNX model with onnxruntime."""

    name: str
    """Name in records."""
    path: Path
    """The ONNX file."""
    description: ModelDescription
    """Preprocessing and output."""
    device: str
    """`cpu`, or `cuda` with or without a number."""
    batch: int
    """Images per batch; that of the file where it is fixed."""
    session: Any
    """The open onnxruntime session."""
    input: str
    """Name of the input."""
    output: str
    """Name of the output with the mask."""
    dtype: type[np.floating[Any]]
    """Data type of the input."""
    fixed: bool
    """Whether every batch must have exactly `batch` images."""

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        name: str | None = None,
        device: str = "cpu",
        batch: int = 8,
        threads: int | None = None,
    ) -> OnnxSegmenter:
        """Load a model and the TOML file beside it; see `ModelDescription.beside`.

        Args:
            path: The ONNX file.
            name: Name in records; the file's stem by default.
            device: `auto`, `cpu`, `cuda` or `cuda:1`.
            batch: Images per batch.
            threads: Number of threads on the CPU; one per core by default.

        Raises:
            InputError: The file or its TOML file is missing or invalid, or onnxruntime cannot use
                the device.
        """
        require_libraries("onnxruntime", "torch")
        if not path.is_file():
            raise InputError(f"{path}: no such file; give --segmenter a path to an ONNX model")
        description = ModelDescription.beside(path)
        chosen = choose_device(device)
        session = _session(path, str(chosen), threads)
        entry = _only_input(session.get_inputs(), description, path)
        output = _output(session.get_outputs(), description, path)
        fixed = isinstance(entry.shape[0], int)
        return cls(
            name=name or path.stem,
            path=path,
            description=description,
            device=str(chosen),
            batch=entry.shape[0] if fixed else batch,
            session=session,
            input=entry.name,
            output=output,
            dtype=np.float16 if entry.type == "tensor(float16)" else np.float32,
            fixed=fixed,
        )

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Segment the object of each image; the categories are not used. See `Segmenter.segment`.

        Raises:
            InputError: The output has another shape or range than described.
        """
        height, width = images.shape[1:3]
        masks = []
        for start in range(0, len(images), self.batch):
            part = images[start : start + self.batch]
            prepared = self._prepare(opaque(part))
            missing = self.batch - len(part) if self.fixed else 0
            if missing:
                prepared = np.concatenate([prepared, np.repeat(prepared[-1:], missing, axis=0)])
            outputs = self._run(prepared)[: len(part)]
            masks.extend(to_mask(output, height, width) for output in outputs)
        return masks

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the segmenter."""
        digest = hash_file(self.path)
        return {
            "name": self.name,
            "kind": "onnx",
            "file": self.path.name,
            "sha256": digest,
            "input_size_px": list(self.description.size_px),
        }

    def _prepare(self, images: np.ndarray) -> np.ndarray:
        """Convert (n, H, W, 3) uint8 images to the model's input, (n, 3, h, w)."""
        height, width = self.description.size_px
        mean = np.array(self.description.mean, np.float32)
        std = np.array(self.description.std, np.float32)
        prepared = np.empty((len(images), 3, height, width), self.dtype)
        for image, planes in zip(images, prepared, strict=True):
            small = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(small)
            top = max(int(pixels.max()), 1) if self.description.divide_by_max else 255
            # A table of 256 values is ten times faster than arithmetic on whole images.
            table = (np.arange(256, dtype=np.float32)[:, None] / np.float32(top) - mean) / std
            for channel, plane in enumerate(cv2.split(pixels)):
                planes[channel] = cv2.LUT(plane, np.ascontiguousarray(table[:, channel]))
        return prepared

    def _run(self, prepared: np.ndarray) -> np.ndarray:
        """Run the model on (n, 3, h, w); returns masks (n, h', w') float32, 0 to 1."""
        try:
            raw = self.session.run([self.output], {self.input: prepared})[0]
        except Exception as error:  # onnxruntime's own exceptions have no common class
            raise InputError(
                f"{self.path}: could not run on a batch of {len(prepared)} ({in_one_line(error)}); "
                f"check its TOML, or use a smaller batch"
            ) from error
        if raw.ndim == 4 and raw.shape[1] == 1:
            raw = raw[:, 0]
        if raw.ndim != 3 or len(raw) != len(prepared):
            raise InputError(
                f"{self.path}: output {self.output} has the shape {raw.shape} for {len(prepared)} "
                f"images, expected (images, 1, height, width); name another output in its TOML"
            )
        masks = raw.astype(np.float32)
        if self.description.sigmoid:
            return 1 / (1 + np.exp(-np.clip(masks, -80, 80)))
        low, high = float(np.nanmin(masks)), float(np.nanmax(masks))
        if low < -TOLERANCE or high > 1 + TOLERANCE:
            raise InputError(
                f"{self.path}: output {self.output} runs from {low:.3g} to {high:.3g}, expected 0 "
                f"to 1; say sigmoid = true in its TOML, or name another output"
            )
        return masks


def _session(path: Path, device: str, threads: int | None) -> Any:
    """Open a file with onnxruntime on a device, never silently on another one."""
    # Its import writes a device id to the user's cache and reports events unless this is set; the
    # call below is for processes that have imported it already.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.use_deterministic_compute = True
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or available_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.startswith("cuda"):
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise InputError(
                f"{path}: this onnxruntime has no CUDA; install onnxruntime-gpu in its place, or "
                f"run the segmenters with --device cpu"
            )
        onnxruntime.preload_dlls()
        cuda = {"device_id": int(device.partition(":")[2] or 0), "use_tf32": 0}
        providers.insert(0, ("CUDAExecutionProvider", cuda))
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own exceptions have no common class
        raise InputError(
            f"{path}: not a model that onnxruntime reads ({in_one_line(error)}); "
            f"download or export it again"
        ) from error
    if len(providers) > 1 and session.get_providers()[0] != "CUDAExecutionProvider":
        raise InputError(
            f"{path}: onnxruntime could not start CUDA and would use the CPU; install the CUDA and "
            f"cuDNN that onnxruntime-gpu asks for, or run the segmenters with --device cpu"
        )
    return session


def _only_input(inputs: Sequence[Any], description: ModelDescription, path: Path) -> Any:
    names = [entry.name for entry in inputs]
    if len(inputs) != 1:
        raise InputError(
            f"{path}: {len(inputs)} inputs ({', '.join(names)}), expected one, the image; "
            f"export it with that input only"
        )
    entry = inputs[0]
    if description.input not in (None, entry.name):
        raise InputError(
            f"{path}: its input is named {entry.name!r}, its TOML says {description.input!r}; "
            f"correct the TOML"
        )
    if entry.type not in ("tensor(float)", "tensor(float16)"):
        raise InputError(
            f"{path}: its input is a {entry.type}, expected tensor(float); export it again"
        )
    wanted = (3, *description.size_px)
    found = tuple(entry.shape)
    if len(found) != 4 or any(
        isinstance(side, int) and side != want for side, want in zip(found[1:], wanted, strict=True)
    ):
        raise InputError(
            f"{path}: its input has the shape {_shape(found)}, expected (images, "
            f"{', '.join(map(str, wanted))}); correct size_px in its TOML, or export it again"
        )
    return entry


def _output(outputs: Sequence[Any], description: ModelDescription, path: Path) -> str:
    names = [entry.name for entry in outputs]
    wanted = description.output
    if wanted is None:
        if len(names) != 1:
            raise InputError(
                f"{path}: {len(names)} outputs ({', '.join(names)}); say which holds the mask, "
                f'such as output = "{names[0]}", in its TOML'
            )
        wanted = 0
    number = names.index(wanted) if wanted in names else wanted
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise InputError(
            f"{path}: no output {wanted!r}, it has {', '.join(names)}; correct its TOML"
        )
    shape = outputs[number].shape
    if len(shape) not in (0, 3, 4):
        raise InputError(
            f"{path}: output {names[number]} has the shape {_shape(shape)}, expected "
            f"(images, 1, height, width); name another output in its TOML"
        )
    return names[number]


def _shape(shape: Sequence[Any]) -> str:
    return f"({', '.join(map(str, shape))})"
