"""CLIP's image tower as a teacher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from annotated_types import Gt, Interval
from smile_motion.errors import InputError, in_one_line
from smile_motion.io.schema import read
from smile_motion.runtime.open_clip import HUB_PREFIX, open_clip_model
from torch import nn

from smile_train.checkpoints.weight_files import CLIP, log_left_out, open_weights
from smile_train.models.layers import linear, quicken
from smile_train.teachers.base import Teacher

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
Deviation = Annotated[float, Gt(0)]
HEAD_WIDTH = 64
"""Width of an attention head in every published CLIP."""
FOLDER_PREFIX = "local-dir:"
"""What open_clip writes before a folder."""


class ClipTeacher(Teacher):
    """CLIP's image tower: patch tokens after its final LayerNorm, before the projection (SMILE).

    Example:

        teacher = ClipTeacher.open("ViT-B-16-quickgelu")      # or a folder, or a file of weights
        targets = teacher(frames, TokenGrid())                # (B, 1568, 768)
    """

    def __init__(
        self,
        visual: Any,
        *,
        mean: tuple[float, ...] = CLIP_MEAN,
        std: tuple[float, ...] = CLIP_STD,
        official_input: bool = False,
    ) -> None:
        """Freeze an open_clip image tower.

        Args:
            official_input: Feed the student's ImageNet-normalized pixels, as the published code
                does, instead of the teacher's own normalization.
        """
        grid = getattr(visual, "grid_size", None)
        if grid is None:
            raise InputError(f"{type(visual).__name__}: a teacher must be a vision transformer")
        if visual.attn_pool is not None or visual.final_ln_after_pool:
            raise InputError("a teacher whose final norm comes after pooling has no patch features")
        size = getattr(visual, "image_size", 224)
        super().__init__(
            mean=mean,
            std=std,
            size=(size, size) if isinstance(size, int) else tuple(size),
            rows_columns=tuple(grid),
            width=int(visual.ln_post.weight.shape[0]),
            depth=len(visual.transformer.resblocks),
            official_input=official_input,
        )
        visual.output_tokens = True
        self.visual = quicken(visual.eval().requires_grad_(False))
        self._plain = _is_plain(visual)
        self._run_block = _run_block

    @classmethod
    def open(cls, name_or_path: str, *, official_input: bool = False) -> ClipTeacher:
        """Open a teacher.

        Args:
            name_or_path: An open_clip model name, with weights after a colon if not OpenAI's
                (`ViT-B-16:laion2b_s34b_b88k`); a hub name after `hf-hub:`; a folder as open_clip
                writes to the hub, with or without `local-dir:` before it; a TorchScript .pt of
                OpenAI; or a .safetensors or .pt file of OpenAI-named weights. Beside the last, a
                .json of the same name may hold `heads`, `mean` and `std`, where these are not the
                width over 64 and OpenAI's.

        Raises:
            InputError: The weights are not there: nothing is ever left random.
        """
        given = name_or_path.removeprefix(FOLDER_PREFIX)
        path = Path(given)
        if path.is_dir():
            return cls._from_open_clip(given, None, official_input)
        if path.is_file():
            return cls._from_file(path, official_input)
        if (
            given != name_or_path
            or path.suffix in (".pt", ".safetensors")
            or given.startswith((".", "/"))
        ):
            raise InputError(f"{name_or_path}: no such teacher; give --teacher a name or a path")
        if name_or_path.startswith(HUB_PREFIX):
            return cls._from_open_clip(name_or_path, None, official_input)
        name, _, tag = name_or_path.partition(":")
        return cls._from_open_clip(name, tag or None, official_input)

    @classmethod
    def random(cls, name: str) -> ClipTeacher:
        """Build an open_clip model's image tower with random weights: of use for timing only.

        Raises:
            InputError: open_clip has no model of the name.
        """
        import open_clip

        if name not in open_clip.list_models():
            raise InputError(
                f"teacher {name!r}: not an open_clip model; such as ViT-B-16-quickgelu"
            )
        return cls(open_clip.create_model(name).visual)

    @classmethod
    def from_visual_weights(
        cls,
        weights: dict[str, torch.Tensor],
        *,
        heads: int | None = None,
        mean: tuple[float, ...] = CLIP_MEAN,
        std: tuple[float, ...] = CLIP_STD,
        official_input: bool = False,
    ) -> ClipTeacher:
        """Build an image tower from weights with OpenAI's names (`visual.*`, QuickGELU).

        Args:
            heads: Attention heads; the width over 64 by default.
            mean, std: Mean and deviation, per color, of the pixels in 0..1 it was trained on.
        """
        from open_clip.transformer import QuickGELU, VisionTransformer

        visual = {name[7:]: value for name, value in weights.items() if name.startswith("visual.")}
        try:
            width, _, patch, _ = visual["conv1.weight"].shape
            heads = heads or width // HEAD_WIDTH
            if heads < 1 or width % heads:
                raise InputError(
                    f"teacher weights: width {width} cannot be split over {heads} attention heads; "
                    f'give their number as {{"heads": …}} in a .json file beside the weights'
                )
            layers = sum(name.endswith("ln_1.weight") for name in visual)
            held = sum(value.numel() for value in visual.values())
            if layers * 4 * width * width > held:
                raise InputError(
                    f"teacher weights: {layers} layers of width {width} in {held} weights; names "
                    f"without their weights are not built"
                )
            side = round((visual["positional_embedding"].shape[0] - 1) ** 0.5)
            tower = VisionTransformer(
                image_size=side * patch,
                patch_size=patch,
                width=width,
                layers=layers,
                heads=heads,
                mlp_ratio=4.0,
                output_dim=visual["proj"].shape[1],
                act_layer=QuickGELU,
            )
            tower.load_state_dict(visual)
        except InputError:
            raise
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            reason = in_one_line(error)
            raise InputError(
                f"teacher weights are not CLIP's image tower ({reason}); expected OpenAI's names"
            ) from error
        return cls(tower, mean=mean, std=std, official_input=official_input)

    @classmethod
    def _from_file(cls, path: Path, official_input: bool) -> ClipTeacher:
        opened = open_weights(path, CLIP)
        log_left_out(opened)
        weights = opened.weights
        try:
            described = _read_description(path.with_suffix(".json"))
            return cls.from_visual_weights(weights, **described, official_input=official_input)
        except ValueError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def _from_open_clip(cls, model: str, tag: str | None, official_input: bool) -> ClipTeacher:
        """Open a folder or a name; fine-tuned and QuickGELU models as open_clip describes them."""
        import open_clip

        opened = open_clip_model(model, pretrained=tag)
        settings = open_clip.get_model_preprocess_cfg(opened.model)
        return cls(
            opened.model.visual,
            mean=tuple(settings.get("mean", CLIP_MEAN)),
            std=tuple(settings.get("std", CLIP_STD)),
            official_input=official_input,
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the blocks, which share one graph; for arguments see `torch.compile`."""
        if self._plain:
            self._run_block = torch.compile(_run_block, *args, **kwargs)
        else:
            for block in self.visual.transformer.resblocks:
                block.compile(*args, **kwargs)

    @torch.no_grad()
    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        """Patch tokens of normalized images: (n, 3, H, W) float to (n, patches, target_dim)."""
        if not self._plain:
            return self._encode_by_open_clip(images)
        x = self.visual._embeds(images)
        kept = []
        for number, block in enumerate(self.visual.transformer.resblocks, start=1):
            x = self._run_block(block, x)
            if number in self.layers:
                kept.append(self.visual.ln_post(x)[:, 1:])
        return torch.cat(kept, -1) if len(kept) > 1 else kept[0]

    def _encode_by_open_clip(self, images: torch.Tensor) -> torch.Tensor:
        if len(self.layers) == 1:
            return self.visual(images)[1]
        found = self.visual.forward_intermediates(
            images,
            indices=[layer - 1 for layer in self.layers],
            normalize_intermediates=True,
            intermediates_only=True,
            output_fmt="NLC",
        )
        return torch.cat(found["image_intermediates"], -1)


def _is_plain(visual: Any) -> bool:
    """Whether a tower is of blocks with ordinary self-attention, as all of OpenAI's are."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return type(visual) is VisionTransformer and all(
        type(block) is ResidualAttentionBlock and type(block.attn) is nn.MultiheadAttention
        for block in visual.transformer.resblocks
    )


def _run_block(block: Any, x: torch.Tensor) -> torch.Tensor:
    """What a block of the tower computes, without the copies that `nn.MultiheadAttention` makes of
    its input: a quarter of the time in bfloat16 on a CPU (docs/performance.md)."""
    count, tokens, width = x.shape
    attention = block.attn
    qkv = linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(count, tokens, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
    x = x + block.ls_1(attention.out_proj(attended.reshape(count, tokens, width)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))


@dataclass(frozen=True, kw_only=True)
class _Description:
    """The JSON beside a file of weights: what they do not say themselves."""

    heads: Annotated[int, Interval(ge=1, le=1024)] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[Deviation, Deviation, Deviation] | None = None


def _read_description(path: Path) -> dict[str, Any]:
    """`heads`, `mean` and `std` from the JSON beside weights; nothing where there is none.

    Raises:
        InputError: It holds anything else.
    """
    try:
        described = read(path, _Description, remedy="it may hold heads, mean and std")
    except FileNotFoundError:
        return {}
    return {name: value for name, value in vars(described).items() if value is not None}
