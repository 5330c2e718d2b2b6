import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.types import Category
from smile_motion.errors import InputError
from support.no_network import no_network
from support.tiny_clip import write_tiny_clip

# The weights are random: the scores prove what is computed, not that it means something.

NAMES = ("cat", "fire_engine", "flower", "temple", "coffee mug", "rocket")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def images(photographs: Path) -> np.ndarray:
    """Six real photographs: (6, 128, 128, 3) uint8."""
    opened = [Image.open(path).convert("RGB") for path in sorted(photographs.iterdir())]
    return np.stack([np.asarray(image.resize((128, 128))) for image in opened])


@pytest.fixture(scope="module")
def alphas() -> np.ndarray:
    """Soft discs of several sizes: (6, 128, 128) uint8."""
    y, x = np.mgrid[:128, :128]
    radius = np.linspace(30, 75, 6)[:, None, None]
    return np.clip(255 * (radius - np.hypot(x - 64, y - 60)) / 20, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def categories() -> list[Category]:
    return [Category(name) for name in NAMES]


def by_open_clip_alone(
    folder: Path, images: np.ndarray, alphas: np.ndarray, texts: list[str]
) -> np.ndarray:
    """Cosines times 100, one image at a time."""
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(texts)
    scores = []
    with torch.no_grad():
        said = model.eval().encode_text(tokens)
        for image, alpha, text in zip(images, alphas, said, strict=True):
            on_white = image.copy()
            on_white[alpha <= 128] = 255
            seen = model.encode_image(preprocess(Image.fromarray(on_white))[None])[0]
            scores.append(100 * torch.cosine_similarity(seen, text, dim=0).item())
    return np.array(scores)


def test_scores_are_open_clips_cosines_of_the_cut_out_on_white(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    scores = ClipScorer.open(str(clip)).score(images, alphas, categories)
    texts = [f"a photo of {name.replace('_', ' ')}" for name in NAMES]
    wanted = by_open_clip_alone(clip, images, alphas, texts)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, wanted, atol=1e-4, rtol=0)
    assert np.ptp(scores) > 1


def test_a_landscape_image_is_seen_as_open_clip_sees_it(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    wide, low = images[:, :80], alphas[:, :80]
    scores = ClipScorer.open(f"local-dir:{clip}").score(wide, low, categories)
    texts = [f"a photo of {name.replace('_', ' ')}" for name in NAMES]
    wanted = by_open_clip_alone(clip, wide, low, texts)
    np.testing.assert_allclose(scores, wanted, atol=1e-4, rtol=0)


def test_the_batch_and_what_was_scored_before_do_not_matter(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    whole = ClipScorer.open(str(clip), batch=32).score(images, alphas, categories)
    for batch in (1, 4):
        scorer = ClipScorer.open(str(clip), batch=batch)
        scorer.score(images[:1], alphas[:1], [Category("teapot")])
        parts = scorer.score(images, alphas, categories)
        np.testing.assert_allclose(parts, whole, atol=1e-4, rtol=0)
        backwards = scorer.score(images[::-1], alphas[::-1], categories[::-1])
        np.testing.assert_allclose(backwards[::-1], whole, atol=1e-4, rtol=0)


def test_only_what_the_mask_shows_counts(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    scorer = ClipScorer.open(str(clip))
    usual = scorer.score(images, alphas, categories)
    outside = np.where((alphas > 128)[..., None], images, np.uint8((255, 0, 255)))
    assert (scorer.score(outside, alphas, categories) == usual).all()
    inside = np.where((alphas > 128)[..., None], np.uint8(40), images)
    assert (scorer.score(inside, alphas, categories) != usual).all()
    assert (scorer.score(images, alphas, [Category("cat")] * 6)[1:] != usual[1:]).all()


def test_another_text_is_another_score(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    text = "a drawing of one {name}"
    scores = ClipScorer.open(str(clip), text=text).score(images, alphas, categories)
    texts = [text.format(name=name.replace("_", " ")) for name in NAMES]
    wanted = by_open_clip_alone(clip, images, alphas, texts)
    np.testing.assert_allclose(scores, wanted, atol=1e-4, rtol=0)
    with pytest.raises(InputError, match=r"'a photo' has no \{name\} where the category goes"):
        ClipScorer.open(str(clip), text="a photo")


def test_half_precision_is_near(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    exact = ClipScorer.open(str(clip)).score(images, alphas, categories)
    scorer = ClipScorer.open(str(clip), device="cpu", dtype="bfloat16")
    assert scorer.card()["dtype"] == "bfloat16"
    rough = scorer.score(images, alphas, categories)
    np.testing.assert_allclose(rough, exact, atol=3, rtol=0)
    assert (rough != exact).any()
    with pytest.raises(InputError, match="float16 runs on CUDA only"):
        ClipScorer.open(str(clip), device="cpu", dtype="float16")


def test_a_folder_is_opened_without_network_and_named_by_its_weights(
    clip: Path, images: np.ndarray, alphas: np.ndarray, categories: list[Category]
) -> None:
    with no_network() as tried:
        scorer = ClipScorer.open(str(clip))
        scorer.score(images, alphas, categories)
    assert tried == []
    weights = (clip / "open_clip_model.safetensors").read_bytes()
    assert scorer.card() == {
        "model": "clip",
        "pretrained": None,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "text": "a photo of {name}",
        "dtype": "float32",
    }


@pytest.mark.parametrize(
    ("model", "pretrained", "message"),
    [
        ("no-such-model", None, r"neither a folder nor an open_clip model, such as ViT-L-14"),
        ("ViT-B-32", "nowhere", r"no weights 'nowhere' for it; it has openai, laion400m"),
        ("./missing", None, r"./missing: no such folder; give a folder"),
        ("local-dir:missing", None, r"no such folder; give a folder"),
    ],
)
def test_a_model_that_is_not_there_is_refused(
    model: str, pretrained: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ClipScorer.open(model, pretrained=pretrained)


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with (
        no_network(),
        pytest.raises(
            InputError, match=r"ViT-B-32.*not in the hub's cache.*HF_HUB_OFFLINE is set"
        ) as refusal,
    ):
        ClipScorer.open("ViT-B-32", pretrained="laion2b_s34b_b79k")
    assert "\n" not in str(refusal.value)


def test_a_folder_that_lacks_something_is_refused(clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clip, copy)
    weights = copy / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-64])
    with pytest.raises(InputError, match=r"copy: not a CLIP that open_clip reads \(.*\); download"):
        ClipScorer.open(str(copy))
    weights.unlink()
    with pytest.raises(InputError, match=r"copy: no weights beside open_clip_config.json"):
        ClipScorer.open(str(copy))
    (copy / "open_clip_config.json").unlink()
    with pytest.raises(InputError, match=r"copy: no open_clip_config.json; give the folder"):
        ClipScorer.open(str(copy))
    with pytest.raises(InputError, match=r"a folder has no weights 'openai' to choose; drop it"):
        ClipScorer.open(str(clip), pretrained="openai")
    with pytest.raises(InputError, match=r"a scorer's batch of 0; expected at least 1"):
        ClipScorer.open(str(clip), batch=0)


def test_a_name_opens_with_the_activation_its_weights_were_trained_with(
    clip: Path,
    images: np.ndarray,
    alphas: np.ndarray,
    categories: list[Category],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # OpenAI's weights need QuickGELU, which open_clip's plain names leave out with a warning.
    described = json.loads((clip / "open_clip_config.json").read_text(encoding="utf-8"))
    plain, quick = described["model_cfg"], {**described["model_cfg"], "quick_gelu": True}
    weights = {"file": str(clip / "open_clip_model.safetensors"), **described["preprocess_cfg"]}
    tags = {"openai": {**weights, "quick_gelu": True}, "laion": weights}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", plain)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    default = ClipScorer.open("tiny")
    assert default.card()["pretrained"] == "openai"
    assert default.card()["sha256"] == ClipScorer.open(str(clip)).card()["sha256"]
    scores = {
        "openai": default.score(images, alphas, categories),
        "laion": ClipScorer.open("tiny", pretrained="laion").score(images, alphas, categories),
    }
    for tag, config in (("openai", quick), ("laion", plain)):
        (clip.parent / tag).mkdir()
        shutil.copy(clip / "open_clip_model.safetensors", clip.parent / tag)
        (clip.parent / tag / "open_clip_config.json").write_text(
            json.dumps({**described, "model_cfg": config}), encoding="utf-8"
        )
        wanted = ClipScorer.open(str(clip.parent / tag)).score(images, alphas, categories)
        np.testing.assert_array_equal(scores[tag], wanted)
    assert (scores["openai"] != scores["laion"]).all()
