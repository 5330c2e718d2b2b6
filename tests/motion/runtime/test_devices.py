"""Where models run: refusals where there is no CUDA."""

import json
import multiprocessing
from pathlib import Path

import pytest
import torch
from smile_motion.bank.candidates.diffusers_folder import parameter_count
from smile_motion.bank.candidates.diffusion import Diffusion, refuse_silent_cpu
from smile_motion.bank.candidates.score import ClipScorer
from smile_motion.bank.candidates.segmenters import open_segmenter
from smile_motion.errors import InputError
from smile_motion.runtime.devices import choose_device
from support.tiny_clip import write_tiny_clip
from support.tiny_pipelines import write_tiny_stable_diffusion
from support.tiny_segmenters import write_tiny_clipseg, write_tiny_onnx_segmenter

OPENERS = {
    "segmenter": open_segmenter,
    "scorer": ClipScorer.open,
    "diffusion": lambda model, device: Diffusion.open(model, device=device).pipeline.device.type,
    "refusal": refuse_silent_cpu,
}


def say_without_cuda(asked: list[tuple[str, str, str]]) -> list[str]:
    """What is said to each (kind, model, device) where torch sees no CUDA device."""
    said = []
    for kind, model, device in asked:
        try:
            said.append(str(OPENERS[kind](model, device=device)))
        except InputError as error:
            said.append(str(error))
    return said


def open_without_cuda(*asked: tuple[str, Path | str, str]) -> list[str]:
    """The same on any machine: where there is a GPU in a process that sees none, since torch looks
    once."""
    words = [(kind, str(model), device) for kind, model, device in asked]
    if not torch.cuda.is_available():
        return say_without_cuda(words)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("CUDA_VISIBLE_DEVICES", "")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(say_without_cuda, (words,))


def write_full_size_weights(path: Path) -> None:
    """200 million parameters in a sparse file: only its header is there."""
    size = 400_000_000
    header = json.dumps({"w": {"dtype": "F16", "shape": [20000, 10000], "data_offsets": [0, size]}})
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header.encode())
        file.truncate(8 + len(header) + size)


@pytest.mark.slow
def test_the_cpu_is_never_taken_silently(tmp_path: Path) -> None:
    small = write_tiny_stable_diffusion(tmp_path / "small")
    full = write_tiny_stable_diffusion(tmp_path / "full")
    write_full_size_weights(full / "unet" / "diffusion_pytorch_model.safetensors")
    assert parameter_count(full) == 200_000_000
    said = open_without_cuda(
        ("segmenter", write_tiny_onnx_segmenter(tmp_path / "model.onnx"), "cuda"),
        ("segmenter", f"clipseg={write_tiny_clipseg(tmp_path / 'clipseg')}", "cuda"),
        ("scorer", write_tiny_clip(tmp_path / "clip"), "cuda"),
        ("diffusion", small, "cuda"),
        ("diffusion", small, "auto"),
        ("diffusion", full, "auto"),
        ("diffusion", "a/model", "auto"),
        ("refusal", full, "cpu"),
    )
    no_cuda = "torch sees 0 CUDA devices here; run where there is one, or pass --device cpu"
    advice = (
        "and torch sees no CUDA device; on a CPU an image takes minutes: pass --device cpu if you "
        "mean it, or run on a machine with a GPU"
    )
    assert said == [
        *[f"--device cuda: {no_cuda}"] * 4,
        "cpu",
        f"{full}: a model of 200 million parameters, {advice}",
        f"a/model: a full-size model, {advice}",
        "None",
    ]


@pytest.mark.parametrize("word", ["gpu", "CUDA", "cuda:", "cpu:0", ""])
def test_another_word_is_no_device(word: str) -> None:
    with pytest.raises(InputError, match=f"--device {word}: expected auto, cpu, cuda or a number"):
        choose_device(word)
