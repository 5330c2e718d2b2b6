"""Small models for the tests, in the formats of the real ones and written in a second or two.

The Stable Diffusion, the CLIPSeg and the CLIP have random, seeded weights: what they say means
nothing, but everything around them is real. The ONNX segmenter truly segments.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch

START, END = "<|startoftext|>", "<|endoftext|>"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def write_tiny_stable_diffusion(
    folder: Path,
    *,
    safety_checker: Literal["none", "passes", "flags some", "flags all"] = "none",
    seed: int = 3,
) -> Path:
    """Write a Stable Diffusion 1.x pipeline of about 2 MB; 64 px images, coloured clouds on grey.

    safety_checker  `none` leaves it out; otherwise a real one that flags no image, about every
                    third one, or all.
    """
    from diffusers import (
        AutoencoderKL,
        DDIMScheduler,
        StableDiffusionPipeline,
        UNet2DConditionModel,
    )
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
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
        )
        vae = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(16, 16, 16, 16),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            sample_size=64,
        )
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


def write_tiny_clipseg(folder: Path, *, size_px: int = 64, seed: int = 4) -> Path:
    """Write a CLIPSeg with its processor, as `save_pretrained` does for the hub."""
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        ViTImageProcessor,
    )

    tokenizer = tiny_tokenizer(merges=1000)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": size_px,
        "patch_size": 16,
    }
    with seeded(seed):
        model = CLIPSegForImageSegmentation(
            CLIPSegConfig(
                text_config=text_config(len(tokenizer)),
                vision_config=vision,
                projection_dim=16,
                extract_layers=[0, 1, 2],
                reduce_dim=16,
                decoder_num_attention_heads=2,
                decoder_intermediate_size=32,
                conditional_layer=0,
            )
        ).eval()
        # The initial weights are too small for image or prompt to matter.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                gain = 8 if "text_model" in name or "film" in name else 1
                parameter.data.normal_(0, gain / parameter[0].numel() ** 0.5)
    processor = ViTImageProcessor(
        size={"height": size_px, "width": size_px},
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )
    model.save_pretrained(folder)
    CLIPSegProcessor(processor, tokenizer).save_pretrained(folder)
    return folder


def write_tiny_clip(folder: Path, *, side: int = 64, patch: int = 16, seed: int = 5) -> Path:
    """Write a CLIP as open_clip writes one for the hub; it reads text with the full vocabulary."""
    import open_clip
    from safetensors.torch import save_file

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": side,
            "layers": 2,
            "width": 32,
            "head_width": 16,
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 1,
            "layers": 1,
        },
    }
    preprocess = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    folder.mkdir(parents=True, exist_ok=True)
    described = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(described), encoding="utf-8")
    with seeded(seed):
        model = open_clip.model.CLIP(**{**config, "quick_gelu": True})
    save_file(
        {name: value.contiguous() for name, value in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder


def write_tiny_onnx_segmenter(
    path: Path,
    *,
    size_px: int = 64,
    batch: int | None = None,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
    sigmoid: bool = True,
    threshold: float = 0.15,
    sharpness: float = 60.0,
    input_name: str = "input",
    output_name: str = "mask",
    outputs: int = 1,
    half: bool = False,
    describe: bool = True,
) -> Path:
    """Write a model that finds what differs in colour from the image's border, and its TOML.

    It undoes the normalisation, so that a wrong one gives a wrong mask: known shapes on plain
    backgrounds give known masks.

    batch       None leaves the number of images open; 1 fixes it, as BiRefNet's exports do.
    sigmoid     part of the model; else the TOML asks for it.
    threshold   difference from the border's mean, largest channel of 0..1, where the mask is 0.5.
    outputs     more than one adds the mask's complements after it, named `side1` and so on.
    half        in float16, input and output too.
    describe    write the TOML.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    real, kind = (np.float16, TensorProto.FLOAT16) if half else (np.float32, TensorProto.FLOAT)
    constants = {
        "std": np.array(std, real).reshape(1, 3, 1, 1),
        "mean": np.array(mean, real).reshape(1, 3, 1, 1),
        "first": np.array([0]),
        "second": np.array([1]),
        "last": np.array([size_px - 1]),
        "end": np.array([size_px]),
        "rows": np.array([2]),
        "columns": np.array([3]),
        "quarter": np.array(0.25, real),
        "box": np.full((1, 1, 3, 3), 1 / 9, real),
        "threshold": np.array(threshold, real),
        "sharpness": np.array(sharpness, real),
        "one": np.array(1, real),
    }
    edges = {
        "top": ("first", "second", "rows"),
        "bottom": ("last", "end", "rows"),
        "left": ("first", "second", "columns"),
        "right": ("last", "end", "columns"),
    }
    node = helper.make_node
    nodes = [node("Mul", [input_name, "std"], ["scaled"]), node("Add", ["scaled", "mean"], ["rgb"])]
    for edge, (start, stop, axis) in edges.items():
        nodes.append(node("Slice", ["rgb", start, stop, axis], [edge]))
        nodes.append(node("ReduceMean", [edge], [f"{edge}_mean"], axes=[2, 3], keepdims=1))
    result = "probability" if sigmoid else "logit"
    nodes += [
        node("Sum", [f"{edge}_mean" for edge in edges], ["edges"]),
        node("Mul", ["edges", "quarter"], ["border"]),
        node("Sub", ["rgb", "border"], ["difference"]),
        node("Abs", ["difference"], ["size"]),
        node("ReduceMax", ["size"], ["distance"], axes=[1], keepdims=1),
        node("Conv", ["distance", "box"], ["smooth"], pads=[1, 1, 1, 1]),
        node("Sub", ["smooth", "threshold"], ["over"]),
        node("Mul", ["over", "sharpness"], ["logit"]),
        node("Sigmoid", ["logit"], ["probability"]),
        node("Identity", [result], [output_name]),
    ]
    names = [output_name, *(f"side{number}" for number in range(1, outputs))]
    nodes += [node("Sub", ["one", result], [name]) for name in names[1:]]
    images = batch or "N"
    graph = helper.make_graph(
        nodes,
        "border_difference",
        [helper.make_tensor_value_info(input_name, kind, [images, 3, size_px, size_px])],
        [
            helper.make_tensor_value_info(name, kind, [images, 1, size_px, size_px])
            for name in names
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
    if describe:
        lines = [f"size_px = {size_px}", f"mean = {list(mean)}", f"std = {list(std)}"]
        lines += [f'output = "{output_name}"'] * (outputs > 1)
        lines += ["sigmoid = true"] * (not sigmoid)
        path.with_suffix(".toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def tiny_tokenizer(*, merges: int):
    """CLIP's tokenizer with the first of its merges only."""
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from transformers import CLIPTokenizer

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as lines:
        pairs = [tuple(next(lines).split()) for _ in range(merges + 1)][1:]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *map("".join, pairs), START, END]
    return CLIPTokenizer(
        vocab={word: number for number, word in enumerate(words)},
        merges=pairs,  # pyright: ignore[reportArgumentType]
        model_max_length=77,
    )


def text_config(words: int) -> dict[str, int]:
    """Settings of a text encoder with a vocabulary of so many words."""
    return {
        "vocab_size": words,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "projection_dim": 16,
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "pad_token_id": words - 1,
    }


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from a seed and leave torch's own generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
