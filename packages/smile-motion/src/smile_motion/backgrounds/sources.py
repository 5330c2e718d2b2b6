"""Images of nothing but noise."""

from __future__ import annotations

import math

import numpy as np

from smile_motion.choices import NoiseKind


def noise_images(
    rng: np.random.Generator, kind: NoiseKind, count: int, size: tuple[int, int]
) -> np.ndarray:
    """Draw `count` images of noise, (count, H, W, 3) uint8."""
    shape = (count, *size, 3)
    if kind == "uniform":
        # The generator's own words, little end first: the bytes of `rng.bytes`, in half the time.
        words = rng.bit_generator.random_raw(-(-math.prod(shape) // 8))
        return words.astype("<u8", copy=False).view(np.uint8)[: math.prod(shape)].reshape(shape)
    return np.stack([_noise_field(rng, kind, size) for _ in range(count)])


def _noise_field(rng: np.random.Generator, kind: NoiseKind, size: tuple[int, int]) -> np.ndarray:
    field_ = rng.standard_normal((*size, 3), dtype=np.float32)
    if kind == "spectral":
        frequency = np.hypot(np.fft.fftfreq(size[0])[:, None], np.fft.rfftfreq(size[1])[None])
        frequency[0, 0] = np.inf
        spectrum = np.fft.rfft2(field_, axes=(0, 1)) / frequency[..., None]
        field_ = np.fft.irfft2(spectrum, s=size, axes=(0, 1))
        field_ = field_ / field_.std()
    return np.clip(np.rint(127.5 + 50 * field_), 0, 255).astype(np.uint8)
