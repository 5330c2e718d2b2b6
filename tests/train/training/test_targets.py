"""Targets as laws, on real pictures; the published values are in test_parity."""

import numpy as np
import pytest
import torch
from smile_motion.tokens import TokenGrid
from smile_train.models.layers import take
from smile_train.training.losses import (
    mean_squared_error,
    normalize_targets,
    pixel_targets,
    restore_pixels,
)

GRID = TokenGrid(frames=4, height=64, width=96)


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    """Windows that move over two photographs: (2, 4, 64, 96, 3) uint8."""
    from skimage import data

    clips = [
        np.stack([image[100 + 3 * t : 164 + 3 * t, 80 + 5 * t : 176 + 5 * t] for t in range(4)])
        for image in (data.astronaut(), data.chelsea())
    ]
    return torch.from_numpy(np.stack(clips))


def test_each_token_and_colour_is_standard(frames: torch.Tensor) -> None:
    # In float64: a token's mean, rounded to float32, is off by much of a low contrast.
    target = pixel_targets(frames.double() / 255, GRID).unflatten(-1, (-1, 3))
    assert target.shape == (2, GRID.tokens, GRID.token_pixels, 3)
    zero = torch.zeros(2, GRID.tokens, 3, dtype=torch.float64)
    torch.testing.assert_close(target.mean(2), zero, rtol=0, atol=1e-11)
    torch.testing.assert_close(target.std(2), zero + 1, rtol=0, atol=1e-3)


def test_only_the_tokens_asked_for_equal_all_of_them_picked(frames: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    index = torch.stack([torch.randperm(GRID.tokens, generator=generator)[:30] for _ in range(2)])
    assert (pixel_targets(frames, GRID, index) == take(pixel_targets(frames, GRID), index)).all()


def test_contrast_and_brightness_do_not_matter(frames: torch.Tensor) -> None:
    unit = frames / 255
    changed = unit * torch.tensor([0.5, 0.7, 0.9]) + torch.tensor([0.1, 0.2, 0.05])
    target = pixel_targets(unit, GRID)
    torch.testing.assert_close(pixel_targets(changed, GRID), target, rtol=0, atol=2e-3)


def test_a_flat_token_is_zero_and_comes_back(frames: torch.Tensor) -> None:
    flat = frames.clone()
    flat[:, :2, :16, :16] = 200
    target = pixel_targets(flat, GRID)
    assert target.isfinite().all()
    torch.testing.assert_close(target[:, 0], torch.zeros(2, 1536), rtol=0, atol=0.2)
    torch.testing.assert_close(restore_pixels(target, flat, GRID), flat / 255, rtol=0, atol=1e-5)


def test_normalisations_of_tokens() -> None:
    tokens = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(3)) * 4 + 2
    for how, over in (("clip-channel", 1), ("token", 2)):
        normal = normalize_targets(tokens, how)  # type: ignore[arg-type]
        torch.testing.assert_close(normal.mean(over), torch.zeros_like(normal.mean(over)))
        torch.testing.assert_close(normal.std(over), torch.ones_like(normal.std(over)))
    assert normalize_targets(tokens, "none") is tokens


def test_the_loss_is_taken_in_float32() -> None:
    predicted = torch.full((1, 4, 8), 300.0, dtype=torch.bfloat16)
    assert mean_squared_error(predicted, torch.zeros(1, 4, 8)).item() == 90000.0
