"""Self-supervised video pre-training on moving-object clips (SMILE, CVPR 2025).

Example:

    import smile_train

    model = smile_train.load("runs/first")
    tokens, pooled = model.features(video)      # video (B, T, H, W, 3) uint8
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smile_train.encoders.video_encoder import VideoEncoder, load

    __version__: str
    """Version of the installed distribution."""

__all__ = ["VideoEncoder", "load"]


def __dir__() -> list[str]:
    """The public names, whether they have been used yet or not."""
    return sorted([*__all__, "__version__"])


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that the command line starts at once."""
    if name in __all__:
        from smile_train.encoders import video_encoder as encoder

        return getattr(encoder, name)
    if name == "__version__":
        from importlib.metadata import version

        return version("smile-train")
    raise AttributeError(f"module 'smile_train' has no attribute {name!r}")
