"""The device renderer gives what the CPU renderer gives, on CPU torch and, where there is one, on
CUDA; its kernel runs in Triton's interpreter everywhere."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from smile_motion.bank import ObjectBank
from smile_motion.errors import InputError
from smile_motion.io.options import EffectName
from smile_motion.masking import device as masks
from smile_motion.masking.masks import draw_keys, mask_random, mask_trajectory, mask_tube
from smile_motion.motion.effects import EFFECTS, Appearance, MotionBlur
from smile_motion.motion.plan import MotionPlan
from smile_motion.motion.recipe import MotionRecipe
from smile_motion.renderer.cpu import render, view_scene
from smile_motion.renderer.device import DeviceClips, DeviceRenderer, KernelName
from smile_motion.seeding import Stream, keyed_generator
from smile_motion.tokens import TokenGrid
from smile_motion.truth.instances import Truth

CUDA = pytest.param("cuda", marks=pytest.mark.cuda)
DEVICES = ["cpu", CUDA]
KERNELS = [
    ("cpu", "torch"),
    pytest.param("cuda", "triton", marks=pytest.mark.cuda),
    pytest.param("cuda", "torch", marks=pytest.mark.cuda),
]
ON_DEVICE: tuple[EffectName, ...] = tuple(name for name in EFFECTS if name != "appearance")


def draw(recipe: MotionRecipe, bank: ObjectBank, count: int, **shape: object) -> list[MotionPlan]:
    return [
        recipe.plan(keyed_generator(8, Stream.MOTION, index=index), bank, **shape)  # type: ignore[arg-type]
        for index in range(count)
    ]


def compare(clips: DeviceClips, background: np.ndarray, plans: list[MotionPlan]) -> None:
    """Check pixels, id maps and coverage, to the bit, and boxes against the CPU renderer."""
    bank = clips.renderer.bank
    for number, plan in enumerate(plans):
        ids = np.empty(clips.ids.shape[1:], np.uint8)
        frames = render(background[number].copy(), plan, bank, ids=ids)
        np.testing.assert_array_equal(clips.frames[number].cpu().numpy(), frames)
        np.testing.assert_array_equal(clips.ids[number].cpu().numpy(), ids)
        truth = Truth(plan, bank, ids=clips.ids[number].cpu().numpy())
        for mine, theirs in (
            (clips.boxes[number], truth.boxes),
            (clips.full_boxes[number], truth.full_boxes),
        ):
            np.testing.assert_allclose(mine[: plan.slots].cpu().numpy(), theirs, atol=1e-6)
            assert torch.isnan(mine[plan.slots :]).all()
        frames_, height, width = ids.shape
        grid = TokenGrid(frames=frames_, height=height, width=width, tubelet=1)
        coverage = clips.token_coverage(grid)[number].cpu().numpy()
        assert (coverage[: plan.slots] == truth.token_coverage(grid)).all()


@pytest.mark.parametrize(("device", "kernel"), KERNELS)
@pytest.mark.parametrize("name", ["paper", "official"])
@pytest.mark.parametrize("effects", [(), ("drop-shadow",), ON_DEVICE])
def test_pixels_and_truth_are_those_of_the_cpu_renderer(
    small_bank: ObjectBank,
    device: str,
    kernel: KernelName,
    name: str,
    effects: tuple[EffectName, ...],
) -> None:
    # Less of it where a pixel takes long.
    frames, side = (16, 224) if device == "cuda" else (6, 112)
    shape = {"frames": frames, "size": (side, side)}
    plans = draw(MotionRecipe.named(name, effects=effects), small_bank, 3, **shape)  # type: ignore[arg-type]
    background = np.random.default_rng(0).integers(0, 256, (3, frames, side, side, 3), np.uint8)
    renderer = DeviceRenderer(small_bank, device, kernel=kernel, **shape)
    clips = renderer.render(torch.from_numpy(background).to(device), plans)
    compare(clips, background, plans)


@pytest.mark.parametrize("device", DEVICES)
@given(
    seed=st.integers(0, 2**20),
    shape=st.sampled_from([(5, 48, 80), (1, 112, 64), (3, 32, 32)]),
)
@settings(max_examples=12)
def test_any_shape_and_any_mix_of_objects(
    small_bank: ObjectBank, device: str, seed: int, shape: tuple[int, int, int]
) -> None:
    frames, height, width = shape
    plans = [
        MotionRecipe.paper(objects=count).plan(
            keyed_generator(seed, Stream.MOTION, index=count),
            small_bank,
            frames=frames,
            size=(height, width),
        )
        for count in (0, 3, 1)
    ]
    still = np.random.default_rng(seed).integers(0, 256, (3, 1, height, width, 3), np.uint8)
    renderer = DeviceRenderer(
        small_bank, device, frames=frames, size=(height, width), max_objects=3
    )
    clips = renderer.render(torch.from_numpy(still).to(device), plans)
    compare(clips, np.repeat(still, frames, axis=1), plans)


@pytest.mark.parametrize(("device", "kernel"), KERNELS)
def test_objects_far_outside_tiny_and_mirrored(
    small_bank: ObjectBank, device: str, kernel: KernelName
) -> None:
    plan = draw(MotionRecipe.paper(), small_bank, 1)[0]
    thin = np.array([[900.0, 0.3], [0.3, 2000.0]])
    plans = [
        replace(plan, base_size=thin, centre=plan.centre - 400),
        replace(plan, centre=plan.centre + 900),
        replace(plan, base_size=plan.base_size * 0.01),
        replace(plan, base_size=plan.base_size * 9),
        plan.mirrored(),
    ]
    background = np.full((5, 16, 224, 224, 3), 77, np.uint8)
    renderer = DeviceRenderer(small_bank, device, kernel=kernel)
    clips = renderer.render(torch.from_numpy(background).to(device), plans)
    compare(clips, background, plans)
    assert (background == 77).all()


@pytest.mark.parametrize(("device", "kernel"), KERNELS)
@pytest.mark.parametrize("effects", [(), ("motion-blur", "drop-shadow")])
def test_animated_objects_show_their_poses(
    moving_bank: ObjectBank, device: str, kernel: KernelName, effects: tuple[EffectName, ...]
) -> None:
    shape = {"frames": 6, "size": (64, 64)}
    recipe = MotionRecipe.named("paper", objects=3, effects=effects)
    all_three, drawn, still = draw(recipe, moving_bank, 3, **shape)
    counts = moving_bank.count_poses(np.arange(3))[:, None]
    # Of the bird one pose is empty; boxes are partly outside.
    all_three = replace(all_three, objects=np.arange(3), pose=np.arange(6) % counts)
    plans = [all_three, drawn, replace(still, pose=None), drawn.only(1)]
    assert drawn.pose is not None
    background = np.random.default_rng(0).integers(0, 256, (4, 6, 64, 64, 3), np.uint8)
    renderer = DeviceRenderer(moving_bank, device, kernel=kernel, max_objects=3, **shape)  # type: ignore[arg-type]
    clips = renderer.render(torch.from_numpy(background).to(device), plans)
    compare(clips, background, plans)
    beyond = replace(all_three, pose=all_three.pose + 50)
    with pytest.raises(InputError, match=r"plan shows pose 5[0-9] of object 0, which has 6"):
        renderer.records([beyond])


@pytest.mark.parametrize("device", DEVICES)
def test_a_camera_moves_on_the_host(small_bank: ObjectBank, device: str) -> None:
    recipe = MotionRecipe.named("paper", camera="pan-zoom-roll")
    plan = draw(recipe, small_bank, 1, frames=4, size=(48, 64))[0]
    assert plan.camera is not None
    scene = np.random.default_rng(0).integers(0, 256, (1, *plan.camera.scene, 3), np.uint8)
    renderer = DeviceRenderer(small_bank, device, frames=4, size=(48, 64))
    moved = torch.from_numpy(view_scene(scene, plan))[None].to(device)
    frames = renderer.render(moved, [plan]).frames[0]
    assert (frames.cpu().numpy() == render(scene, plan, small_bank)).all()
    for still in (moved[:, :1], moved[:, 0]):
        with pytest.raises(InputError, match=r"plan 0 has a camera.*give the 4 frames of"):
            renderer.render(still, [plan])


@pytest.mark.slow
def test_the_triton_kernel_in_the_interpreter_paints_the_same(
    small_bank: ObjectBank, tmp_path: Path
) -> None:
    """In a process of its own: Triton decides at import whether it interprets."""
    pytest.importorskip("triton")
    script = tmp_path / "interpret.py"
    script.write_text(f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_render_device import *

bank = ObjectBank.open({str(small_bank.path)!r})
for effects, frames, size in (
    ((), 2, (16, 80)),
    (("drop-shadow", "colour-drift"), 1, (16, 48)),  # shadows take the interpreter long
):
    recipe = MotionRecipe.named("paper", effects=effects)
    plans = draw(recipe, bank, 2, frames=2, size=size)
    background = np.random.default_rng(0).integers(0, 256, (2, frames, *size, 3), np.uint8)
    renderer = DeviceRenderer(bank, "cpu", frames=2, size=size, kernel="triton")
    clips = renderer.render(torch.from_numpy(background), plans)
    compare(clips, np.repeat(background, 2 // frames, axis=1), plans)
blur = replace(plans[0], shadow=None, tint=None, blur=MotionBlur(exposures=2))
clips = renderer.render(torch.from_numpy(background[:1]), [blur])
compare(clips, np.repeat(background[:1], 2, axis=1), [blur])
""")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_triton_kernel_compiles_for_hopper() -> None:
    """Triton and the assembler it brings need no GPU for this."""
    triton = pytest.importorskip("triton")
    from smile_motion.renderer._triton import COLUMNS, ROWS, WARPS, _paint_tile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = _paint_tile.arg_names
    kinds = {"words": "*i32", "whole": "*i32", "base": "*i64", "real": "*fp64", "tint": "*i32"}
    sizes = ("count", "height", "width", "of_clip", "of_frame", "of_row")
    for exposures, shift in ((0, 0), (4, 2)):
        constants = dict(PLACES=2, EXPOSURES=exposures, SHIFT=shift, ROWS=ROWS, COLUMNS=COLUMNS)
        signature = {
            name: "constexpr"
            if name in constants
            else kinds.get(name, "i32" if name in sizes else "*u8")
            for name in names
        }
        source = ASTSource(
            fn=_paint_tile,
            signature=signature,
            constexprs={(names.index(name),): value for name, value in constants.items()},
        )
        options = {"num_warps": WARPS, "enable_fp_fusion": False}
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert len(compiled.asm["cubin"]) > 1000


@pytest.mark.parametrize("device", DEVICES)
def test_frames_are_normalised_on_the_device(small_bank: ObjectBank, device: str) -> None:
    plans = draw(MotionRecipe.paper(), small_bank, 2)
    clips = DeviceRenderer(small_bank, device).render(
        torch.full((2, 1, 224, 224, 3), 40, dtype=torch.uint8, device=device), plans
    )
    values = clips.normalized(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), dtype=torch.bfloat16)
    assert values.shape == (2, 3, 16, 224, 224)
    assert values.dtype == torch.bfloat16
    expected = (clips.frames[..., 1].float() / 255 - 0.4) / 0.3
    torch.testing.assert_close(values[:, 1].float(), expected, atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("device", DEVICES)
@given(
    seed=st.integers(0, 2**32),
    ratio=st.sampled_from([0.5, 0.8, 0.9]),
    share=st.floats(0, 1),
    visible=st.sampled_from([None, 0.0, 0.1, 1.0]),
    grid=st.sampled_from([TokenGrid(), TokenGrid(height=112, width=96)]),
)
def test_masks_are_those_of_the_cpu(
    device: str, seed: int, ratio: float, share: float, visible: float | None, grid: TokenGrid
) -> None:
    rng = np.random.default_rng(seed)
    coverage = np.where(rng.random((3, 2, *grid.shape)) < share / 2, rng.random(), 0)
    coverage = coverage.astype(np.float32)

    def generators() -> list[np.random.Generator]:
        return [keyed_generator(seed, Stream.MASK, index=index) for index in range(3)]

    keys = torch.from_numpy(draw_keys(generators(), grid)).to(device)
    pairs = [
        (mask_tube(generators(), grid, ratio), masks.mask_tube(keys, grid, ratio)),
        (mask_random(generators(), grid, ratio), masks.mask_random(keys, grid, ratio)),
        (
            mask_trajectory(
                generators(), grid, ratio, coverage, threshold=0.25, visible_share=visible
            ),
            masks.mask_trajectory(
                keys,
                grid,
                ratio,
                torch.from_numpy(coverage).to(device),
                threshold=0.25,
                visible_share=visible,
            ),
        ),
    ]
    for mine, (seen, hidden) in pairs:
        assert (mine.visible == seen.cpu().numpy()).all()
        assert (mine.masked == hidden.cpu().numpy()).all()


@pytest.mark.slow
@pytest.mark.parametrize(("device", "kernel"), KERNELS)
def test_plans_with_different_effects_share_a_batch(
    small_bank: ObjectBank, device: str, kernel: KernelName
) -> None:
    shape = {"frames": 6, "size": (128, 160)}
    plain, other = draw(MotionRecipe.paper(), small_bank, 2, **shape)
    shadowed = MotionRecipe.named("paper", effects=("drop-shadow",))
    shadows = draw(shadowed, small_bank, 1, **shape)
    plans = [plain, replace(other, blur=MotionBlur(exposures=4)), *shadows]
    still = np.random.default_rng(1).integers(0, 256, (3, 128, 160, 3), np.uint8)
    renderer = DeviceRenderer(small_bank, device, kernel=kernel, **shape)
    clips = renderer.render(torch.from_numpy(still).to(device), plans)
    compare(clips, np.repeat(still[:, None], 6, axis=1), plans)


def test_what_does_not_fit_is_refused(small_bank: ObjectBank) -> None:
    renderer = DeviceRenderer(small_bank, "cpu", frames=4, size=(64, 64))
    plans = draw(MotionRecipe.paper(), small_bank, 2, frames=4, size=(64, 64))
    black = torch.zeros((2, 4, 64, 64, 3), dtype=torch.uint8)
    with pytest.raises(InputError, match=r"background is torch\.uint8"):
        renderer.render(black[:1], plans)
    with pytest.raises(InputError, match=r"background is torch\.float32"):
        renderer.render(black.float(), plans)
    with pytest.raises(InputError, match="plan has 16 frames"):
        renderer.render(black, draw(MotionRecipe.paper(), small_bank, 2))
    with pytest.raises(InputError, match="max_objects=3"):
        renderer.render(
            black, draw(MotionRecipe.paper(objects=3), small_bank, 2, frames=4, size=(64, 64))
        )
    with pytest.raises(InputError, match="appearance changes"):
        renderer.render(
            black, [replace(p, appearance=Appearance(), appearance_seed=p.objects) for p in plans]
        )
    with pytest.raises(InputError, match=r"\[2, 8\] exposures"):
        renderer.render(
            black,
            [replace(p, blur=MotionBlur(exposures=n)) for p, n in zip(plans, (2, 8), strict=True)],
        )
    with pytest.raises(InputError, match="names object 999"):
        renderer.render(black[:1], [replace(plans[0], objects=np.array([0, 999]))])
    with pytest.raises(InputError, match="grid is of 16 frames"):
        renderer.render(black, plans).token_coverage(TokenGrid())
    with pytest.raises(InputError, match="three of each"):
        renderer.render(black, plans).normalized(mean=(0.5,))
    with pytest.raises(InputError, match="'trition'; give auto"):
        DeviceRenderer(small_bank, "cpu", kernel="trition")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'gpu' is no device"):
        DeviceRenderer(small_bank, "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            DeviceRenderer(small_bank, "cuda")
        with pytest.raises(InputError, match="does not run on cpu"):
            DeviceRenderer(small_bank, "cpu", kernel="triton")
