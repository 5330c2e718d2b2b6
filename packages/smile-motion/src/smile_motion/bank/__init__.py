"""Object banks: folders of cut-out objects with a card, hashes, and packed pixels to draw from."""

from smile_motion.bank.build import build
from smile_motion.bank.embedded import banks_folder, embedded_bank
from smile_motion.bank.object_bank import ObjectBank
from smile_motion.bank.sources.folder import FolderSource
from smile_motion.bank.sources.procedural import ProceduralSource
from smile_motion.bank.sources.shapes import ShapeSource
from smile_motion.bank.verify import verify

__all__ = [
    "FolderSource",
    "ObjectBank",
    "ProceduralSource",
    "ShapeSource",
    "banks_folder",
    "build",
    "embedded_bank",
    "verify",
]
