"""Small pipelines of the families that `AutoPipelineForText2Image` opens, random and seeded."""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

from smile_motion.bank.candidates.diffusion import Diffusion

from support.tiny_models import seeded, text_config, tiny_tokenizer

PROMPTS = [f"a photo of a single {name}" for name in ("cat", "fire engine", "flower", "rocket")]
SEEDS = [11, 12, 13, 14]


def open_tiny(folder: Path, **options: bool | int | float | str) -> Diffusion:
    """Open a pipeline on the CPU, for three guided steps where nothing else is asked for."""
    settings = {"device": "cpu", "steps": 3, "guidance": 7.5, **options}
    return Diffusion.open(str(folder), **settings)  # pyright: ignore[reportArgumentType]


def write_tiny_stable_diffusion(
    folder: Path,
    *,
    safety_checker: Literal["none", "passes", "flags some", "flags all"] = "none",
    seed: int = 3,
) -> Path:
    """Write a Stable Diffusion 1.x pipeline of about 2 MB; 64 px images, coloured clouds on grey.

    Args:
        safety_checker: `none` leaves it out; otherwise a real one that flags no image, about every
            third one, or all.
    """
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPVisionConfig,
    )

    tokenizer = tiny_tokenizer(merges=1000)
    with seeded(seed):
        unet = _unet(cross_attention_dim=32, attention_head_dim=4)
        vae = _vae(sample_size=64)
        text_encoder = CLIPTextModel(CLIPTextConfig(**text_config(len(tokenizer))))
        checker = None
        if safety_checker != "none":
            vision = CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=32,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=32,
                patch_size=8,
                projection_dim=16,
            )
            config = CLIPConfig(vision_config=vision.to_dict(), projection_dim=16)
            checker = StableDiffusionSafetyChecker(config)
            limit = -2.0 if safety_checker == "flags all" else 2.0  # a cosine lies between
            checker.special_care_embeds.data.normal_()
            checker.special_care_embeds_weights.data.fill_(2.0)
            checker.concept_embeds.data.normal_()
            checker.concept_embeds_weights.data.fill_(limit)
            if safety_checker == "flags some":
                checker.concept_embeds_weights.data[0] = 0.12
    extractor = CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=checker,
        feature_extractor=extractor if checker is not None else None,
        requires_safety_checker=checker is not None,
    ).save_pretrained(folder)
    return folder


def write_tiny_sdxl(folder: Path, *, seed: int = 6) -> Path:
    """Write a Stable Diffusion XL with two text encoders and an ancestral Euler scheduler."""
    from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = tiny_tokenizer(merges=1000)
    text = CLIPTextConfig(**text_config(len(tokenizer)))
    with seeded(seed):
        unet = _unet(
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            transformer_layers_per_block=(1, 2),
            projection_class_embeddings_input_dim=64,
            cross_attention_dim=64,
        )
        vae = _vae(sample_size=64)
        first, second = CLIPTextModel(text), CLIPTextModelWithProjection(text)
    StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
        add_watermarker=False,
    ).save_pretrained(folder)
    return folder


def write_tiny_flux(folder: Path, *, seed: int = 7) -> Path:
    """Write a FLUX.1: a transformer with a CLIP and a T5 text encoder."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

    letters = [(space + letter, -3.0) for space in ("", "▁") for letter in ascii_lowercase]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    t5_tokenizer = T5Tokenizer(vocab=[*special, *letters], extra_ids=0, model_max_length=64)
    tokenizer = tiny_tokenizer(merges=1000)
    with seeded(seed):
        transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
        )
        vae = _vae(
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.0609,
            scaling_factor=1.5035,
        )
        clip = CLIPTextModel(CLIPTextConfig(**text_config(len(tokenizer))))
        t5 = T5EncoderModel(
            T5Config(
                vocab_size=len(t5_tokenizer), d_model=32, d_kv=8, d_ff=37, num_layers=1, num_heads=4
            )
        )
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=clip,
        tokenizer=tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    ).save_pretrained(folder)
    return folder


def _unet(**settings: Any) -> Any:
    """A U-Net for latents of 8 x 8, with the settings in which families differ."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **settings,
    )


def _vae(**settings: Any) -> Any:
    """A decoder of latents to images eight times as large."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 16, 16, 16),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **settings,
    )
