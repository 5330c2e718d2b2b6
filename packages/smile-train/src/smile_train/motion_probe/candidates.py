"""The encoders that are asked, and those that they are compared with."""

from __future__ import annotations

import hashlib

from smile_train.encoders.fingerprints import hash_encoder, hash_settings
from smile_train.encoders.video_encoder import VideoEncoder
from smile_train.motion_probe.inputs import PixelEncoder, SliceEncoder, untrained
from smile_train.motion_probe.run import Candidate


def trained_and_untrained(
    name: str, encoder: VideoEncoder, seed: int, precision: str
) -> list[Candidate]:
    """An encoder with all its controls, and its architecture with random weights.

    Args:
        precision: That it runs in: features depend on it.
    """
    settings = f"{hash_settings(encoder)} {precision}"
    trained = hashlib.sha256(f"{hash_encoder(encoder)} {settings}".encode()).hexdigest()
    return [
        Candidate(name=name, encoder=lambda draw: SliceEncoder(encoder=encoder), sha256=trained),
        Candidate(
            name=f"{name}, random weights",
            encoder=lambda draw: SliceEncoder(encoder=untrained(encoder, seed + draw)),
            sha256=f"random {seed} of {trained}",
            shown=("clip",),
        ),
    ]


def pixels() -> Candidate:
    """Small grey frames, and no encoder."""
    return Candidate(name="raw pixels", encoder=lambda draw: PixelEncoder(), sha256="pixels 14")
