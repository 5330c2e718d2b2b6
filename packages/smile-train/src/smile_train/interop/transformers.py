"""Exchange with `transformers`: its VideoMAE encoder, pre-training model and classifier."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from smile_motion.bank.new_folder import new_folder
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid

from smile_train.interop.backbones import Backbone, build_encoder, hash_weights
from smile_train.interop.official import load_weights, require_own_positions
from smile_train.interop.transformers_names import from_their_names, to_their_names
from smile_train.model import Classifier, PretrainModel, StudentConfig
from smile_train.model.embedding import IMAGENET_MEAN, IMAGENET_STD
from smile_train.model.pretrain_model import Encoder

if TYPE_CHECKING:
    from transformers import (
        VideoMAEConfig,
        VideoMAEForPreTraining,
        VideoMAEForVideoClassification,
        VideoMAEModel,
    )

THEIR_HEAD_EPSILON = 1e-5
"""Of the LayerNorms before their heads, which their configuration cannot change."""


def to_transformers(model: PretrainModel) -> VideoMAEModel:
    """Return the encoder as a `transformers.VideoMAEModel`; its outputs are equal to 1e-5.

    Raises InputError for frames that are not square, which transformers does not know.
    """
    from transformers import VideoMAEModel

    theirs = VideoMAEModel(_their_config(model, use_mean_pooling=False))
    weights = to_their_names(model.encoder.state_dict(), prefix="")
    theirs.load_state_dict(_as_released(weights, theirs))
    return theirs.eval()


def pretraining_to_transformers(model: PretrainModel) -> VideoMAEForPreTraining:
    """Return a pre-training model of pixels as `transformers.VideoMAEForPreTraining`.

    Its LayerNorm before the head is given our epsilon; saved and read again it has 1e-5, which
    their configuration cannot say: predictions then differ by some 1e-5 of their size.
    Raises InputError for models of features, whose head transformers cannot have.
    """
    from transformers import VideoMAEForPreTraining

    pixels = 3 * model.grid.token_pixels
    if model.target_dim != pixels:
        raise InputError(
            f"the model predicts {model.target_dim} values a token, transformers' pre-training "
            f"model {pixels}, those of pixels; export the encoder alone"
        )
    theirs = VideoMAEForPreTraining(_their_config(model, use_mean_pooling=False))
    weights = to_their_names(model.encoder.state_dict(), prefix="videomae.")
    weights |= to_their_names(
        {f"decoder.{name}": value for name, value in model.decoder.state_dict().items()}, prefix=""
    )
    weights["encoder_to_decoder.weight"] = model.encoder_to_decoder.weight
    weights["mask_token"] = model.mask_token
    theirs.load_state_dict(_as_released(weights, theirs))
    theirs.decoder.norm.eps = model.config.head_epsilon
    return theirs.eval()


def classifier_to_transformers(
    model: Classifier, classes: tuple[str, ...] = ()
) -> VideoMAEForVideoClassification:
    """Return a classifier as `transformers.VideoMAEForVideoClassification`.

    classes  their names. For the epsilon before the head, see `pretraining_to_transformers`.
    """
    from transformers import VideoMAEForVideoClassification

    names = classes or tuple(str(number) for number in range(model.head.out_features))
    config = _their_config(
        model,
        use_mean_pooling=True,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    theirs = VideoMAEForVideoClassification(config)
    theirs.load_state_dict(_as_released(to_their_names(model.state_dict(), "videomae."), theirs))
    theirs.fc_norm.eps = model.config.head_epsilon  # type: ignore[union-attr]
    return theirs.eval()


def _their_config(model: PretrainModel | Classifier, **more: Any) -> VideoMAEConfig:
    from transformers import VideoMAEConfig

    require_own_positions(model)
    config, grid = model.config, model.grid
    if grid.height != grid.width:
        raise InputError(
            f"frames of {grid.height} x {grid.width}: transformers' VideoMAE knows square ones only"
        )
    return VideoMAEConfig(
        image_size=grid.height,
        patch_size=grid.patch,
        num_frames=grid.frames,
        tubelet_size=grid.tubelet,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.width * config.mlp_ratio,
        decoder_hidden_size=config.decoder_width,
        decoder_num_hidden_layers=config.decoder_depth,
        decoder_num_attention_heads=config.decoder_heads,
        decoder_intermediate_size=config.decoder_width * config.mlp_ratio,
        layer_norm_eps=config.epsilon,
        **more,
    )


def _as_released(
    weights: dict[str, torch.Tensor], theirs: torch.nn.Module
) -> dict[str, torch.Tensor]:
    """Name the biases of queries and values as the installed release does."""
    own = theirs.state_dict()
    renamed = {}
    for name, value in weights.items():
        old = name.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
        renamed[name if name in own or old not in own else old] = value
    return renamed


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

    name, path = type(source).__name__, Path(type(source).__name__)
    sha256 = ""
    folder = source if isinstance(source, Path) else None
    if folder is not None:
        kind = (
            VideoMAEForVideoClassification
            if _architecture(folder) == "VideoMAEForVideoClassification"
            else VideoMAEModel
        )
        name, path = str(folder), folder
        source = _read_folder(folder, kind)
        sha256 = hash_weights(folder / "model.safetensors")
    config, grid = _our_config(source.config, name)
    weights = from_their_names(source.state_dict(), name)
    if "fc_norm.weight" in weights or "decoder.norm.weight" in weights:
        config = replace(config, head_epsilon=THEIR_HEAD_EPSILON)
    elif "norm.weight" not in weights:
        raise InputError(
            f"{name}: no final norm (`use_mean_pooling`), and no classifier with one; give a "
            f"pre-trained VideoMAE, or the whole classifier"
        )
    labels = getattr(source.config, "id2label", None) or {}
    return Backbone(
        source=path,
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
    if theirs.intermediate_size % theirs.hidden_size:
        faults.append(f"an MLP {theirs.intermediate_size} wide")
    if faults:
        raise InputError(f"{name}: {', '.join(faults)}; give a VideoMAE as published")
    student = StudentConfig(
        width=theirs.hidden_size,
        depth=theirs.num_hidden_layers,
        heads=theirs.num_attention_heads,
        mlp_ratio=theirs.intermediate_size // theirs.hidden_size,
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
    import json

    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
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


def export_transformers(
    model: PretrainModel | Classifier,
    out: Path,
    *,
    pretraining: bool = False,
    classes: tuple[str, ...] = (),
) -> None:
    """Write a folder that transformers' `from_pretrained` reads, with an image processor.

    pretraining  the whole pre-training model, not its encoder alone.
    classes      names of a classifier's classes.
    Raises InputError when there is something at `out`, or the model cannot be theirs.
    """
    from transformers import VideoMAEImageProcessor

    if isinstance(model, Classifier):
        theirs: Any = classifier_to_transformers(model, classes)
    else:
        theirs = pretraining_to_transformers(model) if pretraining else to_transformers(model)
    with new_folder(out) as temporary:
        theirs.save_pretrained(temporary)
        side = model.grid.height
        VideoMAEImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=list(IMAGENET_MEAN),
            image_std=list(IMAGENET_STD),
        ).save_pretrained(temporary)
