"""Exact motion of the content of each space-time token, computed from the plan: a training target.

motion = clip.truth.token_motion(TokenGrid(), points=2, reading="present")
motion.displacement        # (8, 14, 14, 4, 2) pixels to the next slice
motion.visible, motion.slot
rates = clip.truth.token_rates(TokenGrid(), motion.slot)   # (8, 14, 14, 4, 3) a frame
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smile_motion.errors import InputError
from smile_motion.io.options import MotionReading
from smile_motion.motion.camera import surface_maps
from smile_motion.motion.plan import MotionPlan
from smile_motion.tokens import TokenGrid


@dataclass(frozen=True, eq=False)
class TokenMotion:
    """Motion at n x n points of each token, from the first frame of its slice to that of the next.

    Points are the middle pixels of n x n parts of the token, in row-major order; for n = 2 and
    tokens of 16 pixels those at 4 and 12. In the last slice, which has no next one, a point has the
    displacement from the slice before.
    """

    displacement: np.ndarray
    """(slices, rows, columns, n * n, 2) float32 x, y, pixels; NaN if unknown."""
    visible: np.ndarray
    """(slices, rows, columns, n * n) bool: the point is visible in both frames."""
    slot: np.ndarray
    """(slices, rows, columns, n * n) int16: slot of the object that the point is on; -1 for the
    background."""

    def join(
        self, out: np.ndarray, *, visible: bool = False, rates: np.ndarray | None = None
    ) -> None:
        """Write all that is known of a token into a row, as a training target has it.

        Args:
            out: (tokens, n * n * values) float32, filled: x and y of the points' displacements;
                then, if asked for, whether each is visible, 1 or 0, NaN where unknown; then the
                rates of each, as `token_rates`.
            visible: Whether visibility is written.
            rates: (K + 1, slices, 3) float64, `surface_rates` of the plan. None by default.

        Raises:
            InputError: `out` has another shape.
        """
        from smile_motion.truth._token_motion import join_parts

        tokens, points = self.slot[..., 0].size, self.slot.shape[-1]
        values = points * (2 + visible + 3 * (rates is not None))
        if out.shape != (tokens, values):
            raise InputError(f"out is {out.shape}; these parts are {(tokens, values)}")
        found = np.empty((0, 0, 3)) if rates is None else rates
        join_parts(self.displacement, self.visible, self.slot, found, visible, out)

    def by_position(self) -> np.ndarray:
        """Compute the mean speed at each position of a slice.

        Returns:
            (rows * columns,) float64: mean length of the displacements over slices and points,
            pixels; unknown ones count as 0.
        """
        x, y = np.moveaxis(np.nan_to_num(self.displacement.astype(np.float64)), -1, 0)
        return np.sqrt(x * x + y * y).mean(axis=(0, -1)).ravel()


def token_motion(
    plan: MotionPlan,
    ids: np.ndarray,
    grid: TokenGrid,
    *,
    points: int = 2,
    reading: MotionReading = "present",
    still: bool = True,
    out: np.ndarray | None = None,
) -> TokenMotion:
    """Compute the displacements of points of every token.

    Args:
        plan: Motion of the objects.
        ids: (T, H, W) uint8 modal id map of the plan (`Truth.ids`).
        grid: Token grid of the clip.
        points: Number of points along each side of a token. TrackMAE: 2.
        reading: Points that a token has the motion of.
        still: Whether the background stays, or moves as the plan's camera does, so that its
            displacements are known; otherwise (natural video) they are NaN.
        out: (slices, rows, columns, points ** 2, 2) float32 array, contiguous, for the
            displacements, such as a part of a batch.

    Raises:
        InputError: The grid has another size than the plan, or one slice, or too small tokens.
    """
    from smile_motion.truth._token_motion import move_points

    size = (grid.frames, grid.height, grid.width)
    if size != (plan.frames, plan.height, plan.width):
        raise InputError(
            f"tokens of clips of {size} (frames, height, width), the plan is of "
            f"{(plan.frames, plan.height, plan.width)}; give the clip's own grid"
        )
    if grid.slices < 2:
        raise InputError(
            f"{grid.frames} frames in tokens of {grid.tubelet} are one slice, from which nothing "
            f"moves to a next; give more frames"
        )
    if not 1 <= points <= grid.patch:
        raise InputError(f"points is {points}; give 1 to {grid.patch}, the token's side")
    shape = (*grid.shape, points * points)
    if out is None:
        out = np.empty((*shape, 2), np.float32)
    elif out.shape != (*shape, 2) or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise InputError(
            f"out is {out.dtype} {out.shape}; displacements need contiguous float32 {(*shape, 2)}"
        )
    visible, slot = np.empty(shape, np.bool_), np.empty(shape, np.int16)
    moving = still and plan.camera is not None
    move_points(
        *(ids, surface_maps(plan), grid.tubelet, grid.patch, points, reading == "present", moving),
        *(0.0 if still else np.nan, out, visible, slot),
    )
    return TokenMotion(out, visible, slot)


def object_rates(plan: MotionPlan, grid: TokenGrid) -> np.ndarray:
    """Compute how fast each object turns and grows in each slice, from the plan's own numbers.

    Args:
        plan: Motion of the objects.
        grid: Token grid of the clip, of two slices or more.

    Returns:
        (K, slices, 3) float64, means from the first frame of a slice to that of the next, a frame:
        rotation in degrees, counter-clockwise, and the change of the logarithms of width and
        height; in the last slice those of the slice before. NaN where a side is 0.
    """
    return _rates(plan.angle_deg, plan.scale, grid)


def _rates(angle_deg: np.ndarray, scale: np.ndarray, grid: TokenGrid) -> np.ndarray:
    """`object_rates` of angles (K, T) and scales (K, T, 2)."""
    values = np.empty((len(angle_deg), grid.slices, 3))
    values[..., 0] = angle_deg[:, :: grid.tubelet]
    rates = np.empty_like(values)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.log(np.abs(scale[:, :: grid.tubelet]), out=values[..., 1:])
        np.subtract(values[:, 1:], values[:, :-1], out=rates[:, :-1])
    rates[:, -1] = rates[:, -2]
    rates /= grid.tubelet
    rates[~np.isfinite(rates)] = np.nan
    return rates


def surface_rates(plan: MotionPlan, grid: TokenGrid) -> np.ndarray:
    """Compute the rates of all that a clip shows, by the labels of its id map.

    Args:
        plan: Motion of the objects and the camera.
        grid: Token grid of the clip, of two slices or more.

    Returns:
        (K + 1, slices, 3) float64: those of the background, NaN without a camera, then
        `object_rates`.
    """
    rates = np.full((plan.slots + 1, grid.slices, 3), np.nan)
    rates[1:] = object_rates(plan, grid)
    if (camera := plan.camera) is not None:
        rates[0] = _rates(np.array([camera.angle_deg]), np.array([camera.scale]), grid)[0]
    return rates


def token_rates(plan: MotionPlan, grid: TokenGrid, slot: np.ndarray) -> np.ndarray:
    """Give each point of each token the rates of the object that it is on.

    Args:
        plan: Motion of the objects.
        grid: Token grid of the clip.
        slot: (slices, rows, columns, points) integers, slots of objects and -1 for the background:
            `TokenMotion.slot`.

    Returns:
        (slices, rows, columns, points, 3) float32: `object_rates`; on the background those of the
        camera, NaN without one.
    """
    rates = surface_rates(plan, grid).astype(np.float32).swapaxes(0, 1)
    first = (plan.slots + 1) * np.arange(grid.slices) + 1
    rows = slot + first.reshape(-1, 1, 1, 1)
    return rates.reshape(-1, 3).take(rows, axis=0, mode="clip")


def point_pixels(grid: TokenGrid, points: int = 2) -> np.ndarray:
    """Return the pixels of `token_motion`'s points, (rows, columns, points ** 2, 2) int64 x, y."""
    middle = (2 * np.arange(points) + 1) * grid.patch // (2 * points)
    y = (np.arange(grid.rows)[:, None] * grid.patch + middle)[:, None, :, None]
    x = (np.arange(grid.columns)[:, None] * grid.patch + middle)[None, :, None, :]
    shape = (grid.rows, grid.columns, points, points)
    both = np.stack([np.broadcast_to(x, shape), np.broadcast_to(y, shape)], axis=-1)
    return both.reshape(grid.rows, grid.columns, points * points, 2)
