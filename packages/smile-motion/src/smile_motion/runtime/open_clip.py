"""Loading CLIP models of open_clip, by name or from a folder, never with random weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from smile_motion.errors import InputError, in_one_line
from smile_motion.io.files import hash_file
from smile_motion.io.hub import fetch_model, hub_or_cache
from smile_motion.runtime.model_configs import require_plain_configs

FOLDER_PREFIX = "local-dir:"
HUB_PREFIX = "hf-hub:"
DEFAULT_TAG = "openai"
"""Tag of the weights for a model given by name only."""
CONFIG = "open_clip_config.json"
_INSTEAD = "give a folder that open_clip wrote"


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenClipModel:
    """A CLIP with its preprocessing and tokenizer."""

    model: Any
    """The network, in evaluation mode."""
    preprocess: Any
    """Transform from a PIL image to (3, H, W) float32."""
    tokenizer: Any
    """Function from texts to token ids."""
    name: str
    """Name of the folder, or of the model in open_clip."""
    pretrained: str | None
    """Tag of its weights; None for a folder or a hub name."""
    weights_sha256: str
    """Hash of the file of weights."""


def open_clip_model(
    model: str, *, pretrained: str | None = None, device: str = "cpu", precision: str = "fp32"
) -> OpenClipModel:
    """Load a CLIP.

    Args:
        model: A folder with `open_clip_config.json` and weights, which is loaded without network
            access; an open_clip name such as `ViT-L-14`; or a hub name after `hf-hub:`.
        pretrained: Tag of the weights of an open_clip name; `openai` by default.
        device: Device to load to, such as `cuda`.
        precision: `fp32`, `fp16` or `bf16`.

    Raises:
        InputError: The model or its weights do not exist or cannot be read.
    """
    folder = Path(model.removeprefix(FOLDER_PREFIX))
    if folder.is_dir():
        if pretrained is not None:
            raise InputError(f"{folder}: a folder has no weights {pretrained!r} to choose; drop it")
        return _from_folder(folder, device, precision)
    if model.startswith((FOLDER_PREFIX, ".", "/")):
        raise InputError(f"{model}: no such folder; give a folder that open_clip wrote, or a name")
    return _from_name(model, pretrained, device, precision)


def _from_folder(folder: Path, device: str, precision: str) -> OpenClipModel:
    import open_clip
    from open_clip.factory import _find_checkpoint_in_dir

    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder}: no {CONFIG}; give the folder that open_clip wrote")
    weights = _find_checkpoint_in_dir(folder)
    if weights is None:
        raise InputError(f"{folder}: no weights beside {CONFIG}; download or write them again")
    require_plain_configs(folder)
    name = f"{FOLDER_PREFIX}{folder}"
    try:
        model = open_clip.create_model(
            name, device=device, precision=precision, require_pretrained=True
        )
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip lets many kinds of its libraries through
        raise InputError(
            f"{folder}: not a CLIP that open_clip reads ({in_one_line(error)}); "
            f"download or write the folder again"
        ) from error
    return _opened(model, tokenizer, folder.resolve().name, None, Path(weights))


def _from_name(model: str, pretrained: str | None, device: str, precision: str) -> OpenClipModel:
    import open_clip

    if model.startswith(HUB_PREFIX):
        # A folder comes from the hub too: what it holds is checked before open_clip sees it.
        folder = fetch_model(model.removeprefix(HUB_PREFIX), instead=_INSTEAD)
        return replace(_from_folder(folder, device, precision), name=model)
    if model not in open_clip.list_models():
        raise InputError(
            f"CLIP {model!r}: neither a folder nor an open_clip model, such as ViT-L-14"
        )
    pretrained = pretrained or DEFAULT_TAG
    if pretrained not in open_clip.list_pretrained_tags_by_model(model):
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise InputError(
            f"CLIP {model!r}: open_clip has no weights {pretrained!r} for it; it has {tags}"
        )
    described = open_clip.get_pretrained_cfg(model, pretrained)
    try:
        with hub_or_cache(f"CLIP {model!r}", instead=_INSTEAD):
            network = open_clip.create_model(
                model,
                pretrained=pretrained,
                device=device,
                precision=precision,
                require_pretrained=True,
                # OpenAI's weights need QuickGELU, which plain names leave out with a warning.
                force_quick_gelu=described.get("quick_gelu", False),
            )
            tokenizer = open_clip.get_tokenizer(model)
            weights = open_clip.download_pretrained(described)
    except InputError:
        raise
    except Exception as error:  # open_clip lets many kinds of its libraries through
        raise InputError(
            f"CLIP {model!r}: weights could not be fetched ({in_one_line(error)}); check the name, "
            f"or {_INSTEAD}"
        ) from error
    return _opened(network, tokenizer, model, pretrained, Path(weights))


def _opened(
    model: Any, tokenizer: Any, name: str, pretrained: str | None, weights: Path
) -> OpenClipModel:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    settings = PreprocessCfg(**open_clip.get_model_preprocess_cfg(model))
    digest = hash_file(weights)
    return OpenClipModel(
        model=model.eval().requires_grad_(False),
        preprocess=image_transform_v2(settings, is_train=False),
        tokenizer=tokenizer,
        name=name,
        pretrained=pretrained,
        weights_sha256=digest,
    )
