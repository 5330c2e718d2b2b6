"""Ground truth of a clip, computed from its plan."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from smile_motion.errors import InputError
from smile_motion.motion.plan import MotionPlan
from smile_motion.renderer.cpu import paint
from smile_motion.tokens import TokenGrid
from smile_motion.truth.flow import OpticalFlow, optical_flow
from smile_motion.truth.token_motion import TokenMotion, token_motion, token_rates
from smile_motion.truth.tracks import PointTracks, track_points

if TYPE_CHECKING:
    from shapely import Geometry

    from smile_motion.bank import ObjectBank
    from smile_motion.io.options import MotionReading

LARGEST_MASKS_BYTES = 1 << 31
"""Largest size of all amodal masks together, bytes. Ours."""


class Truth:
    """Exact ground truth of a clip; each part is computed on first access.

    An object's silhouette is where its alpha is at least one half. Coordinates: pixel centers at
    integers, so that a frame spans -0.5 to W - 0.5; K objects ("slots") over T frames.

    Of an animated object masks, boxes, outlines and visibility are those of the pose that a frame
    shows, and exact. Flow, tracks and token motion are those of the canvas that carries its poses:
    how its parts move within is not known. `plan.is_rigid` tells whether a clip has none.
    """

    def __init__(
        self, plan: MotionPlan, bank: ObjectBank, *, ids: np.ndarray | None = None
    ) -> None:
        """Keep the plan and the bank.

        Args:
            plan: Motion of the objects.
            bank: Bank that the plan was made with.
            ids: (T, H, W) uint8 id map, if rendering has computed it already.
        """
        self.plan = plan
        self.bank = bank
        if ids is not None:
            self.ids = ids

    @cached_property
    def ids(self) -> np.ndarray:
        """Modal id map, (T, H, W) uint8: slot + 1 of the topmost object, 0 for background."""
        ids = np.empty((self.plan.frames, self.plan.height, self.plan.width), np.uint8)
        paint(None, ids, self.plan, self.bank)
        return ids

    @cached_property
    def amodal(self) -> np.ndarray:
        """Amodal masks, (K, T, H, W) bool: whole silhouettes inside the frame, hidden parts too.

        Raises:
            InputError: The masks are too large; `silhouette` computes one.
        """
        plan = self.plan
        size = plan.slots * plan.frames * plan.height * plan.width
        if size > LARGEST_MASKS_BYTES:
            raise InputError(
                f"amodal masks of {plan.slots} objects in {plan.frames} frames of {plan.width} x "
                f"{plan.height} px take {size / 1e9:.1f} GB; at most "
                f"{LARGEST_MASKS_BYTES / 1e9:.1f} GB are made at once: ask for one object after "
                f"the other with Truth.silhouette(slot)"
            )
        masks = np.empty((plan.slots, plan.frames, plan.height, plan.width), bool)
        for slot in range(plan.slots):
            masks[slot] = self.silhouette(slot)
        return masks

    def silhouette(self, slot: int) -> np.ndarray:
        """Compute the amodal mask of one object, (T, H, W) bool: `amodal[slot]`."""
        plan = self.plan
        ids = np.empty((plan.frames, plan.height, plan.width), np.uint8)
        paint(None, ids, plan.only(slot), self.bank)
        return ids > 0

    @property
    def full_boxes(self) -> np.ndarray:
        """Tight boxes of whole silhouettes, (K, T, 4) float64 x0, y0, x1, y1, pixels; NaN where an
        animated object shows an empty pose."""
        return self._boxes[0]

    @property
    def boxes(self) -> np.ndarray:
        """Tight boxes of the parts inside the frame, as `full_boxes`; NaN if there is none."""
        return self._boxes[1]

    @cached_property
    def _boxes(self) -> tuple[np.ndarray, np.ndarray]:
        from smile_motion.truth._kernels import bound_outline

        plan = self.plan
        placement = plan.placement()
        full, cut = np.full((2, plan.slots, plan.frames, 4), np.nan)
        for slot, pose, shown in self._shown_poses():
            points, ring_start = self.bank.rings(int(plan.objects[slot]), pose)
            boxes = full[slot, shown], cut[slot, shown]
            if len(points):
                maps = placement[slot, shown]
                bound_outline(points, ring_start, maps, plan.width, plan.height, *boxes)
            full[slot, shown], cut[slot, shown] = boxes
        return full, cut

    def _shown_poses(self) -> Iterator[tuple[int, int, Any]]:
        """Yield each slot, a pose that it shows, and an index of the frames that show it."""
        plan = self.plan
        for slot in range(plan.slots):
            if plan.pose is None:
                yield slot, 0, slice(None)
                continue
            for pose in np.unique(plan.pose[slot]):
                yield slot, int(pose), np.flatnonzero(plan.pose[slot] == pose)

    @cached_property
    def polygons(self) -> list[list[Geometry]]:
        """Amodal silhouettes as shapely polygons with holes: `polygons[slot][frame]`, pixels."""
        from shapely.affinity import affine_transform

        plan, placement = self.plan, self.plan.placement()
        found: list[list[Any]] = [[None] * plan.frames for _ in range(plan.slots)]
        for slot, pose, shown in self._shown_poses():
            outline = self.bank.outline(int(plan.objects[slot]), pose)
            for t in np.arange(plan.frames)[shown]:
                map_ = placement[slot, t]
                found[slot][t] = affine_transform(
                    outline, [*map_[0, :2], *map_[1, :2], *map_[:, 2]]
                )
        return found

    @cached_property
    def visible_share(self) -> np.ndarray:
        """Share of each silhouette that is neither hidden nor outside, (K, T) float64 in 0..1."""
        from smile_motion.truth._kernels import count_ids

        seen = count_ids(self.ids, self.plan.slots)
        whole = self._whole_pixels()
        return np.divide(seen, whole, out=np.zeros(seen.shape), where=whole > 0)

    def token_coverage(self, grid: TokenGrid) -> np.ndarray:
        """Compute the share of each space-time token that the visible part of each object covers.

        Args:
            grid: Token grid of the clip.

        Returns:
            (K, slices, rows, columns) float32 in 0..1; times `grid.token_pixels`, summed over all
            tokens, it is the number of pixels of the object's modal mask.
        """
        from smile_motion.truth._kernels import count_tokens

        counts = np.zeros((self.plan.slots, *grid.shape), np.int32)
        count_tokens(self.ids, self.full_boxes, grid.tubelet, grid.patch, counts)
        return counts.astype(np.float32) * np.float32(1 / grid.token_pixels)

    @property
    def order(self) -> np.ndarray:
        """Draw order, (T, K) int64: slots from the bottom up."""
        return self.plan.order

    @property
    def centres(self) -> np.ndarray:
        """Center of each object, (K, T, 2) float64 x, y, pixels."""
        return self.plan.centre

    def track(self, points: np.ndarray, frame: int = 0) -> PointTracks:
        """Track points through the clip; see `track_points`."""
        return track_points(self.plan, self.ids, points, frame)

    def flow(self, *, backward: bool = False) -> OpticalFlow:
        """Compute optical flow and occlusion between neighboring frames; see `optical_flow`."""
        return optical_flow(self.plan, self.ids, backward=backward)

    def token_motion(
        self, grid: TokenGrid, *, points: int = 2, reading: MotionReading = "present"
    ) -> TokenMotion:
        """Displacements of points of every token to the next slice; see `token_motion`."""
        return token_motion(self.plan, self.ids, grid, points=points, reading=reading)

    def token_rates(self, grid: TokenGrid, slot: np.ndarray) -> np.ndarray:
        """Rates of rotation and growth of the objects that points are on; see `token_rates`."""
        return token_rates(self.plan, grid, slot)

    def _whole_pixels(self) -> np.ndarray:
        """Count the pixels of each silhouette, outside the frame too, (K, T) int64."""
        plan = self.plan
        whole = np.empty((plan.slots, plan.frames), np.int64)
        for slot in range(plan.slots):
            alone = plan.only(slot)
            boxes = self.full_boxes[slot]
            boxes = boxes[~np.isnan(boxes[:, 0])]
            low = np.floor(boxes[:, :2].min(axis=0, initial=0)) - 1
            high = np.ceil(boxes[:, 2:].max(axis=0, initial=-np.inf)) + 2
            width, height = np.maximum(high - low, 1).astype(int)
            moved = alone.framed(shift=-low, height=int(height), width=int(width))
            ids = np.empty((plan.frames, moved.height, moved.width), np.uint8)
            whole[slot] = paint(None, ids, moved, self.bank)[0]
        return whole
