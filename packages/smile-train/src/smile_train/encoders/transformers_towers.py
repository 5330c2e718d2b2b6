"""V-JEPA 2, ViViT and TimeSformer of transformers as video encoders.

Folders are read here: known fields of the configuration, and weights, of which nothing is called.
transformers builds the model of these and never sees the folder.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from smile_motion.errors import InputError, in_one_line
from smile_motion.tokens import TokenGrid
from torch import nn

from smile_train.checkpoints.configs import (
    TOWERS,
    PixelSettings,
    TimesformerSizes,
    TowerName,
    VivitSizes,
    VJEPA2Sizes,
    read_config,
    take_fields,
    tower_of,
)
from smile_train.checkpoints.files import CONFIG
from smile_train.checkpoints.weight_files import log_left_out, open_folder
from smile_train.models.layers import to_unit

_LOGGER = logging.getLogger(__name__)
PIXEL_FILES = ("video_preprocessor_config.json", "preprocessor_config.json")
"""Where a folder says how pixels are standardized, as transformers looks for it."""
_PIXELS: dict[TowerName, PixelSettings] = {
    "vjepa2": PixelSettings(),
    "vivit": PixelSettings(image_mean=0.5, image_std=0.5, rescale_factor=1 / 127.5, offset=True),
    "timesformer": PixelSettings(),
}
"""What holds where a folder does not say: defaults of transformers' processors."""
_DROPPED = ("classifier.", "pooler.", "predictor.")
"""Heads and predictors, which are not the encoder."""


class TransformersTower(nn.Module):
    """A video encoder of transformers: its tokens in time, row, column order.

    Example:

        model = smile_train.load("facebook/vjepa2-vitl-fpc64-256")     # or such a folder
    """

    def __init__(
        self, kind: TowerName, model: nn.Module, grid: TokenGrid, width: int, pixels: PixelSettings
    ) -> None:
        """Wrap a model.

        Args:
            model: `VJEPA2Model.encoder`, `VivitModel` or `TimesformerModel`.
            pixels: How pixels are standardized.
        """
        super().__init__()
        self.kind: TowerName = kind
        self.model, self.grid, self.width = model, grid, width
        self.mean, self.std = pixels.of_unit()

    @classmethod
    def open(cls, folder: Path) -> TransformersTower:
        """Open a folder that `save_pretrained` wrote, of the bare model or of a classifier.

        Raises:
            InputError: It is of another architecture, or weights are missing or do not fit.
        """
        config = read_config(folder / CONFIG)
        kind = tower_of(config)
        if kind is None:
            raise InputError(
                f"{folder}: model_type {config.get('model_type')!r:.40}; expected one of "
                f"{', '.join(TOWERS)}"
            )
        sizes = take_fields(_SIZES[kind], config, folder / CONFIG)
        try:
            grid = _grid(sizes)
        except InputError as error:
            raise InputError(f"{folder / CONFIG}: {error}") from error
        opened = open_folder(folder, None)
        log_left_out(opened)
        weights = _own_weights(opened.weights, kind)
        model = _build(kind, sizes, weights, folder)
        pixels = _read_pixels(folder, kind)
        return cls(kind, model, grid, sizes.hidden_size, pixels).eval()

    def encode(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode clips.

        Args:
            frames: (B, T, H, W, 3) uint8, or float in 0..1.

        Returns:
            Patch tokens after the final LayerNorm (B, N, width), in time, row, column order, and
            one vector of each clip (B, width): the class token, of V-JEPA 2, which has none, the
            tokens' mean.
        """
        unit = to_unit(frames)
        standard = (unit - unit.new_tensor(self.mean)) / unit.new_tensor(self.std)
        tokens = self.model(standard.permute(0, 1, 4, 2, 3)).last_hidden_state
        if self.kind == "vjepa2":
            return tokens, tokens.mean(1)
        patches = tokens[:, 1:]
        if self.kind == "timesformer":  # whose frames lie next to each other, not its patches
            patches = patches.unflatten(1, (-1, self.grid.frames)).transpose(1, 2).flatten(1, 2)
        return patches, tokens[:, 0]


Sizes = VJEPA2Sizes | VivitSizes | TimesformerSizes
_SIZES: dict[TowerName, type[Sizes]] = {
    "vjepa2": VJEPA2Sizes,
    "vivit": VivitSizes,
    "timesformer": TimesformerSizes,
}


def _grid(sizes: Sizes) -> TokenGrid:
    match sizes:
        case VJEPA2Sizes():
            frames, side, tubelet = sizes.frames_per_clip, sizes.crop_size, sizes.tubelet_size
            patch = sizes.patch_size
        case VivitSizes():
            frames, side = sizes.num_frames, sizes.image_size
            tubelet, *patch = sizes.tubelet_size
        case TimesformerSizes():
            frames, side, tubelet = sizes.num_frames, sizes.image_size, 1
            patch = sizes.patch_size
    return TokenGrid(
        frames=frames,
        height=_square(side, "frames"),
        width=_square(side, "frames"),
        tubelet=tubelet,
        patch=_square(patch, "patches"),
    )


def _square(size: int | tuple[int, ...] | list[int], what: str) -> int:
    sides = (size,) if isinstance(size, int) else tuple(size)
    if len(set(sides)) != 1:
        raise InputError(f"{what} of {' x '.join(map(str, sides))} px; they are square here")
    return sides[0]


def _own_weights(weights: Mapping[str, torch.Tensor], kind: TowerName) -> dict[str, torch.Tensor]:
    """Weights of the bare encoder, under its own names."""
    named = {name.removeprefix(f"{kind}."): value for name, value in weights.items()}
    return {name: value for name, value in named.items() if not name.startswith(_DROPPED)}


def _build(
    kind: TowerName, sizes: Sizes, weights: dict[str, torch.Tensor], folder: Path
) -> nn.Module:
    """transformers' model of known sizes, with all its weights.

    Raises:
        InputError: Its sizes are not possible, or not those of the weights.
    """
    try:
        config, model, options = _theirs(kind, sizes)
        with torch.device("meta"):
            drawn = model(config, **options)
        names = dict(drawn.named_parameters())
        asked = sum(v.numel() for n, v in names.items() if not n.startswith(_DROPPED))
        held = sum(value.numel() for value in weights.values())
        if asked != held:
            raise InputError(
                f"{folder}: its configuration asks for {asked} weights, there are {held}; get both "
                f"again from one place"
            )
        with _quiet():
            built, report = model.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                output_loading_info=True,
                dtype=torch.float32,
                **options,
            )
    except InputError:
        raise
    except (ValueError, TypeError, RuntimeError, KeyError, ZeroDivisionError) as error:
        raise InputError(
            f"{folder}: no {TOWERS[kind]} can be built of it ({in_one_line(error)}); get its "
            f"configuration and its weights again from one place"
        ) from error
    for name in ("missing_keys", "unexpected_keys"):
        if faults := sorted(key for key in report[name] if not key.startswith(_DROPPED)):
            raise InputError(
                f"{folder}: {TOWERS[kind]} with {name.partition('_')[0]} weights "
                f"({', '.join(faults[:3])}{', …' if len(faults) > 3 else ''}); another version, or "
                f"another architecture"
            )
    return built.encoder if kind == "vjepa2" else built


def _theirs(kind: TowerName, sizes: Sizes) -> tuple[Any, Any, dict[str, Any]]:
    """Configuration, class and options of a model; no field is set but those that were checked."""
    import transformers
    from transformers.activations import ACT2FN

    if sizes.hidden_act not in ACT2FN:
        raise InputError(f"hidden_act {sizes.hidden_act!r:.40} is not known to transformers")
    own = dict(vars(sizes))
    match kind:
        case "vjepa2":
            # The predictor is not used: no block of it is made.
            config = transformers.VJEPA2Config(**own, pred_num_hidden_layers=0)
            return config, transformers.VJEPA2Model, {}
        case "vivit":
            own["image_size"] = _square(own["image_size"], "frames")
            own["tubelet_size"] = list(own["tubelet_size"])
            config = transformers.VivitConfig(**own)
            return config, transformers.VivitModel, {"add_pooling_layer": False}
        case "timesformer":
            own["image_size"] = _square(own["image_size"], "frames")
            own["patch_size"] = _square(own["patch_size"], "patches")
            return transformers.TimesformerConfig(**own), transformers.TimesformerModel, {}


@contextmanager
def _quiet():
    """Keep transformers from reporting what is checked here."""
    from transformers.utils import logging

    former, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(former)
        if bars:
            logging.enable_progress_bar()


def _read_pixels(folder: Path, kind: TowerName) -> PixelSettings:
    """How a folder's pixels are standardized; said where it does not tell."""
    own = _PIXELS[kind]
    for name in PIXEL_FILES:
        if (folder / name).is_file():
            given = {**vars(own), **read_config(folder / name)}
            read = take_fields(PixelSettings, given, folder / name)
            return read if kind == "vivit" else replace(read, offset=False)
    _LOGGER.warning(
        "%s: no %s; pixels are standardized as transformers does by default for %s",
        folder,
        PIXEL_FILES[-1],
        TOWERS[kind],
    )
    return own
