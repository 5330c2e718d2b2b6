"""DINO, DINOv2 and MAE, and any other vision transformer of timm, as teachers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Len
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.hub import hub_or_cache
from smile_motion.io.schema import read
from smile_motion.runtime.model_configs import require_plain_configs

from smile_train.models.layers import quicken
from smile_train.teachers.base import Teacher


class TimmTeacher(Teacher):
    """Patch tokens after the final norm; class and register tokens are dropped (SMILE, Table 4b).

    Example:

        teacher = TimmTeacher.open("vit_base_patch14_dinov2.lvd142m")   # or a folder
        targets = teacher(frames, TokenGrid())                          # (B, 1568, 768)
    """

    def __init__(self, model: Any, *, official_input: bool = False) -> None:
        """Freeze a timm vision transformer; see `Teacher` for `official_input`."""
        grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
        parts = ("forward_intermediates", "blocks")
        if grid is None or not all(hasattr(model, part) for part in parts):
            raise InputError(f"{type(model).__name__}: a teacher must be a vision transformer")
        settings = model.pretrained_cfg
        super().__init__(
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            size=tuple(model.patch_embed.img_size),
            rows_columns=tuple(grid),
            width=model.embed_dim,
            depth=len(model.blocks),
            official_input=official_input,
        )
        self.model = quicken(model.eval().requires_grad_(False))

    @classmethod
    def open(
        cls,
        name_or_path: str,
        *,
        size: tuple[int, int] | None = None,
        official_input: bool = False,
    ) -> TimmTeacher:
        """Open a teacher.

        Args:
            name_or_path: A timm model name with its tag (`vit_base_patch16_224.dino`), or a folder
                as timm writes to the hub: config.json and model.safetensors.
            size: (height, width) of the images to feed; the model's own by default. Positions are
                interpolated; sides that patches do not divide are rounded down.

        Raises:
            InputError: The weights are not there: nothing is ever left random.
        """
        import timm

        folder = Path(name_or_path.removeprefix("local-dir:"))
        if folder.is_dir():
            require_plain_configs(folder)
            source = f"local-dir:{folder}"
            patch = _patch(_architecture(folder))
        else:
            source = name_or_path
            if not timm.is_model_pretrained(name_or_path):
                raise InputError(
                    f"teacher {name_or_path!r}: neither a folder nor a timm model with weights; "
                    f"for example vit_base_patch16_224.dino"
                )
            patch = _patch(name_or_path)
        side: dict[str, Any] = {}
        if size is not None:
            side["img_size"] = tuple(length // patch * patch for length in size)
        local = folder.is_dir()
        hub = hub_or_cache(f"teacher {name_or_path}", instead="give --teacher a folder")
        try:
            with nullcontext() if local else hub:
                model = timm.create_model(source, pretrained=True, num_classes=0, **side)
        except InputError:
            raise
        except Exception as error:  # torn files raise many kinds
            reason = in_one_line(error)
            remedy = "write or download the folder again" if local else "give --teacher a folder"
            raise InputError(
                f"teacher {name_or_path}: not to be had ({reason}); {remedy}"
            ) from error
        return cls(model, official_input=official_input)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks, which share one graph; for arguments see `torch.compile`."""
        for block in self.model.blocks:
            block.compile(*args, **kwargs)

    @torch.no_grad()
    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens of normalized images: (n, 3, H, W) float to (n, patches, target_dim)."""
        tokens = self.model.forward_intermediates(
            images,
            indices=[layer - 1 for layer in self.layers],
            norm=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        return torch.cat(tokens, -1) if len(tokens) > 1 else tokens[0]


@dataclass(frozen=True, kw_only=True)
class _Config:
    """What is read of timm's `config.json`."""

    architecture: Annotated[str, Len(1, 200)]


def _architecture(folder: Path) -> str:
    path = folder / "config.json"
    try:
        described = read(path, _Config, remedy="download the folder again", unknown="ignore")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: no config.json; give the folder that timm wrote, with its weights"
        ) from error
    return described.architecture


def _patch(name: str) -> int:
    """Patch side of a timm model, without building it: from its default input."""
    import timm

    try:
        with torch.device("meta"):
            model: Any = timm.create_model(name, pretrained=False)
            return model.patch_embed.patch_size[0]
    except (RuntimeError, AttributeError) as error:
        raise InputError(f"teacher {name!r}: not a vision transformer that timm knows") from error
