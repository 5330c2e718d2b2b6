"""Named configurations; what a preset leaves out keeps the field's default and its origin."""

from dataclasses import replace

from smile_train.config.pretrain import PretrainConfig

_ABLATION = PretrainConfig(
    preset="",
    student="vit-s",
    background="natural",
    mask_ratio=0.9,
    epochs=400,
    samples=80_000,
)
"""What the paper's ablations share: ViT-S, about 80,000 clips, 400 epochs, 2 objects, ratio 0.9."""
_WITHOUT = {"objects": 0, "masking": "tube"}
"""No objects, hence no trajectories to mask."""
_PIXELS = replace(_ABLATION, target="pixel")

_FULL = {
    "background": "natural",
    "strategy": "progressive",
    "masks_per_clip": 2,
    "epochs": 150,
}
"""The main recipe, with, then without moving objects (section 4.1). Its 300 effective epochs each
are 150 passes under two masks, as in the published code."""

_ROWS: dict[str, tuple[PretrainConfig, str]] = {
    "tiny": (
        PretrainConfig(
            student="mini",
            size=64,
            patch=16,
            background="black",
            objects=4,
            target="pixel",
            samples=1024,
            epochs=30,
            minutes=2.0,
            batch=16,
            warmup_epochs=2,
            base_lr=3.2e-2,
            min_lr=3.2e-4,
            clip_grad=1.0,
            log_every=5,
            save_every=500,
            probe_motion_every=0,
        ),
        "ours: small frames and student over black, done in minutes on two CPU cores",
    ),
    "smile-vit-s": (
        PretrainConfig(student="vit-s", **_FULL),
        "section 4.1: 300 + 300 effective epochs (150 passes, 2 masks)",
    ),
    "smile-vit-b": (
        PretrainConfig(student="vit-b", **_FULL),
        "section 4.1: 300 + 300 effective epochs (150 passes, 2 masks); "
        "fine-tuned: SSv2 72.1, K400 83.1",
    ),
    "videomae-vit-b": (
        PretrainConfig(
            student="vit-b",
            background="natural",
            target="pixel",
            mask_ratio=0.9,
            epochs=800,
            **_WITHOUT,
        ),
        "VideoMAE: pixels, tubes at ratio 0.9, 800 epochs",
    ),
    "smile-track-vit-s": (
        PretrainConfig(student="vit-s", motion_target="displacement", **_FULL),
        "ours: smile-vit-s, its first stage with the exact motion of its objects as second target",
    ),
    "smile-track-vit-b": (
        PretrainConfig(student="vit-b", motion_target="displacement", **_FULL),
        "ours: smile-vit-b, its first stage with the exact motion of its objects as second target",
    ),
    "trackmae-vit-b": (
        PretrainConfig(
            student="vit-b",
            background="natural",
            objects=0,
            masking="motion-bins",
            motion_target="official",
            motion_reading="started",
            motion_norm="token",
            epochs=800,
            batch=512,
        ),
        "TrackMAE, CLIP target, tracks computed before (--tracks); "
        "fine-tuned: SSv2 72.8, K400 83.9",
    ),
    "table4-pixel": (replace(_PIXELS, **_WITHOUT), "Table 4, pixels, no motion: 66.0 / 55.1"),
    "table4-pixel-motion": (_PIXELS, "Table 4, pixels, motion: 68.1 / 56.8"),
    "table4-clip": (replace(_ABLATION, **_WITHOUT), "Table 4, CLIP, no motion: 78.1 / 60.2"),
    "table4-clip-motion": (_ABLATION, "Table 4, CLIP, motion: 78.9 / 61.6"),
    "table4b-mae": (replace(_ABLATION, target="mae"), "Table 4b, MAE teacher: 77.6 / 59.5"),
    "table4b-dino": (replace(_ABLATION, target="dino"), "Table 4b, DINO teacher: 77.6 / 59.7"),
    "table4b-dinov2": (
        replace(_ABLATION, target="dinov2"),
        "Table 4b, DINOv2 teacher: 77.8 / 59.7",
    ),
    "table4-transform-none": (
        replace(_ABLATION, transform="none"),
        "Table 4, neither scaling nor rotation: 77.0 / 60.8",
    ),
    "table4-transform-scaling": (
        replace(_ABLATION, transform="scaling"),
        "Table 4, scaling: 78.4 / 61.3",
    ),
    "table4-transform-rotation": (
        replace(_ABLATION, transform="rotation"),
        "Table 4, rotation: 78.2 / 61.4",
    ),
    "table4-transform-both": (_ABLATION, "Table 4, scaling and rotation: 78.9 / 61.6"),
    "table4d-single": (_ABLATION, "Table 4d, objects in all clips: 78.9 / 61.6"),
    "table4d-mixed": (
        replace(_ABLATION, strategy="mixed"),
        "Table 4d, objects in a share of clips (the share is ours): 79.5 / 62.2",
    ),
    "table4d-progressive": (
        replace(_ABLATION, strategy="progressive", epochs=200),
        "Table 4d, with, then without objects (200 + 200 epochs are ours): 79.8 / 62.5",
    ),
    "table4e-ratio-95": (replace(_ABLATION, mask_ratio=0.95), "Table 4e: 77.7 / 60.4"),
    "table4e-ratio-90": (_ABLATION, "Table 4e: 78.9 / 61.6"),
    "table4e-ratio-80": (replace(_ABLATION, mask_ratio=0.8), "Table 4e: 80.3 / 62.0"),
    "table4f-objects-1": (replace(_ABLATION, objects=1), "Table 4f: 78.6 / 61.0"),
    "table4f-objects-2": (replace(_ABLATION, objects=2), "Table 4f: 78.9 / 61.6"),
    "table4f-objects-3": (replace(_ABLATION, objects=3), "Table 4f: 78.6 / 61.3"),
    "table4-masking-trajectory": (_ABLATION, "Table 4, trajectory masking: 78.9 / 61.6"),
    "table4-masking-tube": (
        replace(_ABLATION, masking="tube"),
        "Table 4, no trajectory masking: 77.8 / 60.7",
    ),
    "table7-frame": (
        replace(_PIXELS, background="frame", **_WITHOUT),
        "Table 7, a repeated frame: 54.0 / 43.1",
    ),
    "table7-frame-motion": (
        replace(_PIXELS, background="frame"),
        "Table 7, a repeated frame and motion: 63.6 / 53.2",
    ),
    "table7-image": (
        replace(_PIXELS, background="places", **_WITHOUT),
        "Table 7, a repeated image: 52.1 / 40.5",
    ),
    "table7-image-motion": (
        replace(_PIXELS, background="places"),
        "Table 7, a repeated image and motion: 60.1 / 52.1",
    ),
    "table7-black-motion": (
        replace(_PIXELS, background="black"),
        "Table 7, black and motion: 59.2 / 50.0",
    ),
    "table7-noise": (
        replace(_PIXELS, background="noise"),
        "Table 7, noise and motion: 61.9 / 51.2",
    ),
}

PRESETS: dict[str, PretrainConfig] = {
    name: replace(config, preset=name) for name, (config, _) in _ROWS.items()
}
"""Presets by name."""
NOTES: dict[str, str] = {name: note for name, (_, note) in _ROWS.items()}
"""Where each comes from; pairs of figures are the paper's top-1 on K400m / SSv2m."""
