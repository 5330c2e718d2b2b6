"""Named configurations; what a preset leaves out keeps the field's default and its origin."""

from smile_train.config import PretrainConfig

PRESETS: dict[str, PretrainConfig] = {
    "tiny": PretrainConfig(
        preset="tiny",
        student="tiny",
        size=64,
        patch=8,
        target="pixel",
        samples=256,
        epochs=28,
        batch=16,
        warmup_epochs=2,
        base_lr=3.2e-2,
        min_lr=3.2e-4,
        clip_grad=1.0,
        log_every=5,
        save_every=200,
    ),
    "table7-noise": PretrainConfig(
        preset="table7-noise",
        student="vit-s",
        target="pixel",
        mask_ratio=0.9,
        samples=80_000,
        epochs=400,
    ),
    "smile-vit-s": PretrainConfig(
        preset="smile-vit-s", student="vit-s", background="natural", masks_per_clip=2
    ),
    "smile-vit-b": PretrainConfig(
        preset="smile-vit-b", student="vit-b", background="natural", masks_per_clip=2
    ),
}
"""By name."""

NOTES: dict[str, str] = {
    "tiny": "ours: small frames and student, done in minutes on two CPU cores",
    "table7-noise": "paper, Table 7 (no natural video, noise) with the ablations' ViT-S, 400 "
    "epochs, ratio 0.9; 80,000 clips an epoch as K400m has",
    "smile-vit-s": "paper, section 4.1, first stage: moving objects on natural video, CLIP target",
    "smile-vit-b": "paper, section 4.1, first stage: moving objects on natural video, CLIP target",
}
"""Where each comes from."""
