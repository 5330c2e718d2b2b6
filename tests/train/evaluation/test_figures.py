"""Figures of evaluations: what they measure obeys its laws, and the files are what they say."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import smile_train
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from smile_motion.cli.app import run_app
from smile_motion.errors import InputError
from smile_motion.tokens import TokenGrid
from smile_motion.video import index_video, read_frames, write_video
from smile_train.__main__ import COMMANDS
from smile_train.evaluation.figures.attention import (
    Query,
    attention_map,
    last_attention,
    paint_attention,
)
from smile_train.evaluation.figures.clips import ClipSource, cut_middle, short_names
from smile_train.evaluation.figures.gallery import ROWS, Exhibit, Gallery, shorten
from smile_train.evaluation.figures.pca import Components, paint_components
from smile_train.evaluation.figures.similarity import frame_similarity, measure_similarity
from smile_train.evaluation.results import Results
from smile_train.models.layers import Attention


def evaluate(*words: str | Path) -> int:
    return run_app("smile_train", "", COMMANDS, ["evaluate", *map(str, words)])


def small_frames(video: Path, first: int, count: int, step: int = 1) -> np.ndarray:
    images = read_frames(index_video(video), first + step * np.arange(count))
    return cut_middle(images, (64, 64))


@pytest.fixture(scope="module")
def still_and_cut(
    tmp_path_factory: pytest.TempPathFactory, real_videos: dict[str, Path]
) -> dict[str, Path]:
    """A video of one frame that is repeated, and one of two scenes, 4 frames each."""
    folder = tmp_path_factory.mktemp("videos")
    bikes, bunny = (small_frames(video, 40, 4) for video in real_videos.values())
    found = {"still": bikes[:1].repeat(8, 0), "cut": np.concatenate([bikes, bunny])}
    for name, frames in found.items():
        write_video(folder / f"{name}.mp4", frames, rate_hz=8, lossless=True)
    return {name: folder / f"{name}.mp4" for name in found}


@given(seed=st.integers(0, 1000), factor=st.floats(0.01, 100))
def test_similarity_is_a_cosine(seed: int, factor: float) -> None:
    features = np.random.default_rng(seed).normal(size=(5, 7))
    matrix = frame_similarity(features)
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(matrix.diagonal(), 1)
    np.testing.assert_allclose(frame_similarity(factor * features), matrix, atol=1e-12)
    turned = features @ np.linalg.qr(np.random.default_rng(1).normal(size=(7, 7)))[0]
    np.testing.assert_allclose(frame_similarity(turned), matrix, atol=1e-12)


def test_similarity_tells_scenes_apart(checkpoint: Path, still_and_cut: dict[str, Path]) -> None:
    """Positions are taken off the encoder: what then differs between slices is what they show."""
    encoder = smile_train.load(checkpoint)
    encoder.encoder.get_buffer("positions").zero_()
    encoder.encoder.blocks = torch.nn.ModuleList()  # attention would mix the slices
    found = {}
    for name, path in still_and_cut.items():
        clips = ClipSource(videos=path, stride=1).read(encoder.grid)
        found[name] = measure_similarity(encoder, clips, name=name)
    np.testing.assert_allclose(found["still"].curve, 1, atol=1e-6)
    assert found["still"].metrics == pytest.approx({"second": 1, "last": 1, "mean": 1})
    matrix = found["cut"].matrix
    within = [matrix[0, 1], matrix[2, 3]]
    across = matrix[:2, 2:]
    assert across.max() < min(within) - 0.1
    assert found["cut"].starts == (0, 2, 4, 6)


def test_similarity_of_several_encoders(
    checkpoint: Path,
    still_and_cut: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    videos = still_and_cut["still"].parent
    out = tmp_path / "out"
    words = ("similarity", checkpoint, checkpoint, "--names", "a", "b")
    assert evaluate(*words, "--videos", videos, "--out", out, "--stride=1") == 0
    content = json.loads((out / "similarity.json").read_text())
    first, second = content["encoders"]
    assert first["name"] == "a"
    assert first["curve"] == second["curve"]
    assert len(first["matrix"]) == 4
    assert first["curve"] == first["matrix"][0]
    np.testing.assert_allclose(np.mean(first["curves"], axis=0), first["curve"], atol=1e-6)
    assert len(first["curves"]) == 2
    assert len(content["videos"]) == 2
    results = Results.read(out / "b")
    assert results.protocol == "similarity"
    assert results.samples == 2
    assert results.metrics["last"] == pytest.approx(first["curve"][-1], abs=1e-6)
    assert results.pretraining["student"] == "mini"
    with Image.open(out / "similarity.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    capsys.readouterr()
    assert evaluate(*words[:3], "--names", "a", "a", "--videos", videos, "--out", out) == 2
    assert "1 different names for 2 checkpoints" in capsys.readouterr().err
    assert evaluate(*words, "--videos", videos, "--out", out, "--limit=0") == 2
    assert "--limit is 0" in capsys.readouterr().err


def test_other_towers_have_frames_but_no_attention_of_ours(
    tiny_clip: Path, still_and_cut: dict[str, Path]
) -> None:
    """CLIP looks at each frame by itself: equal frames are equal, and two scenes are two blocks."""
    encoder = smile_train.load(f"clip:{tiny_clip}")
    source = ClipSource(videos=still_and_cut["still"].parent, stride=1)
    found = measure_similarity(encoder, source.read(encoder.grid), name="clip")
    cut, still = found.matrices
    assert found.starts == tuple(range(8))
    np.testing.assert_allclose(still, 1, atol=1e-5)
    assert min(cut[:4, :4].min(), cut[4:, 4:].min()) > cut[:4, 4:].max()
    video = torch.zeros(8, encoder.grid.height, encoder.grid.width, 3, dtype=torch.uint8)
    with pytest.raises(InputError, match="no blocks of ours"):
        attention_map(encoder, video, Query())


def test_attention_is_that_of_the_block() -> None:
    """The weights, applied to the values, give what the module itself computes for a token."""
    torch.manual_seed(4)
    module = Attention(12, 1).double()
    for bias in (module.q_bias, module.v_bias):
        torch.nn.init.normal_(bias)
    x = torch.randn(1, 9, 12, dtype=torch.float64)
    with torch.no_grad():
        values = x[0] @ module.qkv.weight[24:].T + module.v_bias
        expected = module(x)[0]
        for token in (0, 5):
            weights = last_attention(module, x, token)
            assert float(weights.sum()) == pytest.approx(1)
            torch.testing.assert_close(module.proj(weights @ values), expected[token])


def test_attention_of_many_heads_is_their_mean() -> None:
    torch.manual_seed(4)
    module = Attention(12, 3).double()
    x = torch.randn(1, 9, 12, dtype=torch.float64)
    with torch.no_grad():
        q, k, _ = (x[0] @ module.qkv.weight.T).view(9, 3, 3, 4).permute(1, 2, 0, 3)
        scores = (q @ k.transpose(1, 2) / 2).softmax(-1).mean(0)
        torch.testing.assert_close(last_attention(module, x, 7), scores[7])
        mean = (q.mean(1, keepdim=True) @ k.transpose(1, 2) / 2).softmax(-1).mean(0)[0]
        torch.testing.assert_close(last_attention(module, x, None), mean)


def test_attention_follows_what_is_shown(checkpoint: Path, real_videos: dict[str, Path]) -> None:
    """Swapping halves of the picture swaps halves of the map where positions say nothing."""
    encoder = smile_train.load(checkpoint)
    encoder.encoder.get_buffer("positions").zero_()
    frames = small_frames(real_videos["bikes"], 60, 8)
    swapped = np.roll(frames, 32, axis=2)
    maps = [attention_map(encoder, torch.from_numpy(f), Query()) for f in (frames, swapped)]
    assert maps[0].shape == encoder.grid.shape == (4, 4, 4)
    assert maps[0].sum() == pytest.approx(1)
    np.testing.assert_allclose(np.roll(maps[0], 2, axis=2), maps[1], atol=1e-6)
    assert np.ptp(maps[0]) > 1e-4
    painted = paint_attention(frames, maps[0], encoder.grid, Query())
    bright = painted.astype(int).sum(-1).reshape(4, 2, 4, 16, 4, 16).mean((1, 3, 5))
    assert np.corrcoef(bright.ravel(), maps[0].ravel())[0, 1] > 0.5
    with pytest.raises(InputError, match=r"token \(4, 0, 0\) lies outside the grid"):
        attention_map(encoder, torch.from_numpy(frames), Query(slice=4))


def test_attention_and_components_become_videos(
    checkpoint: Path, still_and_cut: dict[str, Path], tmp_path: Path
) -> None:
    videos = still_and_cut["still"].parent
    shared = ("--videos", videos, "--stride=1")
    assert evaluate("attention", checkpoint, *shared, "--out", tmp_path / "a") == 0
    index = index_video(tmp_path / "a/cut.mp4")
    shown = read_frames(index, np.arange(len(index)))
    assert shown.shape == (8, 256, 256 * 2 + 4, 3)
    left = cv2.resize(shown[5, :, :256], (64, 64), interpolation=cv2.INTER_AREA)
    original = read_frames(index_video(still_and_cut["cut"]), [5])[0]
    assert np.abs(left.astype(int) - original).mean() < 8
    content = json.loads((tmp_path / "a/attention.json").read_text())
    assert content["query"] == "mean"
    assert np.sum(content["videos"]["cut"]["map"]) == pytest.approx(1, abs=1e-5)
    assert sum(content["videos"]["cut"]["slices"]) == pytest.approx(1, abs=1e-5)
    assert 0 < content["videos"]["cut"]["spread"] <= 1
    words = ("pca", checkpoint, *shared, "--over=all", "--form=webp")
    assert evaluate(*words, "--out", tmp_path / "p") == 0
    with Image.open(tmp_path / "p/still.webp") as moving:
        assert getattr(moving, "n_frames", 1) >= 1
        assert moving.size == (256 * 2 + 4, 256)
    found = json.loads((tmp_path / "p/pca.json").read_text())["videos"]
    assert found["cut"]["explained"] == found["still"]["explained"]
    assert np.array(found["cut"]["colours"]).shape == (4, 4, 4, 3)
    assert {path.name for path in (tmp_path / "p").iterdir()} == {
        *("still.webp", "cut.webp", "pca.png", "pca.json")
    }


@pytest.mark.slow
def test_any_number_of_clips_fits_a_gallery(tmp_path: Path) -> None:
    """All have a video; as many as a strip shows are kept."""
    gallery = Gallery(folder=tmp_path, form="webp")
    frames = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    for number in range(ROWS + 3):
        gallery.add(Exhibit(name=f"clip{number}", frames=frames, painted=frames, rate_hz=8))
    gallery.draw_strip(tmp_path / "strip.png", title="clips")
    assert (gallery.count, len(gallery.kept)) == (ROWS + 3, ROWS)
    assert len(list(tmp_path.glob("clip*.webp"))) == ROWS + 3
    assert (tmp_path / "strip.png").is_file()


def test_figures_are_drawn_of_any_names_and_numbers(
    checkpoint: Path, still_and_cut: dict[str, Path], tmp_path: Path
) -> None:
    """Long names do not widen a figure, and titles of matrices do not run into each other."""
    from matplotlib.figure import Figure

    long = "vit_small_progressive_trajectory_masking_ratio_0.8_k400_800_epochs"
    drawn: list[Figure] = []
    save = Figure.savefig
    for names in (["one"], [f"{long}_{n}" for n in "abc"]):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k))
            )
            words = ["similarity", *[checkpoint] * len(names), "--names", *names, "--stride=1"]
            video = still_and_cut["cut"]
            assert evaluate(*words, "--videos", video, "--out", tmp_path / names[0][:3]) == 0
        titles = [axes.title for axes in drawn[-1].axes if axes.get_images()]
        assert len(titles) == len(names)
        boxes = [title.get_window_extent() for title in titles]
        assert not any(a.overlaps(b) for n, a in enumerate(boxes) for b in boxes[:n])
        assert len({title.get_text() for title in titles}) == len(names)


def test_components_separate_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 32))
    kind = np.arange(64) % 2
    tokens = centres[kind] + 0.05 * rng.normal(size=(64, 32))
    components = Components.fit([tokens])
    assert components.explained[0] > 0.9
    first = components.project(tokens)[:, 0]
    assert (first[kind == 0] > 0).all() != (first[kind == 1] > 0).all()
    colors = components.colors(tokens)[:, 0].astype(int)
    means = [colors[kind == k].mean() for k in (0, 1)]
    assert abs(means[0] - means[1]) > 150
    grid = TokenGrid(frames=8, height=64, width=64)
    painted = paint_components(tokens, components, grid)
    assert painted.shape == (8, 64, 64, 3)
    assert (painted[0, :16, :16] == painted[1, 0, 0]).all()


def test_components_do_not_depend_on_order_or_turns() -> None:
    rng = np.random.default_rng(2)
    clips = [rng.normal(size=(40, 8)) * np.arange(1, 9) for _ in range(2)]
    one, other = Components.fit(clips), Components.fit(clips[::-1])
    np.testing.assert_allclose(one.basis, other.basis, atol=1e-9)
    np.testing.assert_allclose(one.basis @ one.basis.T, np.eye(3), atol=1e-9)
    centered = np.concatenate(clips) - np.concatenate(clips).mean(0)
    singular = np.linalg.svd(centered, compute_uv=False) ** 2
    np.testing.assert_allclose(one.explained, singular[:3] / singular.sum(), rtol=1e-9)
    with pytest.raises(InputError, match="all tokens have the same feature"):
        Components.fit([np.ones((4, 8))])


@given(name=st.text(min_size=1, max_size=80), letters=st.integers(8, 60))
def test_short_names_keep_both_ends(name: str, letters: int) -> None:
    short = shorten(name, letters)
    assert len(short) <= letters
    if short != name:
        head, _, tail = short.partition("…")
        assert "…" in name or (name.startswith(head) and name.endswith(tail) and tail)


def test_names_tell_paths_apart() -> None:
    assert short_names(["runs/first", "runs/second"]) == ["first", "second"]
    assert short_names(["a/clip.mp4", "b/clip.mp4"]) == ["a-clip", "b-clip"]
    assert short_names(["/x/clip.mp4"]) == ["clip"]
    assert short_names(["runs/v1.5", "runs/v1.6", "w/mvd.pth"]) == ["v1.5", "v1.6", "mvd"]
    assert short_names(["run", "run"]) == ["run-0", "run-1"]


@given(
    height=st.integers(20, 90), width=st.integers(20, 90), tall=st.integers(1, 3),
    wide=st.integers(1, 3),
)  # fmt: skip
def test_the_middle_is_as_large_as_it_can_be(height: int, width: int, tall: int, wide: int) -> None:
    images = np.zeros((1, height, width, 3), np.uint8)
    images[:, height // 2 - 1 : height // 2 + 1, width // 2 - 1 : width // 2 + 1] = 255
    found = cut_middle(images, (32 * tall, 32 * wide))
    assert found.shape == (1, 32 * tall, 32 * wide, 3)
    y, x = np.unravel_index(found[0, ..., 0].argmax(), found.shape[1:3])
    assert abs(y - 16 * tall) < 10 * tall
    assert abs(x - 16 * wide) < 10 * wide
