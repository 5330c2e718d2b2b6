"""To `transformers`: its VideoMAE encoder, pre-training model and classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from smile_motion.errors import InputError
from smile_motion.io.images import IMAGENET_MEAN, IMAGENET_STD
from smile_motion.io.output_folders import new_folder

from smile_train.checkpoints.published import require_own_positions
from smile_train.checkpoints.transformers_names import to_their_names
from smile_train.models.config import hidden_width
from smile_train.models.heads import Classifier
from smile_train.models.mae import PretrainModel

if TYPE_CHECKING:
    from transformers import (
        VideoMAEConfig,
        VideoMAEForPreTraining,
        VideoMAEForVideoClassification,
        VideoMAEModel,
    )


def to_transformers(model: PretrainModel) -> VideoMAEModel:
    """Return the encoder as a `transformers.VideoMAEModel`; its outputs are equal to 1e-5.

    Raises:
        InputError: For frames that are not square, which transformers does not know.
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

    Raises:
        InputError: For models of features, whose head transformers cannot have.
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

    Args:
        classes: Their names. For the epsilon before the head, see `pretraining_to_transformers`.
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
        intermediate_size=hidden_width(config.width, config.mlp_ratio),
        decoder_hidden_size=config.decoder_width,
        decoder_num_hidden_layers=config.decoder_depth,
        decoder_num_attention_heads=config.decoder_heads,
        decoder_intermediate_size=hidden_width(config.decoder_width, config.mlp_ratio),
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


def export_transformers(
    model: PretrainModel | Classifier,
    out: Path,
    *,
    pretraining: bool = False,
    classes: tuple[str, ...] = (),
) -> None:
    """Write a folder that transformers' `from_pretrained` reads, with an image processor.

    Args:
        pretraining: The whole pre-training model, not its encoder alone.
        classes: Names of a classifier's classes.

    Raises:
        InputError: There is something at `out`, or the model cannot be theirs.
    """
    from transformers import VideoMAEImageProcessor
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # It is done in a moment.
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
