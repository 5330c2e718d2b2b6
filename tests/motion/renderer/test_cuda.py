"""Models of a bank's build on a CUDA device, against the same on the CPU."""

from pathlib import Path

import numpy as np
import pytest
from smile_motion.bank import ObjectBank
from smile_motion.bank.candidates.build import Models, build_from_candidates
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.types import Category
from support.candidate_builds import TinyModels, files, plan
from support.tiny_pipelines import PROMPTS, SEEDS, open_tiny

pytestmark = pytest.mark.cuda


@pytest.fixture(scope="module")
def cuda_models(tiny_models: TinyModels) -> Models:
    """The small models, on the device."""
    return tiny_models.open(device="cuda")


def test_diffusion_in_float32_makes_the_images_of_the_cpu(tiny_sd: Path) -> None:
    mine = open_tiny(tiny_sd, device="cuda", dtype="float32").generate(PROMPTS, SEEDS).images
    theirs = open_tiny(tiny_sd, dtype="float32").generate(PROMPTS, SEEDS).images
    assert np.abs(mine.astype(int) - theirs).mean() < 1


def test_diffusion_takes_half_precision_and_repeats_itself(tiny_sd: Path) -> None:
    diffusion = open_tiny(tiny_sd, device="cuda")
    assert diffusion.dtype == "float16"
    made = diffusion.generate(PROMPTS, SEEDS).images
    assert made.shape == (4, 64, 64, 3)
    assert made.std(axis=(1, 2, 3)).min() > 10
    assert (diffusion.generate(PROMPTS, SEEDS).images == made).all()


def test_segmenter_and_scorer_say_what_they_say_on_the_cpu(
    tiny_models: TinyModels, models: Models, cuda_models: Models, pasted: np.ndarray
) -> None:
    categories = [Category(name) for name in ("cat", "flower", "teapot")]
    mine, theirs = (
        np.stack([mask.alpha for mask in one.segmenters[1].segment(pasted, categories)])
        for one in (cuda_models, models)
    )
    assert theirs.std() > 1
    assert np.abs(mine.astype(int) - theirs).mean() < 2
    alphas = np.full(pasted.shape[:3], 255, np.uint8)
    theirs = models.scorer.score(pasted, alphas, categories)
    whole = ClipScorer.open(str(tiny_models.folder / "clip"), device="cuda", dtype="float32")
    # Of a hundred; half precision has three digits.
    assert np.abs(whole.score(pasted, alphas, categories) - theirs).max() < 0.1
    assert np.abs(cuda_models.scorer.score(pasted, alphas, categories) - theirs).max() < 0.3


def test_a_bank_built_on_the_device_is_the_same_when_built_again(
    cuda_models: Models, tmp_path: Path
) -> None:
    wanted = plan(names=("cat", "flower"))
    for name in ("one", "other"):
        build_from_candidates(wanted, lambda: cuda_models, tmp_path / name)
        assert len(ObjectBank.open(tmp_path / name)) == 8
    one, other = files(tmp_path / "one"), files(tmp_path / "other")
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []
