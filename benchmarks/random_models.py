"""Models of published sizes, or tiny, with random weights: of use for timing only."""

from dataclasses import dataclass
from typing import Any

import torch
from smile_motion.bank.candidates.build import Models
from smile_motion.bank.candidates.diffusion import Diffusion
from smile_motion.bank.candidates.images import DiffusionSource
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.segmenters import ClipSegSegmenter
from smile_motion.runtime.open_clip import OpenClipModel


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Settings of the random models."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    clipseg: dict[str, Any]
    clip: str | None
    size_px: int
    steps: int


FULL = Sizes(
    # The configurations that the models were published with.
    unet={
        "sample_size": 64, "block_out_channels": (320, 640, 1280, 1280), "layers_per_block": 2,
        "cross_attention_dim": 768, "attention_head_dim": 8,
    },
    vae={
        "block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "latent_channels": 4,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "sample_size": 512,
    },
    text={
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "projection_dim": 768,
    },
    clipseg={},
    clip="ViT-L-14",
    size_px=512,
    steps=50,
)  # fmt: skip
TINY = Sizes(
    unet={
        "sample_size": 8, "block_out_channels": (16, 32), "layers_per_block": 1,
        "norm_num_groups": 8, "cross_attention_dim": 32, "attention_head_dim": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    },
    vae={
        "block_out_channels": (16,) * 4, "layers_per_block": 1, "latent_channels": 4,
        "norm_num_groups": 8, "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "sample_size": 64,
    },
    text={
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "projection_dim": 16,
    },
    clipseg={
        "vision_config": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
            "num_attention_heads": 2, "image_size": 64, "patch_size": 16,
        },
        "text_config": {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_attention_heads": 2,
        },
        "projection_dim": 16, "extract_layers": [0, 1, 2], "reduce_dim": 16,
        "decoder_num_attention_heads": 2, "decoder_intermediate_size": 32, "conditional_layer": 0,
    },
    clip=None,
    size_px=64,
    steps=10,
)  # fmt: skip

TINY_VISION = {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16}
TINY_TEXT = {
    "context_length": 77, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1,
}  # fmt: skip


def tokenizer():
    """CLIP's own, from the vocabulary that open_clip carries."""
    import gzip

    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from transformers import CLIPTokenizer

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as lines:
        pairs = [tuple(line.split()) for line in list(lines)[1 : 49152 - 256 - 2 + 1]]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=pairs,  # pyright: ignore[reportArgumentType]
        model_max_length=77,
    )


def random_models(sizes: Sizes, device: str, batch: int) -> tuple[Models, int]:
    """Models of these sizes with random weights, and the denoiser's number of parameters."""
    import open_clip
    from diffusers import (
        AutoencoderKL,
        DPMSolverMultistepScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        ViTImageProcessor,
    )

    dtype = torch.float16 if device.startswith("cuda") else torch.float32
    with torch.device(device):
        unet = UNet2DConditionModel(**sizes.unet)
        vae = AutoencoderKL(**sizes.vae)
        text = CLIPTextModel(CLIPTextConfig(**sizes.text))
        seg = CLIPSegForImageSegmentation(CLIPSegConfig(**sizes.clipseg))
    pipeline = StableDiffusionPipeline(
        vae=vae.to(dtype),
        text_encoder=text.to(dtype),
        tokenizer=tokenizer(),
        unet=unet.to(dtype),
        scheduler=DPMSolverMultistepScheduler(
            steps_offset=1,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
        ),
        safety_checker=None,  # pyright: ignore[reportArgumentType]
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    diffusion = Diffusion(
        pipeline=pipeline, model="random", revision=None, steps=sizes.steps, guidance=7.5,
        size_px=sizes.size_px, dtype=str(dtype).removeprefix("torch."), safety_checker=None,
    )  # fmt: skip
    seen = seg.config.vision_config.image_size
    segmenter = ClipSegSegmenter(
        name="clipseg", model_name="random", weights=None, revision=None,
        model=seg.eval().requires_grad_(False), batch=batch,
        processor=CLIPSegProcessor(
            ViTImageProcessor(size={"height": seen, "width": seen}), tokenizer()
        ),
    )  # fmt: skip
    clip: Any = (
        open_clip.model.CLIP(16, TINY_VISION, TINY_TEXT, quick_gelu=True)
        if sizes.clip is None
        else open_clip.create_model(
            sizes.clip, device=device, precision="fp16" if dtype == torch.float16 else "fp32"
        )
    )
    side = clip.visual.image_size
    preprocess = PreprocessCfg(size=side[0] if isinstance(side, tuple) else side)
    scorer = ClipScorer(
        clip=OpenClipModel(
            model=clip.eval().requires_grad_(False),
            preprocess=image_transform_v2(preprocess, is_train=False),
            tokenizer=open_clip.get_tokenizer("ViT-L-14"),
            name="random", pretrained=None, weights_sha256="",
        ),
        device=device, dtype=diffusion.dtype, batch=batch,
    )  # fmt: skip
    source = DiffusionSource(diffusion=diffusion, prompt="a photo of a single {name}", seed=0)
    models = Models(source=source, segmenters=[segmenter], scorer=scorer)
    return models, sum(parameter.numel() for parameter in unet.parameters())
