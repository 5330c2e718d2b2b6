"""From `transformers`: its VideoMAE encoder, pre-training model and classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smile_motion.errors import InputError
from smile_motion.files import parse_json
from smile_motion.tokens import TokenGrid

from smile_train.interop.backbones import Backbone, build_encoder, hash_weights
from smile_train.interop.official import load_weights
from smile_train.interop.transformers_names import from_their_names
from smile_train.model import Classifier, PretrainModel, StudentConfig
from smile_train.model.pretrain_model import Encoder
from smile_train.students import ratio_of

if TYPE_CHECKING:
    from transformers import (
        VideoMAEConfig,
        VideoMAEForPreTraining,
        VideoMAEForVideoClassification,
        VideoMAEModel,
    )

THEIR_HEAD_EPSILON = 1e-5
"""Of the LayerNorms before their heads, which their configuration cannot change."""


def from_transformers(source: VideoMAEModel | Path) -> tuple[Encoder, StudentConfig]:
    """Take the encoder out of a `transformers.VideoMAEModel`, or a folder that holds one.

    source  a model, with its final norm or, of a classifier, without one.
    returns the encoder in evaluation mode, float32, and its sizes. Outputs are equal to 1e-5.
    Raises InputError when the folder is not read, or the model is of another architecture.
    """
    backbone = backbone_from_transformers(source)
    return build_encoder(backbone), backbone.config


def pretraining_from_transformers(source: VideoMAEForPreTraining | Path) -> PretrainModel:
    """Take over a pre-training model of pixels, in evaluation mode; outputs are equal to 1e-5.

    Raises InputError when the folder is not read, or is not of one.
    """
    from transformers import VideoMAEForPreTraining

    theirs: Any = (
        _read_folder(source, VideoMAEForPreTraining) if isinstance(source, Path) else source
    )
    config, grid = _our_config(theirs.config, str(source))
    config = replace(config, head_epsilon=THEIR_HEAD_EPSILON)
    model = PretrainModel(config, grid, 3 * grid.token_pixels)
    weights = from_their_names(theirs.state_dict(), str(source))
    named = {
        name if name.startswith(("decoder.", "encoder_to", "mask_")) else f"encoder.{name}": value
        for name, value in weights.items()
    }
    load_weights(model, named, Path(str(source)))
    return model.eval()


def classifier_from_transformers(source: VideoMAEForVideoClassification | Path) -> Classifier:
    """Take over a classifier, in evaluation mode; outputs are equal to 1e-5.

    Raises InputError when the folder is not read, or is not of one.
    """
    from smile_train.interop.opening import open_classifier

    backbone = backbone_from_transformers(source)
    if "head.weight" not in backbone.weights or "fc_norm.weight" not in backbone.weights:
        raise InputError(f"{backbone.source}: no mean-pooling classifier; give a fine-tuned model")
    return open_classifier(backbone)


def backbone_from_transformers(source: Any) -> Backbone:
    """Open the encoder, and a classifier's head, of a model or a folder of transformers' VideoMAE.

    Raises InputError when the folder is not read, or the model is of another architecture.
    """
    from transformers import VideoMAEForVideoClassification, VideoMAEModel

    folder = source if isinstance(source, Path) else None
    theirs: Any = source
    name = type(source).__name__ if folder is None else str(folder)
    sha256 = ""
    if folder is not None:
        kind = (
            VideoMAEForVideoClassification
            if _architecture(folder) == "VideoMAEForVideoClassification"
            else VideoMAEModel
        )
        theirs = _read_folder(folder, kind)
        sha256 = hash_weights(folder / "model.safetensors")
    config, grid = _our_config(theirs.config, name)
    weights = from_their_names(theirs.state_dict(), name)
    if "fc_norm.weight" in weights or "decoder.norm.weight" in weights:
        config = replace(config, head_epsilon=THEIR_HEAD_EPSILON)
    elif "norm.weight" not in weights:
        raise InputError(
            f"{name}: no final norm (`use_mean_pooling`), and no classifier with one; give a "
            f"pre-trained VideoMAE, or the whole classifier"
        )
    labels = getattr(theirs.config, "id2label", None) or {}
    return Backbone(
        source=Path(name),
        sha256=sha256,
        config=config,
        grid=grid,
        trained=grid,
        weights={n: w for n, w in weights.items() if not n.startswith(("decoder.", "encoder_to"))},
        classes=tuple(str(labels[n]) for n in sorted(labels)) if "head.weight" in weights else (),
        pretraining={"published": "transformers VideoMAE"},
    )


def _our_config(theirs: VideoMAEConfig, name: str) -> tuple[StudentConfig, TokenGrid]:
    height, width = _sides(theirs.image_size)
    patch, patch_width = _sides(theirs.patch_size)
    faults = []
    if patch != patch_width:
        faults.append(f"patches of {patch} x {patch_width}")
    if theirs.hidden_act != "gelu":
        faults.append(f"hidden_act {theirs.hidden_act!r}")
    if theirs.num_channels != 3:
        faults.append(f"{theirs.num_channels} colour channels")
    if faults:
        raise InputError(f"{name}: {', '.join(faults)}; give a VideoMAE as published")
    student = StudentConfig(
        width=theirs.hidden_size,
        depth=theirs.num_hidden_layers,
        heads=theirs.num_attention_heads,
        mlp_ratio=ratio_of(theirs.intermediate_size, theirs.hidden_size),
        decoder_width=theirs.decoder_hidden_size,
        decoder_depth=theirs.decoder_num_hidden_layers,
        decoder_heads=theirs.decoder_num_attention_heads,
        epsilon=theirs.layer_norm_eps,
    )
    grid = TokenGrid(
        frames=theirs.num_frames,
        height=height,
        width=width,
        tubelet=theirs.tubelet_size,
        patch=patch,
    )
    return student, grid


def _sides(size: int | list[int] | tuple[int, ...]) -> tuple[int, int]:
    """Height and width, of which transformers writes one where they are equal."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _architecture(folder: Path) -> str | None:
    try:
        config = parse_json((folder / "config.json").read_text(encoding="utf-8"))
        return (config.get("architectures") or [None])[0]
    except (OSError, ValueError):
        return None


def _read_folder(folder: Path, kind: Any) -> Any:
    from safetensors import SafetensorError

    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: no config.json; give a folder that transformers wrote")
    try:
        model, report = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{folder}: not a VideoMAE that transformers reads ({reason})") from error
    if missing := sorted(report["missing_keys"]):
        raise InputError(
            f"{folder}: {len(missing)} weights are missing, {missing[0]} for one; "
            f"not the folder of a {kind.__name__}"
        )
    return model
