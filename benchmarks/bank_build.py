"""Throughput of each stage of a bank build, and how much of the time the diffusion model works.

    uv run python benchmarks/bank.py --build [--device cuda] [--candidates 64]

On CUDA the models have the sizes of Stable Diffusion 1.5, CLIPSeg rd64 and CLIP ViT-L/14; on the
CPU they are tiny, and their figures say nothing. All weights are random: the work is the same, what
they say means nothing. Cleaning, fingerprint and PNG see 512 px pictures on either.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from smile_motion.bank import ProceduralSource
from smile_motion.bank.candidate_bank import CandidatePlan, Models
from smile_motion.bank.candidate_store import (
    Cutting,
    cut_out,
    encode_fast,
    store_candidate,
)
from smile_motion.bank.candidates import Candidate, Category, Mask, MaskScore, Thresholds
from smile_motion.bank.cleaning import clean
from smile_motion.bank.diffusion import Diffusion
from smile_motion.bank.duplicates import fingerprint
from smile_motion.bank.journal import JOURNAL, Journal
from smile_motion.bank.makers import DiffusionMaker
from smile_motion.bank.open_clip_models import OpenClipModel
from smile_motion.bank.pipeline import Pipeline
from smile_motion.bank.schedule import Schedule
from smile_motion.bank.scoring import ClipScorer
from smile_motion.bank.segmenting import ClipSegSegmenter
from smile_motion.bank.units import Goal, plan_units

CORES = 2
"""Threads of the stages without a model."""
GOAL_PER_S = 100.0
"""Objects that those stages should manage together on two cores."""
GOAL_BUSY = 0.9
"""Share of the time that the diffusion model should work."""


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
    maker = DiffusionMaker(diffusion=diffusion, prompt="a photo of a single {name}", seed=0)
    models = Models(maker=maker, segmenters=[segmenter], scorer=scorer)
    return models, sum(parameter.numel() for parameter in unet.parameters())


def pictures(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Procedural objects, 400 px, on smooth colours at 512 px, with their soft masks."""
    source, made = ProceduralSource(count=count), []
    for number in range(count):
        rng = np.random.default_rng(number)
        image = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (512, 512))
        rgba = source.make(number).image
        factor = 400 / max(rgba.shape[:2])
        rgba = cv2.resize(rgba, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        alpha = np.zeros((512, 512), np.uint8)
        alpha[50 : 50 + rgba.shape[0], 50 : 50 + rgba.shape[1]] = rgba[..., 3]
        colour = np.zeros((512, 512, 3), np.uint8)
        colour[50 : 50 + rgba.shape[0], 50 : 50 + rgba.shape[1]] = rgba[..., :3]
        share = alpha[..., None] / 255.0
        grain = rng.normal(0, 3, (512, 512, 1))
        mixed = colour * share + image * (1 - share) + grain
        made.append((np.rint(mixed).clip(0, 255).astype(np.uint8), alpha))
    return made


def per_second(action: Callable[[Any], object], items: Sequence[Any]) -> tuple[float, float]:
    """How many items an action manages a second on two cores, the best of three times.

    returns by the clock, and by the processor's time: as on a machine that nobody else uses.
    """
    cv2.setNumThreads(1)
    by_clock = by_processor = 0.0
    with ThreadPoolExecutor(CORES) as pool:
        for _ in range(3):
            start, used = time.perf_counter(), time.process_time()
            list(pool.map(action, items))
            by_clock = max(by_clock, len(items) / (time.perf_counter() - start))
            by_processor = max(by_processor, CORES * len(items) / (time.process_time() - used))
    return by_clock, by_processor


def measure_cutting(count: int) -> dict[str, tuple[float, float]]:
    """Objects a second of the stages without a model, each alone, together, and with all files."""
    made = pictures(count)
    cutting = Cutting(thresholds=Thresholds())
    score = MaskScore("isnet", 30.0, 0.3, 1.0)
    cuts = [clean(image, alpha) for image, alpha in made]
    objects = [rgba for rgba in cuts if rgba is not None]

    def together(item: tuple[np.ndarray, np.ndarray]) -> None:
        rgba = cut_out(*item, score, cutting)
        assert rgba is not None
        fingerprint(rgba)
        encode_fast(rgba)

    with tempfile.TemporaryDirectory() as folder:

        def store(number: int) -> None:
            image, alpha = made[number]
            candidate = Candidate("thing", number, "", None, None, (score,))
            store_candidate(Path(folder), candidate, image, [Mask(alpha, 1.0)], cutting)

        return {
            "cleaning": per_second(lambda item: clean(*item), made),
            "fingerprint": per_second(fingerprint, objects),
            "PNG of the object": per_second(encode_fast, objects),
            "cleaning, fingerprint, PNG": per_second(together, made),
            "the same, image and mask written too": per_second(store, range(count)),
        }


def measure_models(models: Models, batch: int) -> dict[str, float]:
    """Images a second of the stages with a model, each alone."""
    unit = plan_units([Goal(Category("fire engine"), batch, batch)], batch)[0]
    attempts = [attempt for one in _round(unit, batch) for attempt in one]
    made = models.maker.make(attempts)
    images = np.stack([one.image for one in made])
    categories = [attempt.category for attempt in attempts]
    masks = models.segmenters[0].segment(images, categories)
    alphas = np.stack([mask.alpha for mask in masks])
    models.scorer.score(images, alphas, categories)
    stages = {
        "diffusion": lambda: models.maker.make(attempts),
        "segmentation (CLIPSeg)": lambda: models.segmenters[0].segment(images, categories),
        "scoring": lambda: models.scorer.score(images, alphas, categories),
    }
    found = {}
    for name, stage in stages.items():
        start = time.perf_counter()
        for _ in range(3):
            stage()
        found[name] = 3 * batch / (time.perf_counter() - start)
    return found


def measure_pipeline(models: Models, candidates: int, batch: int) -> tuple[float, float]:
    """Candidates a second of the whole, and the diffusion model's busy share."""
    each = 2 * batch
    goals = tuple(
        Goal(Category(f"thing {number}"), each, each) for number in range(-(-candidates // each))
    )
    wanted = CandidatePlan(goals=goals, batch=batch)
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / JOURNAL) as journal:
        progress = Pipeline(
            bank=Path(folder),
            maker=models.maker,
            segmenters=models.segmenters,
            scorer=models.scorer,
            cutting=Cutting(thresholds=wanted.thresholds),
            schedule=Schedule(plan_units(goals, batch), batch, wanted.thresholds, ()),
            journal=journal,
        ).run()
    return progress.written / progress.seconds, progress.busy_share


def _round(unit: Any, batch: int) -> Any:
    from smile_motion.bank.units import first_round

    return first_round(unit, batch)


def measure_build(device: str, candidates: int, batch: int) -> None:
    """Measure and print."""
    console = Console()
    full = device.startswith("cuda")
    models, parameters = random_models(FULL if full else TINY, device, batch)
    sizes = "of Stable Diffusion 1.5's size" if full else "tiny: its figures say nothing"
    title = f"random weights {sizes} ({parameters / 1e6:.0f} M parameters), batches of {batch}"
    table = Table("stage", "per second", "by processor time", title=title)
    for name, rate in measure_models(models, batch).items():
        table.add_row(name, f"{rate:.1f}", "")
    cutting = measure_cutting(64)
    for name, rates in cutting.items():
        table.add_row(name, *(f"{rate:.0f}" for rate in rates))
    rate, busy = measure_pipeline(models, candidates, batch)
    table.add_row("the whole pipeline", f"{rate:.1f}", "")
    console.print(table)
    together = cutting["cleaning, fingerprint, PNG"][1]
    for what, found, goal in (
        (
            f"cleaning, fingerprint and PNG on {CORES} cores of our own, objects/s",
            together,
            GOAL_PER_S,
        ),
        ("diffusion busy, percent of the time", 100 * busy, 100 * GOAL_BUSY),
    ):
        console.print(
            f"{what}: {found:.0f}, goal {goal:.0f}: {'met' if found >= goal else 'MISSED'}"
        )
