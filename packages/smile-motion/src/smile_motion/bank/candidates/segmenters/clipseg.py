"""CLIPSeg: segmentation by a prompt (Lüddecke and Ecker, CVPR 2022), through transformers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smile_motion.bank.candidates.diffusers_folder import snapshot_commit
from smile_motion.bank.candidates.types import Category, Mask, to_mask
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.files import hash_file
from smile_motion.io.hub import fetch_model
from smile_motion.io.images import opaque
from smile_motion.io.schema import read
from smile_motion.runtime.devices import choose_device
from smile_motion.runtime.extras import quiet_loading, require_libraries
from smile_motion.runtime.model_configs import require_plain_configs

DEFAULT_MODEL = "CIDAS/clipseg-rd64-refined"
"""The refined CLIPSeg of reduced dimension 64; X-Paste used rd64."""
PROMPT = "a photo of {name}"
"""Prompt of the model (X-Paste)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipSegSegmenter:
    """Segments what a prompt with the category's name describes."""

    name: str
    """Name in records."""
    model_name: str
    """Name of the folder, or name on the hub."""
    weights: Path | None
    """File of the weights, where known."""
    revision: str | None
    """Commit on the hub, where known."""
    model: Any
    """The loaded model."""
    processor: Any
    """Its image processor and tokenizer."""
    batch: int
    """Images per batch."""
    prompt: str = PROMPT
    """Template with `{name}` for the category."""

    @classmethod
    def open(
        cls,
        model: str = DEFAULT_MODEL,
        *,
        name: str = "clipseg",
        device: str = "cpu",
        batch: int = 8,
    ) -> ClipSegSegmenter:
        """Load a CLIPSeg model.

        Args:
            model: Folder as `save_pretrained` writes it, loaded without network access; or a name
                on the hub.
            name: Name in records.
            device: `auto`, `cpu`, `cuda` or `cuda:1`.
            batch: Images per batch.

        Raises:
            InputError: The model is missing, incomplete, or of another kind.
        """
        require_libraries("torch", "transformers")
        from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

        chosen = choose_device(device)
        folder = Path(model)
        local = folder.is_dir()
        if not local and (not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or folder.exists()):
            raise InputError(f"{model}: no folder of a CLIPSeg; give clipseg=FOLDER or a hub name")
        # The hub gives a folder too: it is checked before transformers reads it.
        opened = folder if local else fetch_model(model, instead="give clipseg=FOLDER")
        _require_parts(opened)
        require_plain_configs(opened)
        try:
            with quiet_loading():
                processor = CLIPSegProcessor.from_pretrained(
                    opened, local_files_only=True, trust_remote_code=False
                )
                loaded: Any = CLIPSegForImageSegmentation.from_pretrained(
                    opened, local_files_only=True, output_loading_info=True
                )
        except Exception as error:  # transformers and the file formats raise many kinds
            reason = in_one_line(error)
            remedy = "save it again" if local else "give clipseg=FOLDER"
            raise InputError(f"{model}: CLIPSeg cannot be opened ({reason}); {remedy}") from error
        network, loading = loaded
        if missing := sorted(loading["missing_keys"]):
            raise InputError(f"{model}: weights lack {missing[0]}; use a whole CLIPSeg model")
        return cls(
            name=name,
            model_name=folder.resolve().name if local else model,
            weights=_weights(folder) if local else None,
            revision=None if local else snapshot_commit(opened),
            model=network.eval().requires_grad_(False).to(chosen),
            processor=processor,
            batch=batch,
        )

    def segment(self, images: np.ndarray, categories: Sequence[Category]) -> list[Mask]:
        """Segment a category in each image; see `Segmenter.segment`."""
        import torch

        height, width = images.shape[1:3]
        masks = []
        for start in range(0, len(images), self.batch):
            part = slice(start, start + self.batch)
            names = [category.name.replace("_", " ") for category in categories[part]]
            # Padded to the model's length, so that other prompts cannot change a result.
            text = self.processor.tokenizer(
                [self.prompt.format(name=name) for name in names],
                padding="max_length",
                truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            )
            pixels = self.processor.image_processor(
                list(opaque(images[part])), input_data_format="channels_last", return_tensors="pt"
            )
            with torch.inference_mode():
                logits = self.model(
                    input_ids=text["input_ids"].to(self.model.device),
                    attention_mask=text["attention_mask"].to(self.model.device),
                    pixel_values=pixels["pixel_values"].to(self.model.device),
                ).logits
            outputs = logits.sigmoid().float().cpu().numpy()
            outputs = outputs.reshape(len(names), *outputs.shape[-2:])
            masks.extend(to_mask(output, height, width) for output in outputs)
        return masks

    def card(self) -> dict[str, Any]:
        """Entries of the bank's card that describe the segmenter."""
        size = dict(self.processor.image_processor.size)
        digest = None if self.weights is None else hash_file(self.weights)
        return {
            "name": self.name,
            "kind": "clipseg",
            "model": self.model_name,
            "revision": self.revision,
            "sha256": digest,
            "input_size_px": [size.get("height"), size.get("width")],
            "prompt": self.prompt,
        }


def _weights(folder: Path) -> Path | None:
    """The file of the weights, where they are in one file."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return folder / name
    return None


@dataclass(frozen=True, kw_only=True)
class _Config:
    """Fields of `config.json` that are read."""

    model_type: str | None = None


def _require_parts(folder: Path) -> None:
    """Raise InputError unless a folder contains a complete CLIPSeg model."""
    config = folder / "config.json"
    try:
        kind = read(config, _Config, remedy="save the model again", unknown="ignore").model_type
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no config.json; give the folder that save_pretrained wrote"
        ) from None
    if kind != "clipseg":
        raise InputError(f"{config}: a model of type {kind}, expected clipseg; give another folder")
    for part, names in (
        ("weights", ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")),
        ("tokenizer", ("tokenizer.json", "vocab.json")),
        ("image processor", ("preprocessor_config.json", "processor_config.json")),
    ):
        if not any((folder / name).is_file() for name in names):
            raise InputError(
                f"{folder}: no {part} ({' or '.join(names)}); save the model with its processor"
            )
