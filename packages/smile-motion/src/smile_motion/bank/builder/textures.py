"""Random textures of procedural objects: a pattern, a palette and shading."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np


def gradient(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw a linear or radial ramp."""
    if rng.random() < 0.5:
        turn = rng.uniform(0, 2 * np.pi)
        return _stretched(x * np.cos(turn) + y * np.sin(turn))
    cx, cy = rng.uniform(-0.5, 0.5, 2)
    return _stretched(np.hypot(x - cx, y - cy))


def stripes(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw parallel, wavy or concentric stripes."""
    count = rng.uniform(2.5, 7)
    turn = rng.uniform(0, np.pi)
    along = x * np.cos(turn) + y * np.sin(turn)
    across = -x * np.sin(turn) + y * np.cos(turn)
    match rng.integers(3):
        case 0:
            phase = along
        case 1:
            phase = along + 0.12 * np.sin(across * rng.uniform(4, 9))
        case _:
            phase = np.hypot(x - rng.uniform(-0.4, 0.4), y - rng.uniform(-0.4, 0.4))
    return _banded(np.sin(phase * count * np.pi), rng)


def checks(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw a rotated checkerboard or lattice."""
    count = rng.uniform(2, 5)
    turn = rng.uniform(0, np.pi / 2)
    along = np.sin((x * np.cos(turn) + y * np.sin(turn)) * count * np.pi)
    across = np.sin((-x * np.sin(turn) + y * np.cos(turn)) * count * np.pi)
    return _banded(along * across if rng.random() < 0.6 else np.maximum(along, across), rng)


def spots(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw round spots of varied size."""
    from smile_motion.bank.builder._surfaces import find_spots

    points = rng.uniform(-1, 1, size=(int(rng.integers(8, 26)), 2)).astype(np.float32)
    radius = rng.uniform(0.08, 0.24, len(points)).astype(np.float32)
    nearest = np.empty((y.size, x.size), np.float32)
    find_spots(x.ravel(), y.ravel(), points, radius, nearest)
    return 1 / (1 + np.exp(np.clip((nearest - 1) * 18, -30, 30)))


def cells(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw cell (Worley) noise: distance to the nearest point, or one tone per cell."""
    from smile_motion.bank.builder._surfaces import find_cells

    count = int(rng.integers(8, 28))
    points = rng.uniform(-1, 1, size=(count, 2)).astype(np.float32)
    tone = rng.random(count).astype(np.float32)
    first, second, own = np.empty((3, y.size, x.size), np.float32)
    find_cells(x.ravel(), y.ravel(), points, tone, first, second, own)
    if rng.random() < 0.5:
        return _stretched(first)
    return own * np.clip((second - first) * 14, 0, 1)


def spectral(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw noise whose spectrum falls with frequency, from cloudy to grainy."""
    height, width = y.size, x.size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    noise = np.fft.rfft2(rng.standard_normal((height, width)))
    field = np.fft.irfft2(noise / frequency ** rng.uniform(1.2, 2.2), s=(height, width))
    return _stretched(np.clip(field, *np.quantile(field[::4, ::4], [0.02, 0.98])))


TEXTURES: dict[str, Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = {
    "gradient": gradient,
    "stripes": stripes,
    "checks": checks,
    "spots": spots,
    "cells": cells,
    "spectral": spectral,
}
"""Kinds of pattern: functions of rng, x (1, W) and y (H, 1), float32 in -1 to 1, that return (H, W)
values in 0 to 1."""


def paint(rng: np.random.Generator, kind: str, alpha: np.ndarray) -> np.ndarray:
    """Texture and shade a silhouette.

    Args:
        rng: Generator of pattern, palette and light.
        kind: Key of `TEXTURES`.
        alpha: (H, W) uint8 silhouette.

    Returns:
        (H, W, 4) uint8 straight-alpha RGBA; transparent pixels are black.
    """
    from smile_motion.bank.builder._surfaces import light_surface

    height, width = alpha.shape
    reach = max(height, width) / 2
    y, x = np.ogrid[:height, :width]
    x = (x.astype(np.float32) - (width - 1) / 2) / reach
    y = (y.astype(np.float32) - (height - 1) / 2) / reach
    tone = TEXTURES[kind](rng, x, y).astype(np.float32)
    colors = _palette(rng)
    relief = _relief(rng, alpha)
    turn = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(turn), np.sin(turn)])
    rgba = np.empty((height, width, 4), np.uint8)
    light_surface(tone, colors, relief, direction, rng.uniform(0.3, 0.7), alpha, rgba)
    return rgba


def _palette(rng: np.random.Generator) -> np.ndarray:
    """Draw two or three colors that differ in hue and lightness, (n, 3) float64 RGB, 0 to 1."""
    hue = rng.random()
    count = int(rng.integers(2, 4))
    hues = (hue + rng.choice([0.08, 0.17, 0.33, 0.5]) * np.arange(count)) % 1
    lightness = rng.permutation(np.linspace(rng.uniform(0.2, 0.4), rng.uniform(0.6, 0.85), count))
    saturation = rng.uniform(0.35, 0.95, count)
    return np.array(
        [colorsys.hls_to_rgb(*hls) for hls in zip(hues, lightness, saturation, strict=True)]
    )


def _relief(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Cushion-shaped relief, (H, W) float32 height, pixels."""
    from smile_motion.bank.builder._surfaces import raise_cushion

    solid = np.pad((alpha > 127).astype(np.uint8), 1)
    depth = cv2.distanceTransform(solid, cv2.DIST_L2, 3)[1:-1, 1:-1]
    rim = max(alpha.shape) * rng.uniform(0.06, 0.25)
    height = np.empty(alpha.shape, np.float32)
    raise_cushion(depth, np.float32(rim), height)
    return cv2.GaussianBlur(height, (0, 0), max(alpha.shape) / 80)


def _stretched(field: np.ndarray) -> np.ndarray:
    return (field - field.min()) / max(np.ptp(field), 1e-9)


def _banded(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Map a wave to two tones with a soft or sharp border."""
    return 1 / (1 + np.exp(-wave * rng.uniform(3, 20)))
